"""Decisions that processes share; `tests/workflow/test_cluster.py` trains with two."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch.multiprocessing as mp
from torch import distributed

from fmnet.errors import Fault, RunError
from fmnet.training.processes import STARTED_BY, agreed, is_first, joined, this_program
from fmnet.training.trainer import CPU_TRAINER, build_trainer

CHILD = """
import time
from fmnet.training.processes import end_with_starter
end_with_starter()
time.sleep(600)
"""


def decide(rank, folder):
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)

    def fail():
        raise RunError(Fault("run", f"a fault of {rank}", "none", "nothing"))

    texts = [str(is_first()), agreed(lambda: f"decided by {rank}")]
    try:
        agreed(fail)
    except RunError as error:
        texts.append(error.faults[0].found)
    (folder / f"{rank}.txt").write_text("|".join(texts))
    # or the threads of a group abort a process that ends while the other still talks
    distributed.barrier()
    distributed.destroy_process_group()


def test_first_process_decides_and_fails_for_all(tmp_path):
    mp.spawn(decide, (tmp_path,), nprocs=2)
    texts = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert texts == ["True|decided by 0|a fault of 0", "False|decided by 0|a fault of 0"]


def test_process_alone_decides_for_itself(monkeypatch):
    assert agreed(lambda: 3) == 3
    assert is_first()
    monkeypatch.setenv(STARTED_BY, "1")
    assert not is_first()


def test_nothing_is_started_for_one_device():
    before = dict(os.environ)
    with joined(build_trainer(CPU_TRAINER)):
        assert dict(os.environ) == before
        assert not distributed.is_initialized()


@pytest.mark.slow
def test_process_ends_with_the_one_that_started_it():
    environment = {**os.environ, STARTED_BY: str(os.getpid() + 1)}
    child = subprocess.Popen([sys.executable, "-c", CHILD], env=environment)
    assert child.wait(60) == 1


@pytest.mark.parametrize(
    ("module", "program"), [(None, ["/bin/fmnet"]), ("fmnet.__main__", ["-m", "fmnet.__main__"])]
)
def test_a_further_process_is_started_as_this_one_was(monkeypatch, module, program):
    monkeypatch.setattr(sys, "argv", ["/bin/fmnet", "train", "seed=3"])
    spec = None if module is None else SimpleNamespace(name=module)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    assert this_program() == [sys.executable, *program, "train", "seed=3"]
