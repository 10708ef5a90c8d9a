"""What every training run leaves behind, and who may write it."""

import hashlib
import io
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import torch
import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import fmnet
from fmnet.data.files import write_atomically
from fmnet.data.tables import write_table
from fmnet.earlier import EARLIER_NETWORK, current_config, rename_network
from fmnet.errors import Fault, RunError
from fmnet.inference.bold_contract import BoldContract, write_contract
from fmnet.inference.bundle import write_plain
from fmnet.inference.calibration import Calibration
from fmnet.inference.preparation import (
    Preparation,
)
from fmnet.inference.quality import Reference
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.rebuild import NetworkDescription, write_network
from fmnet.runs.run_files import (
    as_json,
    read_json,
    write_run_files,
    write_run_folder,
)
from fmnet.types import NETWORK

PACKAGES = (
    "torch", "monai", "pytorch-lightning", "hydra-core", "nibabel", "nilearn", "numpy", "scipy",
    "scikit-learn", "pandas", "onnx", "onnxruntime", "safetensors",
)  # fmt: skip
#: Parts of metrics.json that come from further trainings.
PROBES = ("permutation", "sensitivity", "learning_curve")
#: Where the manifest keeps each opening of the lock-box.
OPENINGS = "lockbox_openings"
#: Columns of the out-of-fold table.
SCORED = {
    "participant_id": str, "scan_id": str, "repeat": int, "fold": int, "model": str, "label": int,
    "score": float, "probability": float,
}  # fmt: skip
#: Settings that may change when a run is gone on with.
FREE = (
    "permutation", "sensitivity", "learning_curve", "audit", "overwrite", "resume", "run_dir",
    "store_dir", "trainer", "logger", "compute", "shard",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingRecord:
    """What a signature says about its own training.

    Parameters
    ----------
    model, title : str
        Which of the models in `crossvalidation` it is, and its name for people.
    chosen_among : tuple of str
        Names of the models of which it is the best by out-of-fold AUC, its own included.
    label, positive, negative : str
        Label column and its two values.
    contrasts : tuple of str
        Channels.
    stat, space, origin : str
        Unit of the maps, their space, and ``synthetic`` for made-up data.
    n_scans, n_subjects : int
        Used in the final training.
    n_epochs : int or None
        Of the final training; None for a linear model.
    c : float or None
        Of a linear model's penalty.
    seed : int
        Of the final training, or of the inner folds.
    crossvalidation : dict
        Out-of-fold figures of each model.
    control : str
        What makes it a negative control; empty for a study.
    path_shares : dict
        What share of the score each path of the network was given; empty without paths.
    titles : dict
        Names for people of the models in `crossvalidation`.
    screen : float or None
        Share of the voxels that a linear model keeps.
    """

    model: str
    title: str
    chosen_among: tuple[str, ...]
    label: str
    positive: str
    negative: str
    contrasts: tuple[str, ...]
    stat: str
    space: str
    origin: str
    n_scans: int
    n_subjects: int
    n_epochs: int | None
    c: float | None
    seed: int
    crossvalidation: dict[str, Any]
    control: str = ""
    path_shares: dict[str, float] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    screen: float | None = None


def changed_settings(run_dir: Path, config_yaml: str) -> list[str]:
    """Name the settings in which a run differs from a configuration, as far as they matter.

    Raises
    ------
    RunError
        If the run's own can't be read.
    """
    path = run_dir / "config.yaml"
    try:
        before = fixed_settings(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        accepted = "the settings as the run wrote them"
        action = "restore it from a copy, or set overwrite=true to run the study again"
        raise RunError(Fault(str(path), f"a damaged file ({reason})", accepted, action)) from error
    now = fixed_settings(config_yaml)
    return [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]


def added_baselines(run_dir: Path, config_yaml: str) -> list[str]:
    """Name the baselines of a configuration that a run, whose settings can be read, had not."""
    before = fixed_settings((run_dir / "config.yaml").read_text("utf-8")).get("baselines")
    now = fixed_settings(config_yaml).get("baselines")
    return [name for name in now or {} if name not in (before or {})]


def write_json(content: Any, path: Path) -> None:
    """Write JSON with a final newline."""
    write_atomically(path, as_json(content))


def parse_settings(config_yaml: str) -> dict[str, Any]:
    """Read a configuration that was kept as text, as one of now."""
    settings = OmegaConf.to_container(OmegaConf.create(config_yaml))
    if not isinstance(settings, dict):
        raise ValueError("no settings by name")
    return current_config({str(key): value for key, value in settings.items()})


def fixed_settings(config_yaml: str) -> dict[str, Any]:
    """Read a configuration without what may change when a run is gone on with."""
    return {key: value for key, value in parse_settings(config_yaml).items() if key not in FREE}


def read_predictions(table: Path | TextIO) -> pd.DataFrame:
    """Read the out-of-fold table, which everything after cross-validation is computed from.

    Raises
    ------
    RunError
        If it is damaged, as far as that shows.
    """
    try:
        found = pd.read_csv(table, sep="\t", dtype=SCORED, keep_default_na=False)
        if lacking := sorted(SCORED.keys() - set(found.columns)):
            raise ValueError(f"no column {', '.join(lacking)}")
    except (OSError, ValueError, RecursionError) as error:
        accepted = "the out-of-fold scores as the run wrote them"
        action = "restore it from a copy, or set overwrite=true to run the study again"
        raise RunError(Fault(str(table), f"a damaged table ({error})", accepted, action)) from error
    if not (found["model"] == NETWORK).any():
        found["model"] = found["model"].replace(EARLIER_NETWORK, NETWORK)
    return found


def table_text(table: pd.DataFrame) -> str:
    """Write a table as a file would hold it."""
    text = io.StringIO()
    write_table(table, text)
    return text.getvalue()


def as_written(predictions: pd.DataFrame) -> pd.DataFrame:
    """Round as a file does, so that a run gone on with has the same figures as an undisturbed."""
    return read_predictions(io.StringIO(table_text(predictions)))


def write_model(
    folder: Path,
    network: ScoreNetwork,
    description: NetworkDescription,
    preparation: Preparation,
    calibration: Calibration,
    reference: Reference,
    contract: BoldContract | None,
    record: TrainingRecord,
) -> None:
    """Write a final model's folder, all that export needs besides the maps."""

    def write(draft: Path) -> None:
        write_network(network, description, draft)
        preparation.write(draft)
        write_plain(calibration, draft / "calibration.json")
        write_plain(reference, draft / "reference.json")
        if contract is not None:
            write_contract(contract, draft)
        write_json(asdict(record), draft / "training.json")

    write_run_folder(folder.parent, folder.name, write)


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
        "device": describe_device(),
        "code_sha256": code_hash(),
        "git_commit": _git_commit(),
        "data_sha256": hashlib.sha256("\n".join(sorted(data_hashes)).encode()).hexdigest(),
    }


def read_probes(folder: Path) -> dict[str, Any]:
    """Read what earlier calls found by training again; empty if there is nothing."""
    path = folder / "metrics.json"
    metrics = read_json(path) if path.exists() else {}
    found = {name: metrics[name] for name in PROBES if name in metrics}
    return found if NETWORK in metrics.get("models", {}) else rename_network(found)


def note_resumption(folder: Path, started: datetime) -> None:
    """Note in the manifest that a run was gone on with, and how."""
    record = read_json(folder / "manifest.json")
    call = {"command": sys.argv, "started": started.isoformat(timespec="seconds")}
    resumed = {"resumed": [*record.get("resumed", []), call]}
    write_run_files(folder, {"manifest.json": as_json(record | resumed)})


def versions() -> dict[str, str]:
    """Versions of fmnet and of what the result depends on."""
    found = {"fmnet": fmnet.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def describe_device() -> str:
    """Name the graphics cards that there are, or else the processor and its threads."""
    if torch.cuda.is_available():
        return ", ".join(
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        )
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or "CPU")


def code_hash() -> str:
    """Hash of fmnet's own source."""
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
