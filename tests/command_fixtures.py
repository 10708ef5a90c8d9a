"""The scripts as a user calls them, on settings that take seconds."""

import subprocess
import sys
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
    command = command_of(script, *arguments)
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def command_of(script, *arguments):
    return [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]


#: A network that learns by gradient alone.
PLAIN = ["network=small_cnn", "network.channels=[4,6]", "trainer.max_epochs=2"]
