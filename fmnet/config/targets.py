"""A target by itself, as the configuration of a study would build it."""

from pathlib import Path

from omegaconf import OmegaConf

from fmnet.bold.findings import DatasetReport
from fmnet.config.check import check_config
from fmnet.config.entry import build
from fmnet.studies.study import run_study
from fmnet.targets.dataset import check_outcomes


def check_target(
    report: DatasetReport, config_dir: Path, name: str, *settings: str
) -> DatasetReport:
    """Add what a data set lacks for the target of this name, with settings as ``column=fiq_r``.

    Raises
    ------
    ConfigError
        If there is no such target, or a setting is wrong.
    """
    lines = [f"target={name}", *(f"target.{setting}" for setting in settings)]
    config = check_config(config_dir, "train", lines, run_study, False, ("config_yaml",))
    target = build(OmegaConf.masked_copy(config, "target"))["target"]
    return check_outcomes(report, target)
