"""Pretrain the network that turns a cohort's statistics into a signature, on simulated cohorts.

python scripts/pretrain.py [key=value ...]; the last line printed is the file of the weights.
"""

import shlex
import sys
from pathlib import Path

import installed  # noqa: F401 (it says what is missing)
from omegaconf import DictConfig, OmegaConf

from fmnet.config.entry import build, run_script, show
from fmnet.runs.pretrained import run_pretraining

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def work(config: DictConfig) -> None:
    text = OmegaConf.to_yaml(config, resolve=True)
    # where the files lie is left out: it is no part of what makes the weights
    said = [one for one in sys.argv[1:] if not one.startswith(("run_dir=", "resume="))]
    command = shlex.join(["python", "scripts/pretrain.py", *said])
    show(run_pretraining(**build(config), config_yaml=text, command=command))


if __name__ == "__main__":
    run_script(work, CONFIGS, "pretrain", run_pretraining, passed=("config_yaml", "command"))
