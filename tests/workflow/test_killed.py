"""A run that is killed, at whatever time, comes to the same in the end."""

import os
import random
import signal
import subprocess
import time

import pytest
from command_fixtures import PLAIN, QUICK, call, command_of

RUN = ["experiment=quick", *QUICK, *PLAIN, "permutation.n=2", "folds.n_repeats=2"]
RESULTS = (
    "predictions.tsv", "folds.tsv", "cohort.tsv", "metrics.json",
    "crossvalidation.json", "model/weights.safetensors", "model/calibration.json",
)  # fmt: skip
#: Seconds in which what was killed has to be gone.
PATIENCE = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def undisturbed(place, one_thread):
    done = call("train", *RUN, "run_dir=undisturbed", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "undisturbed"


def finished_parts(run_dir):
    return {
        path for path in run_dir.rglob("*.json") if path.name[0].isdigit() or "fold" in path.name
    }


def kill_after_some_work(command, run_dir, cwd, rng, signal_all):
    """Start, wait until something is newly done and a little longer, kill, wait for all to go."""
    before = finished_parts(run_dir)
    process = subprocess.Popen(command, cwd=cwd, start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and finished_parts(run_dir) <= before:
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 1.5))
    is_killed = process.poll() is None
    (os.killpg if signal_all else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(PATIENCE * 10):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return is_killed
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    return pytest.fail("processes outlived the run that started them")


@pytest.mark.slow
@pytest.mark.parametrize(("n_jobs", "whom"), [(1, ("all",)), (2, ("first",))])
def test_killed_run_comes_to_the_same(undisturbed, place, n_jobs, whom):
    rng, run_dir = random.Random(n_jobs), place / f"killed-{n_jobs}"
    arguments = [*RUN, f"compute.n_jobs={n_jobs}", f"run_dir={run_dir.name}"]
    command = command_of("train", *arguments)
    kills = [kill_after_some_work(command, run_dir, place, rng, one == "all") for one in whom]
    assert any(kills)
    done = call("train", *arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "were done before, by shards or an earlier call" in done.stdout
    for name in RESULTS:
        assert (run_dir / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not list(run_dir.rglob("*.part"))
    assert not (run_dir / "parts").exists()


@pytest.mark.slow
def test_second_process_is_refused_while_the_first_is_at_work(place):
    run_dir = place / "held"
    arguments = [*RUN, "run_dir=held"]
    first = subprocess.Popen(command_of("train", *arguments), cwd=place, stderr=subprocess.DEVNULL)
    while not finished_parts(run_dir) and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)
    second = call("train", *arguments, cwd=place)
    first.kill()
    first.wait()
    assert second.returncode == 2
    assert "held: found another process at work in it" in second.stderr
