"""What trackers keep of a study: configuration, figures, pictures, report and bundle.

MLflow and Weights & Biases keep a study as one run, which later calls add to; the runs of its
trainings belong to it.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.image import imread
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from fmnet.training.loggers import (
    FOLDER,
    FOLDER_HASH,
    STUDY,
    LoggerBuilder,
    bare_of,
    build_mlflow_logger,
    build_wandb_logger,
    hash_of,
)

#: Tag of MLflow's runs that belong to another one.
PARENT = "mlflow.parentRunId"
#: Loggers that take a bundle, which is a folder.
TAKERS = (build_mlflow_logger, build_wandb_logger)


def log_study(
    builders: Sequence[LoggerBuilder],
    log_dir: Path,
    figures: Mapping[str, float],
    settings: Mapping[str, Any],
    files: Sequence[Path],
) -> list[str]:
    """Log a study's results to each tracker, as the run of the study.

    A tracker that can't be reached costs no results.

    Parameters
    ----------
    builders : list of callable
        See `LoggerBuilder`.
    log_dir : Path
        The run folder's ``logs``.
    figures : dict
        Numbers by name.
    settings : dict
        The configuration.
    files : list of Path
        Pictures, the report and others, for trackers that take files.

    Returns
    -------
    list of str
        Where trackers keep them, and what failed.
    """

    def log(logger: Logger) -> None:
        if not isinstance(logger, MLFlowLogger):
            logger.log_hyperparams(dict(settings))
        else:  # it changes none that it knows
            logger.log_hyperparams(_unknown_to(logger, settings))
        logger.log_metrics(dict(figures), step=0)
        for path in files:
            _log_file(logger, path)
        if isinstance(logger, MLFlowLogger):
            _adopt_trainings(logger)

    return _log_to_each(builders, log_dir, "results", log)


def log_bundle(builders: Sequence[LoggerBuilder], log_dir: Path, bundle: Path) -> list[str]:
    """Log an exported bundle to each tracker, in the run of its study.

    `log_dir` is the run folder's ``logs``. The lines are those of `log_study`.
    """

    def log(logger: Logger) -> None:
        if isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifacts(logger.run_id, str(bundle), "bundle")
        elif isinstance(logger, WandbLogger):
            import wandb  # it is installed where there is such a logger

            artifact = wandb.Artifact(f"bundle-{logger.experiment.id}", "bundle")
            for path in sorted(one for one in bundle.rglob("*") if one.is_file()):
                name = path.relative_to(bundle).as_posix()
                artifact.add_file(str(path), name, policy="immutable")  # no copy below the home
            logger.experiment.log_artifact(artifact)

    takers = [build for build in builders if bare_of(build) in TAKERS]
    return _log_to_each(takers, log_dir, "the bundle", log)


def _log_to_each(
    builders: Sequence[LoggerBuilder], log_dir: Path, what: str, log: Callable[[Logger], None]
) -> list[str]:
    lines = []
    for build in builders:
        try:
            logger = build(log_dir, STUDY)
            log(logger)
            logger.save()
            logger.finalize("success")
            lines += _places(logger, what)
        except Exception as error:  # noqa: BLE001 (trackers raise whatever their services do)
            bare = bare_of(build)
            name = getattr(bare, "__name__", type(bare).__name__)
            reason = " ".join(str(error).split()) or type(error).__name__
            verb = "were" if what == "results" else "was"
            lines.append(f"{what} {verb} not logged by {name}: {reason}")
    return lines


def _places(logger: Logger, what: str) -> list[str]:
    """Say how to see what a tracker has kept on this machine."""
    uri = getattr(logger, "_tracking_uri", "")
    if isinstance(logger, MLFlowLogger) and str(uri).startswith("sqlite:"):
        return [f"{what} in MLflow: mlflow ui --backend-store-uri {uri}"]
    if isinstance(logger, WandbLogger) and logger.experiment.offline:
        folder = Path(logger.experiment.dir).parent
        return [f"{what} in Weights & Biases, on this machine only: wandb sync {folder}"]
    return []


def _log_file(logger: Logger, path: Path) -> None:
    if isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path))
    elif isinstance(logger, WandbLogger) and path.suffix == ".png":
        logger.log_image(path.stem, [str(path)])
    elif isinstance(logger, WandbLogger) and path.suffix == ".html":
        import wandb  # it is installed where there is such a logger

        logger.experiment.log({path.stem: wandb.Html(str(path), inject=False)})
    elif isinstance(logger, WandbLogger):
        copied = shutil.copy(path, logger.experiment.dir)
        logger.experiment.save(copied, base_path=logger.experiment.dir, policy="now")
    elif isinstance(logger, TensorBoardLogger) and path.suffix == ".png":
        logger.experiment.add_image(path.stem, imread(path)[..., :3], dataformats="HWC")


def _unknown_to(logger: MLFlowLogger, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a run that is gone on with has been told before."""
    known = logger.experiment.get_run(logger.run_id).data.params
    flat = _flattened(settings)
    return {key: value for key, value in flat.items() if key not in known}


def _flattened(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= _flattened(value, f"{before}{key}/")
        else:
            found[f"{before}{key}"] = value
    return found


def _adopt_trainings(logger: MLFlowLogger) -> None:
    """Put the runs of a study's trainings below its own, and end those that a kill has left."""
    assert logger.tags is not None
    client, folder, token = logger.experiment, hash_of(logger.tags[FOLDER]), None
    while True:
        wanted = f"tags.`{FOLDER_HASH}` = '{folder}'"
        found = client.search_runs([logger.experiment_id], wanted, page_token=token)
        for run in found:
            if run.info.run_id == logger.run_id or PARENT in run.data.tags:
                continue
            client.set_tag(run.info.run_id, PARENT, logger.run_id)
            if run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")
        token = found.token
        if not token:
            return
