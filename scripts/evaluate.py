"""Open the lock-box of a finished run: score the people set aside, once.

python scripts/evaluate.py run_dir=RUN
"""

from pathlib import Path

import installed  # noqa: F401 (it says what is missing)
from omegaconf import DictConfig

from fmnet.config.entry import build, run_script, show
from fmnet.studies.lockbox import evaluate_lockbox

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def work(config: DictConfig) -> None:
    show(evaluate_lockbox(**build(config)))


if __name__ == "__main__":
    run_script(work, CONFIGS, "evaluate", evaluate_lockbox)
