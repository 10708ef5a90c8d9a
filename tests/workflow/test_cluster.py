"""Jobs given to a launcher, and trainings that two processes share, come to the same as one run."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from command_fixtures import PLAIN, QUICK, call, call_afresh, command_of

LOCAL = ["-m", "hydra/launcher=submitit_local"]
RUN = ["experiment=quick", *QUICK, *PLAIN, "permutation.n=2", "n_seeds=2"]
ALONE = ["experiment=quick", *QUICK[:3], *PLAIN, "logger=none", "baselines=none", "signature=null"]
SHARED = [*ALONE, "trainer.devices=2", "trainer.strategy=ddp"]
#: Sums are taken in another order; ten steps of AdamW make no more of it.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield tmp_path_factory.mktemp("cluster")


def succeed(*arguments, cwd):
    """Run training; what starts processes of its own is started as a shell does."""
    starts = set(arguments) & {"-m", "trainer.strategy=ddp"}
    done = (call_afresh if starts else call)("train", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_shards_come_to_the_same_as_one_run(place):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    shards = [*LOCAL, *RUN, "run_dir=sharded", "shard.n=3", "shard.index=0,2"]
    done = succeed(*shards, cwd=place)
    assert "job 1 (shard.index=2):\nshare 3 of 3 is done: 0 folds" in done.stdout
    collected = succeed(*RUN, "run_dir=sharded", cwd=place)
    assert "1 of 2 folds were done before" in collected.stdout
    assert "1 of 2 permutations were done before" in collected.stdout
    succeed(*RUN, "run_dir=whole", cwd=place)
    for name in ("predictions.tsv", "metrics.json", "seeds.tsv", "model/weights.safetensors"):
        assert (place / "sharded" / name).read_bytes() == (place / "whole" / name).read_bytes()
    manifest = json.loads((place / "sharded" / "manifest.json").read_text())
    assert manifest["command"][1:] == [*RUN, "run_dir=sharded"]


@pytest.mark.slow
def test_job_that_fails_is_named_with_its_log(place):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    sweep = ["optimizer.lr=0.001,1e30", "run_dir='sweep/${hydra:job.num}'"]
    done = call_afresh("train", *LOCAL, *ALONE, *sweep, cwd=place)
    assert done.returncode == 2
    assert "SYNTHETIC DATA" in done.stdout
    message = done.stderr.splitlines()[-1]
    assert message.startswith("not all jobs came to their end: job 1 (optimizer.lr=1e+30): ")
    assert "it diverged" in message
    log = Path(message.split("to do: read ")[1].split(";")[0])
    assert "it diverged" in (place / log).read_text()


def signal_once_at_work(arguments, run_dir, number, cwd):
    """Submit jobs; once a fold is done, send a signal to the process that the last one runs in."""
    caller = subprocess.Popen(
        command_of("train", *LOCAL, *arguments),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while caller.poll() is None and not list(run_dir.rglob("repeat-*_fold-*.json")):
        time.sleep(0.05)
    tasks = [task for job in psutil.Process(caller.pid).children() for task in job.children()]
    tasks[-1].send_signal(number)
    stdout, stderr = caller.communicate()
    return caller.returncode, stdout, stderr


@pytest.mark.slow
def test_preempted_job_is_queued_again_and_goes_on(place):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    arguments = [*ALONE, "permutation.n=4", "run_dir=preempted"]
    run_dir = place / "preempted"
    code, stdout, stderr = signal_once_at_work(arguments, run_dir, signal.SIGUSR2, place)
    assert code == 0, stderr
    assert "were done before, by shards or an earlier call" in stdout
    assert json.loads((run_dir / "metrics.json").read_text())["permutation"]["n"] == 4


@pytest.mark.slow
def test_what_a_killed_shard_leaves_undone_is_done_by_the_collecting_run(place):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    own = [*ALONE, "permutation.n=4"]
    arguments = [*own, "run_dir=torn", "shard.n=2", "shard.index=0,1"]
    code, _, stderr = signal_once_at_work(arguments, place / "torn", signal.SIGKILL, place)
    assert code == 2
    assert "(shard.index=1): found no result: the job was killed" in stderr
    collected = succeed(*own, "run_dir=torn", cwd=place)
    assert "of 4 permutations were done before" in collected.stdout
    succeed(*own, "run_dir=untorn", cwd=place)
    for name in ("predictions.tsv", "metrics.json"):
        assert (place / "torn" / name).read_bytes() == (place / "untorn" / name).read_bytes()


def scores_of(run_dir):
    return pd.read_csv(run_dir / "predictions.tsv", sep="\t")["score"].to_numpy()


@pytest.fixture(scope="module")
def shared(place):
    """Two runs, one after the other, in each of which two processes share the trainings."""
    done = succeed("-m", *SHARED, "seed=0,1", "run_dir='shared/${hydra:job.num}'", cwd=place)
    assert done.stdout.count("SYNTHETIC DATA") == 2
    return place / "shared"


@pytest.mark.slow
def test_two_processes_train_as_one_does(place, shared):
    """Folds of 10, inner ones of 5 scans in steps of 8: nothing comes out even."""
    succeed(*ALONE, "run_dir=alone", cwd=place)
    one = shared / "0"
    assert scores_of(one) == pytest.approx(scores_of(place / "alone"), abs=TOLERANCE)
    for name in ("folds.tsv", "crossvalidation.json"):
        assert (one / name).read_bytes() == (place / "alone" / name).read_bytes()


@pytest.mark.slow
def test_tasks_of_a_job_share_trainings(place, shared):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    tasks = [*LOCAL, "hydra.launcher.tasks_per_node=2"]
    succeed(*tasks, *SHARED, "run_dir=tasks", cwd=place)
    for name in ("predictions.tsv", "metrics.json"):
        assert (place / "tasks" / name).read_bytes() == (shared / "0" / name).read_bytes()


@pytest.mark.slow
def test_many_trainings_are_refused_where_each_is_shared(place):
    done = call_afresh("train", *SHARED, "permutation.n=3", "compute.n_jobs=2", cwd=place)
    assert done.returncode == 2
    assert "permutation.n: found many trainings at once, where 2 processes share" in done.stderr
    assert "compute.n_jobs: found many trainings at once" in done.stderr
    assert "Traceback" not in done.stderr
