"""Measure whole pipelines against a known truth, and how fast they are beside their peers.

python scripts/benchmark.py suite=NAME [suite.KEY=VALUE ...] [out=FOLDER]; configs/suite lists them.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import installed  # noqa: F401 (it says what is missing)
from omegaconf import DictConfig

from fmnet.config.entry import build, run_configured
from fmnet.config.primary import Primary

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not installed

BENCHMARK = Primary("benchmark", "benchmarks.suite.run_suite")
SUITES = sorted(path.stem for path in (ROOT / "configs" / "suite").glob("*.yaml"))
PRINT = ("-h", "--help", "--hydra-help", "--info", "--cfg", "--version")


def work(config: DictConfig, run_suite: Callable[..., list[str]]) -> None:
    print("\n".join(run_suite(**build(config))))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    # some take days: none is started without its name
    if not any(text.startswith(("suite=", *PRINT)) for text in arguments):
        print(f"name a suite: suite={', suite='.join(SUITES)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(run_configured(work, BENCHMARK, arguments, ROOT / "configs"))
