"""Lightning loggers, one per training and one per study: ``(log_dir, name)`` to a logger."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.image import imread
from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from fmnet.errors import ConfigError, Fault

#: A folder for logs and the name of one training, or of the study, to a Lightning logger.
LoggerBuilder = Callable[[Path, str], Logger]
Builder = TypeVar("Builder", bound=Callable[..., Logger])
#: Name of the logger that takes a study's results.
STUDY = "study"


def needing(*packages: str) -> Callable[[Builder], Builder]:
    """Note which package, or which one of several, a logger can't do without."""

    def mark(build: Builder) -> Builder:
        build.needs_package = packages  # type: ignore[attr-defined]
        return build

    return mark


def check_loggers(builders: Sequence[LoggerBuilder]) -> None:
    """Raise `ConfigError` if a logger's package is not installed, before anything is computed."""
    faults = []
    for build in builders:
        bare = build.func if isinstance(build, partial) else build
        packages: tuple[str, ...] = getattr(bare, "needs_package", ())
        if packages and not any(find_spec(name) is not None for name in packages):
            faults.append(_not_installed(packages[0]))
    if faults:
        raise ConfigError(faults)


def log_study(
    builders: Sequence[LoggerBuilder],
    log_dir: Path,
    figures: Mapping[str, float],
    settings: Mapping[str, Any],
    files: Sequence[Path],
) -> list[str]:
    """Log a study's results to each tracker, as a run of the name ``study``; return what failed.

    Logged are numbers by name, the configuration, and pictures and the report where trackers take
    files. A tracker that can't be reached costs no results.
    """
    lines = []
    for build in builders:
        try:
            logger = build(log_dir, STUDY)
            logger.log_hyperparams(dict(settings))
            logger.log_metrics(dict(figures), step=0)
            _log_files(logger, files)
            logger.save()
            logger.finalize("success")
        except Exception as error:  # noqa: BLE001 (trackers raise whatever their services do)
            bare = build.func if isinstance(build, partial) else build
            name = getattr(bare, "__name__", type(bare).__name__)
            reason = " ".join(str(error).split()) or type(error).__name__
            lines.append(f"results were not logged by {name}: {reason}")
    return lines


def _log_files(logger: Logger, files: Sequence[Path]) -> None:
    for path in files:
        if isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(path))
        elif isinstance(logger, WandbLogger) and path.suffix != ".png":
            logger.experiment.save(str(path), base_path=str(path.parent), policy="now")
        elif isinstance(logger, WandbLogger):
            logger.log_image(path.stem, [str(path)])
        elif isinstance(logger, TensorBoardLogger) and path.suffix == ".png":
            logger.experiment.add_image(path.stem, imread(path)[..., :3], dataformats="HWC")


def build_csv_logger(log_dir: Path, name: str) -> Logger:
    """Write ``<log_dir>/csv/<name>/metrics.csv``, in place of what a stopped training left."""
    shutil.rmtree(log_dir / "csv" / name, ignore_errors=True)
    return CSVLogger(log_dir / "csv", name=name, version="")


@needing("tensorboard", "tensorboardX")
def build_tensorboard_logger(log_dir: Path, name: str) -> Logger:
    """Write event files to ``<log_dir>/tensorboard/<name>``."""
    return TensorBoardLogger(log_dir / "tensorboard", name=name, version="")


@needing("mlflow")
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
    uri = tracking_uri or f"sqlite:///{(log_dir / 'mlflow.db').absolute()}"
    try:
        return MLFlowLogger(experiment, run_name=name, tracking_uri=uri)
    except ModuleNotFoundError as error:
        raise ConfigError(_not_installed("mlflow", str(error))) from error


@needing("wandb")
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
        raise ConfigError(_not_installed("wandb", str(error))) from error


class _OneRunEach(WandbLogger):
    """Ends its run with its training, else W&B would take all trainings for one run."""

    def finalize(self, status: str) -> None:
        super().finalize(status)
        self.experiment.finish()


def _not_installed(package: str, reason: str = "") -> Fault:
    return Fault(
        "logger",
        f"{package}, which is not installed" + (f" ({reason})" if reason else ""),
        "an installed logger; csv and tensorboard come with fmnet",
        f"run 'pip install {package}' or choose another logger",
    )
