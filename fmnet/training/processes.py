"""The processes of a training on several devices: started, joined, and with one decision."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
from lightning_fabric.plugins import ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed

from fmnet.errors import Fault, FmnetError, TrainingError

Decision = TypeVar("Decision")
#: Environment variable: the process that a process was started by, as one of those of a training.
STARTED_BY = "FMNET_STARTED_BY"
#: Seconds that a failing process gives the others to say what is wrong themselves.
GRACE_S = 10.0


def is_first() -> bool:
    """Tell whether this process writes results: one of those that share a training does."""
    if distributed.is_available() and distributed.is_initialized():
        return bool(distributed.get_rank() == 0)
    return STARTED_BY not in os.environ


def agreed(decide: Callable[[], Decision]) -> Decision:
    """Let the first process decide for all; what it raises, all raise."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return decide()
    both: list[Any] = [None, None]  # the decision, or what was raised in its place
    if is_first():
        try:
            both[0] = decide()
        except FmnetError as error:
            both[1] = error
    distributed.broadcast_object_list(both)
    decision, raised = both
    if raised is not None:
        raise raised
    return cast(Decision, decision)


@contextmanager
def joined(trainer: pl.Trainer) -> Iterator[None]:
    """Bring together the processes that share trainings, for as long as the block lasts.

    They are started here, by the command of this one, unless a cluster has done so. The trainer is
    like those that will train.
    """
    strategy = trainer.strategy
    if trainer.world_size == 1 or not isinstance(strategy, DDPStrategy):
        yield
        return
    environment = strategy.cluster_environment
    assert environment is not None
    before, is_over = dict(os.environ), threading.Event()
    others: list[subprocess.Popen[bytes]] = []
    if not environment.creates_processes_externally:
        others = _start_others(trainer, environment)
        _watch(others, is_over)
    try:
        strategy.setup_environment()
        yield
        is_over.set()
        for other in others:
            other.wait()
    except RuntimeError as error:  # as lost connections are
        for other in others:
            with suppress(subprocess.TimeoutExpired):
                if code := other.wait(1.0):
                    raise TrainingError(_lost(code)) from error
        raise
    finally:
        is_over.set()
        for other in others:
            other.kill()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


def _start_others(
    trainer: pl.Trainer, environment: ClusterEnvironment
) -> list[subprocess.Popen[bytes]]:
    """Run this program once more for each further device, with the place of each."""
    os.environ["MASTER_ADDR"] = environment.main_address
    os.environ["MASTER_PORT"] = str(environment.main_port)
    os.environ["NODE_RANK"] = str(environment.node_rank())
    os.environ["WORLD_SIZE"] = str(trainer.world_size)
    os.environ["LOCAL_RANK"] = "0"
    own = {**os.environ, STARTED_BY: str(os.getpid())}
    return [
        subprocess.Popen(this_program(), env=own | {"LOCAL_RANK": str(rank)})
        for rank in range(1, trainer.num_devices)
    ]


def this_program() -> list[str]:
    """Write the command that starts this program once more, be it a script or ``-m fmnet``."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = sys.argv[:1] if module is None else ["-m", module.name]
    return [sys.executable, *program, *sys.argv[1:]]


def _lost(code: int) -> Fault:
    return Fault(
        "trainer",
        f"a process that shares the trainings and ended with {code}",
        "processes that all go on to the end",
        "see what it says above, and whether there was memory for all; the same command goes on",
    )


def _watch(others: list[subprocess.Popen[bytes]], is_over: threading.Event) -> None:
    """End this process if another one fails: it could wait for that one's numbers forever."""

    def wait(other: subprocess.Popen[bytes]) -> None:
        code = other.wait()
        if code and not is_over.wait(GRACE_S):
            print(TrainingError(_lost(code)), file=sys.stderr)
            os._exit(1)

    for other in others:
        threading.Thread(target=wait, args=(other,), daemon=True).start()


def end_with_starter() -> None:
    """In a process that was started to share trainings: end when the one that started it does."""
    starter = os.environ.get(STARTED_BY)
    if starter is None:
        return

    def poll() -> None:
        while str(os.getppid()) == starter:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=poll, daemon=True).start()
