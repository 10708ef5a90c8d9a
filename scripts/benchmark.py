"""Measure whole pipelines against a known truth.

python scripts/benchmark.py suite=false_positives [suite.n_cohorts=100] [out=FOLDER]
python scripts/benchmark.py suite=io [suite.files=[RUN.nii.gz]] [out=FOLDER]
"""

from pathlib import Path

from omegaconf import DictConfig

from fmnet.benchmark.suite import run_suite
from fmnet.config.entry import build, run_script

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def work(config: DictConfig) -> None:
    print("\n".join(run_suite(**build(config))))


if __name__ == "__main__":
    run_script(work, CONFIGS, "benchmark", run_suite)
