"""Measure whole pipelines against a known truth, and how fast they are beside their peers.

python scripts/benchmark.py suite=NAME [suite.KEY=VALUE ...] [out=FOLDER]; configs/suite lists them.
"""

from pathlib import Path

import installed  # noqa: F401 (it says what is missing)
from omegaconf import DictConfig

from fmnet.benchmark.suite import run_suite
from fmnet.config.entry import build, run_script

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def work(config: DictConfig) -> None:
    print("\n".join(run_suite(**build(config))))


if __name__ == "__main__":
    run_script(work, CONFIGS, "benchmark", run_suite)
