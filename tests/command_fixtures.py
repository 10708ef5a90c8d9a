"""The scripts as a user calls them, on settings that take seconds."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICK = [
    "preparation.voxel_size_mm=8",
    "folds.n_splits=2",
    "folds.inner_splits=2",
    "baselines.linear_svm.fwhm_mm=[8.0]",
    "baselines.linear_svm.c=[0.1]",
    "logger=none",
    "signature=null",
]


def call(script, *arguments, cwd):
    """Run a script in a process of its own, which has imported what a study needs (seconds)."""
    with tempfile.TemporaryDirectory() as folder:
        said = {name: Path(folder) / name for name in ("stdout", "stderr")}
        run = {"argv": command_of(script, *arguments)[1:], "cwd": str(cwd), "env": dict(os.environ)}
        forking = start_forking()
        forking.stdin.write(json.dumps(run | {name: str(path) for name, path in said.items()}))
        forking.stdin.write("\n")
        forking.stdin.flush()
        status = int(forking.stdout.readline())
        said = {name: path.read_text() for name, path in said.items()}
    return subprocess.CompletedProcess(run["argv"], status, **said)


def call_afresh(script, *arguments, cwd):
    """Run a script as a shell does."""
    command = command_of(script, *arguments)
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@cache
def start_forking():
    """Start the process that `call` lets fork, once; see ``tests/forking.py``."""
    command = [sys.executable, str(Path(__file__).with_name("forking.py"))]
    forking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(forking.communicate)  # which closes its standard input, and waits
    return forking


def command_of(script, *arguments):
    return [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]


#: A network that learns by gradient alone.
PLAIN = ["network=small_cnn", "network.channels=[4,6]", "trainer.max_epochs=2"]
