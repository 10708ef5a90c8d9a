"""The record of a run: settings, out-of-fold table, versions, hashes and machine."""

import hashlib
import io
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import pandas as pd
import torch
import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import fmnet
from fmnet.bold.settings import CleaningSettings
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, folds_table
from fmnet.data.tables import read_table_file, write_table
from fmnet.earlier import EARLIER_NETWORK, current_config, rename_network
from fmnet.errors import Fault, RunError
from fmnet.inference.bold_contract import CONTRACT, BoldContract
from fmnet.runs.run_folder import as_json, read_json, write_run_files
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK

PACKAGES = (
    "torch", "monai", "pytorch-lightning", "hydra-core", "nibabel", "nilearn", "numpy", "scipy",
    "scikit-learn", "pandas", "onnx", "onnxruntime", "safetensors",
)  # fmt: skip
#: Keys of metrics.json that come from further trainings.
FURTHER = ("permutation", "sensitivity", "learning_curve")
#: Where the manifest keeps each opening of the lock-box.
OPENINGS = "lockbox_openings"
#: Columns of every out-of-fold table, and further ones of those about two groups. Of other targets
#: all further ones are numbers.
SCANNED = {"participant_id": str, "scan_id": str, "repeat": int, "fold": int, "model": str}
SCORED = SCANNED | {"label": int, "score": float, "probability": float}
#: Settings that may change when a run is gone on with, and those of its trainer.
FREE = (
    "permutation", "sensitivity", "learning_curve", "signature", "audit", "overwrite", "resume",
    "run_dir", "store_dir", "logger", "compute", "shard",
)  # fmt: skip
FREE_OF_TRAINER = (
    "_target_", "_partial_", "accelerator", "devices", "strategy", "precision", "num_nodes",
    "enable_progress_bar", "enable_model_summary", "log_every_n_steps", "logger", "profiler",
)  # fmt: skip
#: Columns of cohort.tsv that say what scores come from.
IDENTITY = ("scan_id", "label", "used", "source_sha256")


@dataclass(frozen=True, eq=False)
class Results:
    """All that a study found in cross-validation.

    `lacking` says what the cohort lacks for the baselines that were passed over; `again` holds the
    first repeat once more under other seeds, and may be empty. `n_epochs` are the lengths of
    training that the folds chose for the network, `further_epochs` those for each further one.
    """

    data: ScanSet
    folds: list[Fold]
    predictions: pd.DataFrame
    n_epochs: list[int]
    lacking: dict[str, str]
    again: pd.DataFrame
    further_epochs: Mapping[str, list[int]] = field(default_factory=dict)


def read_results(folder: Path, data: ScanSet, folds: list[Fold]) -> Results:
    """Read what an earlier call wrote for the same configuration.

    Raises
    ------
    RunError
        If maps, labels or folds are no longer the same, or a score is missing.
    """
    metrics, seeds = read_json(folder / "crossvalidation.json"), folder / "seeds.tsv"
    columns = SCORED if data.target is None else SCANNED
    predictions = read_predictions(folder / "predictions.tsv", columns)
    labels = data.cohort.listing.labels
    groups = {"label": (labels.positive, labels.negative)}  # one may be called NA
    current = data.cohort.table()
    identity = (*IDENTITY, *(one for one in current.columns if one.startswith("outcome_")))
    subjects = read_table_file(folder / "cohort.tsv", identity, groups)
    before, now = (
        sorted("|".join(map(str, row)) for row in table[list(identity)].to_numpy())
        for table in (subjects, current)
    )
    changed = []
    if before != now:
        changed.append("maps or labels")
    if (folder / "folds.tsv").read_text("utf-8") != table_text(folds_table(folds)):
        changed.append("folds")
    if changed:
        found = f"scores that come from other {' and '.join(changed)} than there are now"
        action = "start a run in another folder, or restore the files"
        accepted = "the cohort that the run was started with"
        raise RunError(Fault(str(folder), found, accepted, action))
    expected = sum(len(data.rows(fold.test)) for fold in folds)
    counts = predictions.groupby("model").size()
    if (counts != expected).any() or NETWORK not in counts:
        short = [f"{n} scores of {name}" for name, n in counts.items() if n != expected]
        where, accepted = str(folder / "predictions.tsv"), f"{expected} scores of each model"
        found, action = ", ".join(short) or "no network", "set overwrite=true to run it again"
        raise RunError(Fault(where, found, accepted, action))
    try:
        n_epochs, lacking = list(metrics["n_epochs"]), dict(metrics["lacking"])
        further = dict(metrics.get("further_epochs", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            Fault(
                str(folder / "crossvalidation.json"),
                f"no usable n_epochs and lacking ({error})",
                "the file as the run wrote it",
                "restore it from a copy, or set overwrite=true to run the study again",
            )
        ) from error
    again = read_predictions(seeds, columns) if seeds.exists() else pd.DataFrame()
    return Results(data, folds, predictions, n_epochs, lacking, again, further)


def write_record(
    results: Results, folder: Path, manifest: dict[str, Any], config_yaml: str
) -> None:
    """Write what cross-validation found; predictions come last and mark it as finished."""
    cohort = results.data.cohort
    files = {
        "config.yaml": config_yaml,
        "cohort.tsv": table_text(cohort.table()),
        "participants.tsv": table_text(cohort.listing.participants),
        "folds.tsv": table_text(folds_table(results.folds)),
        "manifest.json": as_json(manifest),
    }
    if (contract := bold_contract(cohort)) is not None:
        assert cohort.listing.made_by is not None
        files[CONTRACT] = as_json(asdict(contract) | {"raw": cohort.listing.made_by["raw"]})
    kept = {"n_epochs": results.n_epochs, "lacking": results.lacking}
    kept |= {"further_epochs": dict(results.further_epochs)}
    files["crossvalidation.json"] = as_json(kept)
    if len(results.again):
        files["seeds.tsv"] = table_text(results.again)
    write_run_files(folder, files | {"predictions.tsv": table_text(results.predictions)})


def bold_contract(cohort: Cohort) -> BoldContract | None:
    """Say how runs become series and maps; None where maps are given as they are."""
    made_by = cohort.listing.made_by
    if made_by is None:
        return None
    cleaning = CleaningSettings(**made_by["cleaning"])
    return BoldContract(cleaning, tuple(made_by["maps"]), cohort.series[0].t_r)


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
        reason = (str(error) or type(error).__name__).splitlines()[0]
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


def parse_settings(config_yaml: str) -> dict[str, Any]:
    """Read a configuration that was kept as text, as one of now."""
    settings = OmegaConf.to_container(OmegaConf.create(config_yaml))
    if not isinstance(settings, dict):
        raise ValueError("no settings by name")
    return current_config({str(key): value for key, value in settings.items()})


def fixed_settings(config_yaml: str) -> dict[str, Any]:
    """Read a configuration without what may change when a run is gone on with."""
    fixed = {key: value for key, value in parse_settings(config_yaml).items() if key not in FREE}
    if not fixed.get("models"):  # runs of before there were any had no such key
        fixed.pop("models", None)
    if isinstance(trainer := fixed.get("trainer"), dict):
        fixed["trainer"] = {key: trainer[key] for key in trainer if key not in FREE_OF_TRAINER}
    return fixed


def read_predictions(
    table: Path | TextIO, columns: Mapping[str, type] = MappingProxyType(SCORED)
) -> pd.DataFrame:
    """Read the out-of-fold table, which everything after cross-validation is computed from.

    `columns` are those it has to have; all further ones hold numbers.

    Raises
    ------
    RunError
        If it is damaged, as far as that shows.
    """
    try:
        # outcomes of several targets may be missing; scores and probabilities may not
        missing = [] if "probability" in columns else ["n/a"]
        found = pd.read_csv(
            table, sep="\t", dtype=dict(columns), keep_default_na=False, na_values=missing
        )
        if lacking := sorted(columns.keys() - set(found.columns)):
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
    columns = SCORED if "probability" in predictions else SCANNED
    return read_predictions(io.StringIO(table_text(predictions)), columns)


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


def read_further_trainings(folder: Path) -> dict[str, Any]:
    """Read what earlier calls found by training again; empty if there is nothing."""
    path = folder / "metrics.json"
    metrics = read_json(path) if path.exists() else {}
    found = {name: metrics[name] for name in FURTHER if name in metrics}
    return found if NETWORK in metrics.get("models", {}) else rename_network(found)


def note_resumption(folder: Path, started: datetime) -> None:
    """Note in the manifest that a run was gone on with, and how."""
    record = read_json(folder / "manifest.json")
    call = {"command": sys.argv, "started": started.isoformat(timespec="seconds")}
    resumed = {"resumed": [*record.get("resumed", []), call]}
    write_run_files(folder, {"manifest.json": as_json(record | resumed)})


def versions() -> dict[str, str]:
    """List the versions of fmnet and of what the result depends on."""
    found = {"fmnet": fmnet.__version__} | dict.fromkeys(PACKAGES, "not installed")
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def describe_device() -> str:
    """Name the graphics cards that there are, or else the processor and its threads."""
    if torch.cuda.is_available():
        return ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    processor = next(names, platform.processor() or "CPU")
    return f"{processor}, {torch.get_num_threads()} threads"


def code_hash() -> str:
    """Hash of fmnet's own source, and of the weights that it brings along."""
    digest = hashlib.sha256()
    for path in sorted(Path(fmnet.__file__).parent.rglob("*")):
        if path.suffix in {".py", ".safetensors"}:
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
