"""Many scans over processes: the same answers, and none lost with a process that ends."""

import os
import signal
import time
from multiprocessing import active_children, get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from fmnet.errors import BundleError, JobError
from fmnet.inference import scoring
from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import USUAL, NewScan, Prediction
from fmnet.inference.scoring import Answer, Scorer, Task, choose_jobs, open_scorer, score_all
from fmnet.synthetic.maps import write_cohort

BUNDLE = Path(__file__).resolve().parents[2] / "checkpoints" / "synthetic"


@pytest.fixture(scope="module")
def scorer():
    return open_scorer(read_bundle(BUNDLE), USUAL, has_cards=False)


def tasks_of(*names):
    return [Task(NewScan(name, (Path(name),))) for name in names]


def test_several_processes_give_the_answers_of_one(scorer, tmp_path, monkeypatch):
    people = write_cohort(tmp_path / "people", n_subjects=4, seed=1)
    maps = sorted(map(str, people.rglob("*_contrast-pressure_*")))
    known = Task(Prediction("known", None, None, "error", "no such file"))
    tasks = [*tasks_of(*maps, "gone.nii"), known]
    alone = dict(score_all(scorer, tasks))
    waiting = scoring.wait
    # else this process would score all of them before others are ready
    monkeypatch.setattr(scoring, "wait", lambda connections, _: waiting(connections))
    before = set(active_children())  # of other tests
    shared = dict(score_all(scorer, tasks, 2))
    assert sorted(shared) == sorted(alone) == list(range(6))
    assert shared == alone
    assert set(active_children()) <= before


# --- processes that end, in the place of ones that score


def serve(connection, *_):
    """Score what is asked; a deadly scan kills the process, and so does a path of nothing yet."""
    connection.send("ready")
    while True:
        task = connection.recv()
        is_new = task.name.startswith("/") and not os.path.exists(task.name)
        if is_new:
            Path(task.name).touch()
        if is_new or task.name == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        connection.send(Answer(Prediction(task.name, 1.0, 0.5, "ok")))


def end_at_once(connection, *_):
    os._exit(3)


def complain(connection, *_):
    from fmnet.inference.bundle_files import refuse

    connection.send(refuse(BUNDLE, "a network that takes too long"))


@pytest.fixture
def stranger(scorer, monkeypatch):
    """A scorer whose processes do what they are told to here; forked, since they only play."""
    monkeypatch.setattr(scoring, "SPAWNING", get_context("fork"))
    return Scorer(SimpleNamespace(folder=BUNDLE, contract="of runs"), USUAL)


def test_process_that_is_killed_is_told_and_costs_no_other_scan(stranger, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "_serve", serve)
    once = str(tmp_path / "once")  # its first process is killed, its second one not
    names = ["a", "deadly", "b", once, "c"]
    answers = dict(score_all(stranger, tasks_of(*names), 2))
    said = [answers[number].prediction for number in range(5)]
    assert [one.scan for one in said] == names
    assert [one.status for one in said] == ["ok", "error", "ok", "ok", "ok"]
    assert "ended from outside, twice" in said[1].reason
    assert "SIGKILL, perhaps for want of memory" in said[1].reason


def test_processes_that_can_not_start_are_told(stranger, monkeypatch):
    monkeypatch.setattr(scoring, "_serve", end_at_once)
    with pytest.raises(JobError, match=r"before it scored anything \(exit code 3\)"):
        list(score_all(stranger, tasks_of("a", "b"), 2))


def test_network_that_does_not_end_ends_all(stranger, monkeypatch):
    monkeypatch.setattr(scoring, "_serve", complain)
    with pytest.raises(BundleError, match="a network that takes too long"):
        list(score_all(stranger, tasks_of("a", "b"), 2))


def test_bundle_that_changed_meanwhile_is_refused(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    said = []
    connection = SimpleNamespace(send=said.append)
    scoring._serve(connection, BUNDLE, "of another one", USUAL, False)
    assert "another bundle than a moment ago" in str(said[0])
    assert len(said) == 1


def test_nothing_is_left_when_nobody_waits_any_more(stranger, monkeypatch):
    monkeypatch.setattr(scoring, "_serve", serve)
    before = set(active_children())  # of other tests
    answers = score_all(stranger, tasks_of("a", "b", "c"), 2)
    next(answers)
    assert set(active_children()) - before
    answers.close()
    end = time.monotonic() + 5
    while set(active_children()) - before and time.monotonic() < end:
        time.sleep(0.01)
    assert set(active_children()) <= before


def test_processes_are_as_many_as_pay(scorer, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    assert choose_jobs(None, scorer, 31) == 1
    assert choose_jobs(None, scorer, 40) == 2
    assert choose_jobs(None, scorer, 500) == 4
    assert choose_jobs(3, scorer, 2) == 2
    assert choose_jobs(3, scorer, 0) == 1
    runs = Scorer(SimpleNamespace(contract="of runs"), USUAL)
    assert choose_jobs(None, runs, 500) == 1
    assert choose_jobs(7, runs, 500) == 7
