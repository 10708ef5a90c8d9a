"""Cross-validate a network beside its baselines and train the final models.

python scripts/train.py [key=value ...]; the last line printed is the run folder.
"""

from pathlib import Path

import installed  # noqa: F401 (it says what is missing)
from omegaconf import DictConfig, OmegaConf

from fmnet.config.entry import build, run_script, show
from fmnet.studies.study import run_study

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def work(config: DictConfig) -> None:
    lines = run_study(**build(config), config_yaml=OmegaConf.to_yaml(config, resolve=True))
    if lines:  # one of the processes that share trainings has them
        show(lines)


if __name__ == "__main__":
    run_script(work, CONFIGS, "train", run_study, passed=("config_yaml",))
