import sys

import numpy as np
import pytest

from benchmarks.fresh_process import measure_alone, measure_command
from fmnet.errors import BenchmarkError

#: A child that holds 64 MB for a while, beside a parent that holds as much.
FAMILY = """
import subprocess, sys, time
own = bytearray(64_000_000)
child = "import time; own = bytearray(64_000_000); time.sleep(0.5)"
subprocess.run([sys.executable, "-c", child], check=True)
"""


def take(n_mb):
    return np.ones(n_mb * 10**6, np.uint8).sum()


def test_memory_is_that_of_the_work():
    assert measure_alone(take, 200).peak_mb > 150


def test_memory_is_of_all_processes_together():
    least = measure_command([sys.executable, "-c", "import time; time.sleep(0.2)"])
    family = measure_command([sys.executable, "-c", FAMILY])
    assert least.seconds > 0.2
    assert family.seconds > 0.5
    assert family.peak_mb - least.peak_mb > 128


def test_time_of_processors_is_counted():
    busy = measure_command([sys.executable, "-c", "sum(k * k for k in range(4_000_000))"])
    assert busy.cpu_seconds > 0.05


def test_last_words_of_a_command_that_fails_are_told():
    with pytest.raises(BenchmarkError, match=r"found RuntimeError: no such luck"):
        measure_command([sys.executable, "-c", "raise RuntimeError('no such luck')"])
