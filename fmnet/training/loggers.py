"""Lightning loggers, one per training: ``(log_dir, name)`` to a logger."""

import shutil
from pathlib import Path

from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from fmnet.errors import ConfigError, Fault


def build_csv_logger(log_dir: Path, name: str) -> Logger:
    """Write ``<log_dir>/csv/<name>/metrics.csv``, in place of what a stopped training left."""
    shutil.rmtree(log_dir / "csv" / name, ignore_errors=True)
    return CSVLogger(log_dir / "csv", name=name, version="")


def build_tensorboard_logger(log_dir: Path, name: str) -> Logger:
    """Write event files to ``<log_dir>/tensorboard/<name>``."""
    return TensorBoardLogger(log_dir / "tensorboard", name=name, version="")


def build_mlflow_logger(
    log_dir: Path, name: str, experiment: str = "fmnet", tracking_uri: str | None = None
) -> Logger:
    """Log to an MLflow server, or to ``<log_dir>/mlflow.db`` without one.

    Raises
    ------
    ConfigError
        If mlflow is not installed.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    place = tracking_uri or f"sqlite:///{(log_dir / 'mlflow.db').absolute()}"
    try:
        return MLFlowLogger(experiment, run_name=name, tracking_uri=place)
    except ModuleNotFoundError as error:
        raise _not_installed("mlflow", error) from error


def build_wandb_logger(
    log_dir: Path, name: str, project: str = "fmnet", offline: bool = False
) -> Logger:
    """Log to Weights & Biases; `offline` keeps everything in `log_dir`.

    Raises
    ------
    ConfigError
        If wandb is not installed.
    """
    try:
        return _OneRunEach(name=name, save_dir=log_dir, project=project, offline=offline)
    except ModuleNotFoundError as error:
        raise _not_installed("wandb", error) from error


class _OneRunEach(WandbLogger):
    """Ends its run with its training, else W&B would take all trainings for one run."""

    def finalize(self, status: str) -> None:
        super().finalize(status)
        self.experiment.finish()


def _not_installed(package: str, error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        Fault(
            "logger",
            f"{package}, which is not installed ({error})",
            "an installed logger; csv and tensorboard come with fmnet",
            f"run 'pip install {package}' or choose another logger",
        )
    )
