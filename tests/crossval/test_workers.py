"""A worker whose parent is killed ends as well."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fmnet.crossval.workers import map_units
from fmnet.errors import TrainingError


def shift(shared, unit):
    if unit < 0:
        raise ValueError(f"unit {unit}")
    return os.getpid(), shared + unit


@pytest.mark.slow
def test_units_are_shared_among_processes_that_stay():
    here = {unit: found for unit, (_, found) in map_units(shift, 10, range(6), 1)}
    there = dict(map_units(shift, 10, range(6), 2))
    assert here == {unit: found for unit, (_, found) in there.items()}
    pids = {pid for pid, _ in there.values()}
    assert os.getpid() not in pids
    again = {pid for _, (pid, _) in map_units(shift, 20, range(6), 2)}
    assert len(pids | again) <= 2
    with pytest.raises(ValueError, match="unit -1"):
        list(map_units(shift, 10, [0, -1, 1, 2], 2))
    assert {found for _, (_, found) in map_units(shift, 5, range(2), 2)} == {5, 6}


def end_itself(shared, unit):
    os._exit(1)


@pytest.mark.slow
def test_process_that_is_killed_is_told_of_and_replaced():
    message = r"compute\.n_jobs: found a process that was ended from outside.*use fewer processes"
    with pytest.raises(TrainingError, match=message):
        list(map_units(end_itself, 0, range(4), 2))
    assert {found for _, (_, found) in map_units(shift, 5, range(2), 2)} == {5, 6}


PARENT = """
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from fmnet.errors import TrainingError
from fmnet.crossval.workers import start_worker

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), start_worker, (1,)) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_worker_ends_with_its_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    assert is_running(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not is_running(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")
