"""Turn a finished run into a bundle, refused unless every form of the network agrees."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import fmnet
from fmnet.data.scans import FILE_SEPARATOR
from fmnet.data.tables import read_table_file
from fmnet.data.volume import FloatArray
from fmnet.deploy.bundle import FORMAT_VERSION, INTENDED_USE, Bundle, read_bundle, write_sums
from fmnet.deploy.choice import Choice, ModelName, choose_model, unfinished
from fmnet.deploy.model_card import model_card
from fmnet.deploy.predict import NewScan, read_values
from fmnet.deploy.preparation import Preparation, read_preparation
from fmnet.errors import ExportError, Fault, FmnetError
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.programs import write_network_files
from fmnet.networks.rebuild import TRUSTED, read_network

COPIED = ("preparation.json", "preparation.safetensors", "calibration.json", "reference.json")


@dataclass(frozen=True)
class Agreement:
    """Largest absolute differences between scores, over real maps.

    Parameters
    ----------
    n_scans : int
        Maps compared.
    onnx, torch_export : float
        Against the network as trained, in units of the raw score.
    """

    n_scans: int
    onnx: float
    torch_export: float


@dataclass(frozen=True)
class Exported:
    """What an export came to.

    Parameters
    ----------
    choice : Choice
        Which model it is.
    agreement : Agreement
        How far its forms agree.
    """

    choice: Choice
    agreement: Agreement


def export_run(
    run_dir: str,
    out: str,
    model: ModelName = "auto",
    tolerance: float = 1e-4,
    n_check: int = 32,
    overwrite: bool = False,
    trusted_packages: list[str] | None = None,
) -> Exported:
    """Write a bundle from a run folder.

    Parameters
    ----------
    run_dir, out : str
        The run, and the bundle's folder.
    model : {"auto", "cnn", "linear"}
        Which of its final models; ``auto`` takes the one with the larger out-of-fold AUC, of equals
        the linear one.
    tolerance : float
        Largest difference between scores that is accepted.
    n_check : int
        How many of the run's maps are read again and scored in every form.
    overwrite : bool
        Whether an existing bundle at `out` may be replaced.
    trusted_packages : list of str, optional
        Packages besides fmnet whose network builders may be run.

    Raises
    ------
    ConfigError
        If there is no linear model, and it was asked for.
    ExportError
        If the forms disagree, the maps are gone, or `out` exists or can't be written.
    RunError
        If `run_dir` holds no finished run.
    """
    target = Path(out)
    _check_target(target, overwrite)
    choice = choose_model(Path(run_dir), model)
    network, _ = read_network(choice.folder, (*TRUSTED, *(trusted_packages or ())))
    preparation = read_preparation(choice.folder)
    scans = read_run_scans(Path(run_dir), n_check)
    kept = _read_kept(choice.folder)

    def write(folder: Path) -> Agreement:
        write_network_files(network, preparation.input_shape, folder)
        for name in COPIED:
            (folder / name).write_bytes(kept[name])
        write_metadata(folder, choice, preparation, None)
        agreement = check_agreement(network, preparation, read_bundle(folder), scans, tolerance)
        write_metadata(folder, choice, preparation, agreement)
        return agreement

    try:
        return Exported(choice, _write_whole(write, target))
    except OSError as error:
        raise _unwritable(target, error) from error


def _write_whole(write: Callable[[Path], Agreement], target: Path) -> Agreement:
    """Write a folder beside its place and move it there once it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        agreement = write(folder)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    return agreement


def read_run_scans(run_dir: Path, n_check: int) -> list[NewScan]:
    """Pick scans that the run used, evenly through its list.

    Raises
    ------
    ExportError
        If there is no cohort table.
    """
    try:
        table = read_table_file(run_dir / "cohort.tsv", ("scan_id", "used", "files", "space"))
    except FmnetError as error:
        raise ExportError(error.faults) from error
    used = table[table["used"] == "yes"]
    chosen = used.iloc[np.unique(np.linspace(0, len(used) - 1, n_check).round().astype(int))]
    return [
        NewScan(row["scan_id"], tuple(map(Path, row["files"].split(FILE_SEPARATOR))), row["space"])
        for _, row in chosen.iterrows()
    ]


def check_agreement(
    network: ScoreNetwork,
    preparation: Preparation,
    bundle: Bundle,
    scans: list[NewScan],
    tolerance: float,
) -> Agreement:
    """Score maps, read afresh from disk, in every form through the whole preparation.

    Raises
    ------
    ExportError
        If two forms differ by more than `tolerance`, or a map can't be read.
    """
    program = torch.export.load(bundle.folder / "model.pt2").module()
    onnx, exported = [], []
    for scan in scans:
        try:
            values = read_values(bundle, scan)[None]
        except FmnetError as error:
            raise ExportError(error.faults) from error
        image = torch.from_numpy(preparation.prepare(values))
        with torch.no_grad():
            eager = network(image).numpy()
            exported.append(_gap(eager, program(image).numpy()))
        onnx.append(_gap(eager, bundle.score(bundle.preparation.prepare(values))))
    agreement = Agreement(len(scans), max(onnx), max(exported))
    if not max(agreement.onnx, agreement.torch_export) <= tolerance:
        raise ExportError(
            Fault(
                str(bundle.folder.parent),
                f"scores that differ by {agreement.onnx:.2g} (ONNX Runtime) and "
                f"{agreement.torch_export:.2g} (torch.export) from the network as trained",
                f"at most {tolerance:g} over {len(scans)} maps",
                "choose another network, or report this with the versions in manifest.json",
            )
        )
    return agreement


def write_metadata(
    folder: Path, choice: Choice, preparation: Preparation, agreement: Agreement | None
) -> None:
    """Write ``metadata.json``, the model card and the hashes."""
    grid, record = preparation.grid, choice.record
    metadata = {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"fmnet": fmnet.__version__}
        | {name: version(name) for name in ("torch", "monai", "onnx", "onnxruntime", "numpy")},
        "intended_use": INTENDED_USE,
        "input": {
            "contrasts": preparation.contrasts,
            "stat": record["stat"],
            "space": record["space"],
            "orientation": "RAS+",
            "shape": grid.shape,
            "voxel_size_mm": grid.voxel_size_mm,
            "affine": grid.affine.tolist(),
            "fwhm_mm": preparation.fwhm_mm,
            "min_coverage": preparation.min_coverage,
        },
        "output": {
            "score": f"raw; larger means more like {record['positive']}",
            "probability": f"of {record['positive']}, calibrated out of fold, for groups of the "
            "same proportion as in training",
        },
        "training": record,
        "choice": {"asked": choice.asked, "why": choice.why, "n_models": choice.n_models},
        "agreement": None if agreement is None else agreement.__dict__,
    }
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")
    (folder / "MODEL_CARD.md").write_text(model_card(metadata), "utf-8")
    write_sums(folder)


def _gap(one: FloatArray, other: FloatArray) -> float:
    return float(np.abs(one - other).max())


def _check_target(target: Path, overwrite: bool) -> None:
    # os.path and not pathlib, which raises where a folder above may not be entered
    if os.path.lexists(target) and not (overwrite and (target / "metadata.json").is_file()):
        raise ExportError(
            Fault(
                str(target),
                "something there already",
                "a folder that does not exist, or a bundle with overwrite=true",
                "choose another out, or set overwrite=true",
            )
        )


def _read_kept(folder: Path) -> dict[str, bytes]:
    """Read the small files of a run that go into the bundle as they are."""
    try:
        return {name: (folder / name).read_bytes() for name in COPIED}
    except OSError as error:
        raise unfinished(folder, error) from error


def _unwritable(target: Path, error: OSError) -> ExportError:
    accepted = "a place that can be written, with room for the bundle"
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    found = "a full disk" if full else f"{error.strerror or error}"
    action = "free some room, or choose another out" if full else "choose another out"
    return ExportError(Fault(str(target), found, accepted, action))
