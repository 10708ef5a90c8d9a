"""Lightning loggers, one per training and one per study: ``(log_dir, name)`` to a logger.

What of a study goes to them is in `fmnet.training.trackers`.
"""

import fcntl
import hashlib
import json
import logging
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
)

from fmnet.data.files import write_atomically
from fmnet.errors import ConfigError, Fault
from fmnet.training.processes import is_first
from fmnet.training.tracker_runs import MLflowTraining, WandbRun

#: A folder for logs and the name of one training, or of the study, to a Lightning logger.
LoggerBuilder = Callable[[Path, str], Logger]
Builder = TypeVar("Builder", bound=Callable[..., Logger])
#: Name of the logger that takes a study's results.
STUDY = "study"
#: In the folder of logs: the runs of trackers that are the study's.
RUNS = "trackers.json"
#: How the address of a database in a file begins.
SQLITE = "sqlite:///"
#: Tags of MLflow's runs: the folder of the study, and a hash of it, which can be searched for.
FOLDER, FOLDER_HASH = "fmnet.folder", "fmnet.study"


def needing(*packages: str) -> Callable[[Builder], Builder]:
    """Note which package, or which one of several, a logger can't do without."""

    def mark(build: Builder) -> Builder:
        build.needs_package = packages  # type: ignore[attr-defined]
        return build

    return mark


def check_loggers(builders: Sequence[LoggerBuilder]) -> None:
    """Raise `ConfigError` if a logger can't work, before anything is computed.

    Its package may not be installed, or there is no key for Weights & Biases.
    """
    faults = []
    for build in builders:
        bare = bare_of(build)
        packages: tuple[str, ...] = getattr(bare, "needs_package", ())
        if packages and not any(find_spec(name) is not None for name in packages):
            faults.append(_not_installed(packages[0]))
        elif bare is build_wandb_logger and not getattr(build, "keywords", {}).get("offline", True):
            faults += _without_key()
    if faults:
        raise ConfigError(faults)


def build_csv_logger(log_dir: Path, name: str) -> Logger:
    """Write ``<log_dir>/csv/<name>/metrics.csv``, in place of what a stopped training left."""
    _remove(log_dir / "csv" / name)
    return CSVLogger(log_dir / "csv", name=name, version="")


@needing("tensorboard", "tensorboardX")
def build_tensorboard_logger(log_dir: Path, name: str) -> Logger:
    """Write event files to ``<log_dir>/tensorboard/<name>``, as `build_csv_logger` does."""
    _remove(log_dir / "tensorboard" / name)
    return TensorBoardLogger(log_dir / "tensorboard", name=name, version="")


@needing("mlflow")
def build_mlflow_logger(
    log_dir: Path, name: str, experiment: str = "fmnet", tracking_uri: str | None = None
) -> Logger:
    """Log to an MLflow server, or to ``<log_dir>/mlflow.db`` without one.

    Files go to a folder ``mlflow`` beside a database.

    Parameters
    ----------
    log_dir : Path
        Of the study.
    name : str
        Of the training, or ``study``.
    experiment : str
        Of MLflow, which holds studies and their trainings.
    tracking_uri : str, optional
        Of a server (``http://...``), or of a database that several studies share
        (``sqlite:////folder/mlflow.db``).

    Raises
    ------
    ConfigError
        If mlflow is not installed, or the server doesn't answer.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    uri = tracking_uri or f"{SQLITE}{(log_dir / 'mlflow.db').absolute()}"
    # files lie beside a database, else MLflow puts them where the program was started
    beside = Path(uri.removeprefix(SQLITE)).absolute().parent if uri.startswith(SQLITE) else None
    place = None if beside is None else (beside / "mlflow").as_uri()
    folder, key = log_dir.parent.absolute(), f"mlflow {hash_of(uri)}"
    known = _study_runs(log_dir).get(key) if name == STUDY else None
    kind = MLFlowLogger if name == STUDY else MLflowTraining
    title = _label(folder) if name == STUDY else name
    tags = {FOLDER: str(folder), FOLDER_HASH: hash_of(str(folder))}
    try:
        with _one_at_a_time(beside or log_dir):  # two processes can't make the same tables
            logger = kind(experiment, title, uri, tags, artifact_location=place, run_id=known)
            if is_first():
                _ensure_experiment(logger, experiment, place)
                run_id = logger.run_id
                if name == STUDY and known is None and run_id is not None:
                    _note_study_run(log_dir, key, run_id)
        return logger
    except ModuleNotFoundError as error:
        raise ConfigError(_not_installed("mlflow", str(error))) from error
    except Exception as error:
        if name == STUDY:
            raise
        raise ConfigError(
            Fault(
                "logger.mlflow",
                f"a tracker that can't be written to ({' '.join(str(error).split())[:200]})",
                "a server that answers, or a file that can be written",
                "correct logger.mlflow.tracking_uri, or choose another logger",
            )
        ) from error


@needing("wandb")
def build_wandb_logger(
    log_dir: Path, name: str, project: str = "fmnet", offline: bool = True
) -> Logger:
    """Log to Weights & Biases: to files in ``<log_dir>/wandb``, or online.

    Parameters
    ----------
    log_dir : Path
        Of the study.
    name : str
        Of the training, or ``study``.
    project : str
        Of Weights & Biases.
    offline : bool
        Whether nothing leaves this machine until ``wandb sync`` is called; else configuration,
        figures and the report, which names participants, are sent at once.

    Raises
    ------
    ConfigError
        If wandb is not installed.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    folder, key = log_dir.parent.absolute(), f"wandb {project}"
    # W&B can't go on offline with a run: each call has one of its own, all of them in one group
    known = _study_runs(log_dir).get(key) if name == STUDY and not offline else None
    try:
        import wandb  # an extra
    except ModuleNotFoundError as error:
        raise ConfigError(_not_installed("wandb", str(error))) from error
    run_id = known or secrets.token_hex(4)
    if name == STUDY and not (offline or known) and is_first():
        _note_study_run(log_dir, key, run_id)
    return WandbRun(
        name=_label(folder) if name == STUDY else name,
        save_dir=log_dir,
        version=run_id,
        project=project,
        group=_label(folder),
        job_type="study" if name == STUDY else "training",
        mode="offline" if offline else "online",
        # trainings side by side have runs of their own, and none of them writes into our lines
        reinit="create_new",
        settings=wandb.Settings(console="off", silent=True),
    )


def _ensure_experiment(logger: MLFlowLogger, name: str, place: str | None) -> None:
    """Make an experiment, unless another process, or machine, has done so."""
    client = logger._mlflow_client
    if client.get_experiment_by_name(name) is None:
        try:
            client.create_experiment(name, artifact_location=place)
        except Exception:
            if client.get_experiment_by_name(name) is None:
                raise


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time make tables, in silence, where the file system knows locks."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".mlflow.lock").open("w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        import mlflow  # noqa: F401 (it sets the level of its log, which tells of every table)

        own = logging.getLogger("mlflow")
        before = own.level
        own.setLevel(logging.WARNING)
        try:
            yield
        finally:
            own.setLevel(before)


def _study_runs(log_dir: Path) -> dict[str, str]:
    """Read which runs of trackers are the study's; none where that isn't known."""
    with suppress(OSError, ValueError):
        return dict(json.loads((log_dir / RUNS).read_text("utf-8")))
    return {}


def _note_study_run(log_dir: Path, key: str, run_id: str) -> None:
    runs = _study_runs(log_dir) | {key: run_id}
    write_atomically(log_dir / RUNS, json.dumps(runs, indent=2) + "\n")


def _label(folder: Path) -> str:
    """Call a study after its folder and the one around it, as a date and a time."""
    return "/".join(folder.parts[-2:])


def hash_of(text: str) -> str:
    """Shorten a text to what can be searched for, and shows no password."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _remove(folder: Path) -> None:
    if is_first():  # of processes that share a training, the first one writes
        shutil.rmtree(folder, ignore_errors=True)


def bare_of(build: LoggerBuilder) -> Any:
    """Look up the function that a partial calls."""
    return build.func if isinstance(build, partial) else build


def _without_key() -> list[Fault]:
    """Refuse to wait for somebody to type a key in the middle of a study."""
    import wandb  # it is installed, and online

    if wandb.api.api_key:
        return []
    accepted = "a key, which 'wandb login' or the variable WANDB_API_KEY gives"
    action = "run 'wandb login', or set logger.wandb.offline=true"
    return [Fault("logger.wandb", "no key for Weights & Biases", accepted, action)]


def _not_installed(package: str, reason: str = "") -> Fault:
    return Fault(
        "logger",
        f"{package}, which is not installed" + (f" ({reason})" if reason else ""),
        "an installed logger; csv and tensorboard come with fmnet",
        f"run 'pip install {package}' or choose another logger",
    )
