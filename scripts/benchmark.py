"""Measure whole pipelines against a known truth, and how fast they are beside their peers.

python scripts/benchmark.py suite=NAME [suite.KEY=VALUE ...] [out=FOLDER]; configs/suite lists them.
"""

import sys
from pathlib import Path

import installed  # noqa: F401 (it says what is missing)
from omegaconf import DictConfig

from fmnet.config.entry import build, run_script

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not installed

from benchmarks.suite import run_suite  # noqa: E402


def work(config: DictConfig) -> None:
    print("\n".join(run_suite(**build(config))))


if __name__ == "__main__":
    run_script(work, ROOT / "configs", "benchmark", run_suite)
