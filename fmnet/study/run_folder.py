"""What every training run leaves behind, and who may write it."""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import torch
from omegaconf import OmegaConf

import fmnet
from fmnet.data.tables import write_table
from fmnet.deploy.bundle import write_plain
from fmnet.deploy.calibration import Calibration
from fmnet.deploy.preparation import Preparation, write_preparation
from fmnet.deploy.quality import Reference
from fmnet.errors import ConfigError, Fault, RunError
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.rebuild import NetworkDescription, write_network

PACKAGES = (
    "torch", "monai", "pytorch-lightning", "hydra-core", "nibabel", "nilearn", "numpy", "scipy",
    "scikit-learn", "pandas", "onnx", "onnxruntime", "safetensors",
)  # fmt: skip
#: What a run writes, and so what a run that replaces another removes first.
FILES = (
    "config.yaml", "manifest.json", "cohort.tsv", "participants.tsv", "folds.tsv",
    "predictions.tsv", "seeds.tsv", "crossvalidation.json", "metrics.json", "figure.png",
    "report.html",
)  # fmt: skip
FOLDERS = ("logs", "model", "permutations", "sensitivity", "learning_curve")
#: Settings that may change when a run is gone on with.
FREE = (
    "permutation", "sensitivity", "learning_curve", "audit", "overwrite", "resume", "run_dir",
    "store_dir", "trainer", "logger",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingRecord:
    """What a signature says about its own training.

    Parameters
    ----------
    label, positive, negative : str
        Label column and its two values.
    contrasts : tuple of str
        Channels.
    stat, space, origin : str
        Unit of the maps, their space, and ``synthetic`` for made-up data.
    n_scans, n_subjects : int
        Used in the final training.
    n_epochs, seed : int
        Of the final training.
    crossvalidation : dict
        Out-of-fold figures of each model.
    """

    label: str
    positive: str
    negative: str
    contrasts: tuple[str, ...]
    stat: str
    space: str
    origin: str
    n_scans: int
    n_subjects: int
    n_epochs: int
    seed: int
    crossvalidation: dict[str, Any]


def is_writer() -> bool:
    """Tell whether this process writes the run folder: one of those of a distributed run does."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def check_one_process(setting: str) -> None:
    """Refuse what takes many trainings where each training is shared by several processes.

    Raises
    ------
    ConfigError
        In a distributed run.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise ConfigError(
            Fault(
                setting,
                "many trainings in a run that several processes share",
                "one device for each training",
                "run them apart: resume=true with trainer=gpu or trainer=cpu",
            )
        )


def check_run_folder(run_dir: Path, overwrite: bool) -> None:
    """Refuse a folder that can't be written or holds results, before anything is computed.

    Raises
    ------
    RunError
        If there are results in it and `overwrite` is false, or it can't be written.
    """
    if (run_dir / "predictions.tsv").exists() and not overwrite:
        raise RunError(
            Fault(
                str(run_dir),
                "the results of an earlier run",
                "a new folder",
                "choose another run_dir, or set overwrite=true",
            )
        )
    there = next(folder for folder in (run_dir, *run_dir.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise _not_writable(run_dir, f"'{there}', which can't be written into")


def check_same_run(run_dir: Path, config_yaml: str) -> None:
    """Refuse to go on with a run of another configuration.

    Raises
    ------
    RunError
        Naming the settings that differ.
    """
    before = _settings((run_dir / "config.yaml").read_text("utf-8"))
    now = _settings(config_yaml)
    differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if differing:
        raise RunError(
            Fault(
                str(run_dir),
                f"a run with other settings for {', '.join(differing)}",
                "the settings that it was started with",
                "repeat the command with resume=true, or choose another run_dir",
            )
        )


def create_run_folder(run_dir: Path) -> None:
    """Make the folder, or free it of what an earlier run left.

    Raises
    ------
    RunError
        If that fails.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        for name in FOLDERS:
            shutil.rmtree(run_dir / name, ignore_errors=True)
        for name in FILES:
            (run_dir / name).unlink(missing_ok=True)
    except OSError as error:
        raise _not_writable(run_dir, str(error)) from error


def write_json(content: Any, path: Path) -> None:
    """Write JSON with a final newline."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8")


def parse_settings(config_yaml: str) -> dict[str, Any]:
    """Read a configuration that was kept as text."""
    settings = OmegaConf.to_container(OmegaConf.create(config_yaml))
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def read_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text("utf-8"))


def read_predictions(table: Path | TextIO) -> pd.DataFrame:
    """Read the out-of-fold table, which everything after cross-validation is computed from."""
    text = {"participant_id": str, "scan_id": str, "model": str}
    return pd.read_csv(table, sep="\t", dtype=text, keep_default_na=False)


def as_written(predictions: pd.DataFrame) -> pd.DataFrame:
    """Round as a file does, so that a run gone on with has the same figures as an undisturbed."""
    text = io.StringIO()
    write_table(predictions, text)
    text.seek(0)
    return read_predictions(text)


def write_model(
    folder: Path,
    network: ScoreNetwork,
    description: NetworkDescription,
    preparation: Preparation,
    calibration: Calibration,
    reference: Reference,
    record: TrainingRecord,
) -> None:
    """Write ``model/``, all that export needs besides the maps."""
    folder.mkdir(exist_ok=True)
    write_network(network, description, folder)
    write_preparation(preparation, folder)
    write_plain(calibration, folder / "calibration.json")
    write_plain(reference, folder / "reference.json")
    write_json(asdict(record), folder / "training.json")


def manifest(seed: int, data_hashes: Sequence[str], started: datetime) -> dict[str, Any]:
    """Describe what was run, with what, on what, from when to when."""
    ended = datetime.now(UTC)
    return {
        "command": sys.argv,
        "seed": seed,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((ended - started).total_seconds(), 1),
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": _device(),
        "code_sha256": _code_hash(),
        "git_commit": _git_commit(),
        "data_sha256": hashlib.sha256("\n".join(sorted(data_hashes)).encode()).hexdigest(),
    }


def versions() -> dict[str, str]:
    """Versions of fmnet and of what the result depends on."""
    found = {"fmnet": fmnet.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _device() -> str:
    if torch.cuda.is_available():
        return ", ".join(
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        )
    return f"CPU, {torch.get_num_threads()} threads"


def _code_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(fmnet.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _git_commit() -> str:
    """Name the commit that the code is at; empty outside a checkout."""
    folder = Path(fmnet.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _settings(config_yaml: str) -> dict[str, Any]:
    return {key: value for key, value in parse_settings(config_yaml).items() if key not in FREE}


def _not_writable(run_dir: Path, found: str) -> RunError:
    return RunError(
        Fault(str(run_dir), found, "a folder that can be written", "choose another run_dir")
    )
