"""Turn a finished run into a bundle, refused unless every form of the network agrees."""

import errno
import io
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fmnet
from fmnet.data.cohort import FILE_SEPARATOR
from fmnet.data.tables import read_table_file
from fmnet.data.volume import FloatArray
from fmnet.deploy.bundle import FORMAT_VERSION, INTENDED_USE, Bundle, read_bundle, write_sums
from fmnet.deploy.model_card import model_card
from fmnet.deploy.predict import NewScan, read_values
from fmnet.deploy.preparation import Preparation, read_preparation
from fmnet.errors import ExportError, Fault, FmnetError, RunError
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.rebuild import TRUSTED, read_network

COPIED = ("preparation.json", "preparation.safetensors", "calibration.json", "reference.json")
RECORD = "training.json"
MAX_BATCH = 4096


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


def export_run(
    run_dir: str,
    out: str,
    tolerance: float = 1e-4,
    n_check: int = 32,
    overwrite: bool = False,
    trusted_packages: list[str] | None = None,
) -> Agreement:
    """Write a bundle from a run folder.

    Parameters
    ----------
    run_dir, out : str
        The run, and the bundle's folder.
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
    ExportError
        If the forms disagree, the maps are gone, or `out` exists or can't be written.
    RunError
        If `run_dir` holds no finished run.
    """
    model, target = Path(run_dir) / "model", Path(out)
    _check_target(target, overwrite)
    network, _ = read_network(model, (*TRUSTED, *(trusted_packages or ())))
    preparation = read_preparation(model)
    scans = read_run_scans(Path(run_dir), n_check)
    kept = _read_kept(model)

    def write(folder: Path) -> Agreement:
        write_network_files(network, preparation, folder)
        for name in COPIED:
            (folder / name).write_bytes(kept[name])
        record = json.loads(kept[RECORD])
        write_metadata(folder, record, preparation, None)
        agreement = check_agreement(network, preparation, read_bundle(folder), scans, tolerance)
        write_metadata(folder, record, preparation, agreement)
        return agreement

    try:
        return _write_whole(write, target)
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


def write_network_files(network: ScoreNetwork, preparation: Preparation, folder: Path) -> None:
    """Write ``model.pt2`` (torch.export) and ``model.onnx``, both for any batch size."""
    example = torch.zeros((2, *preparation.input_shape))
    shapes = {"image": {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Inside torch, about torch: nothing here that a user or we could change.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(network, (example,), dynamic_shapes=shapes)
        for node in program.graph.nodes:
            # Paths of this machine, and in them its users' names, are no part of a signature.
            node.meta.pop("stack_trace", None)
        # Through memory: torch's own writing to a full disk ends in a C++ error without a reason.
        whole = io.BytesIO()
        torch.export.save(program, whole)
        (folder / "model.pt2").write_bytes(whole.getbuffer())
        onnx = torch.onnx.export(
            program,
            input_names=["image"],
            output_names=["score"],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        if onnx is None:
            raise ExportError(
                Fault("network", "no ONNX program", "a network that ONNX can hold", "change it")
            )
        (folder / "model.onnx").write_bytes(onnx.model_proto.SerializeToString())


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
    folder: Path, record: dict[str, Any], preparation: Preparation, agreement: Agreement | None
) -> None:
    """Write ``metadata.json``, the model card and the hashes."""
    grid = preparation.grid
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


def _read_kept(model: Path) -> dict[str, bytes]:
    """Read the small files of a run that go into the bundle as they are."""
    try:
        return {name: (model / name).read_bytes() for name in (*COPIED, RECORD)}
    except OSError as error:
        accepted, action = "a finished run's folder 'model'", "train again"
        raise RunError(Fault(str(model), str(error), accepted, action)) from error


def _unwritable(target: Path, error: OSError) -> ExportError:
    accepted = "a place that can be written, with room for the bundle"
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    found = "a full disk" if full else f"{error.strerror or error}"
    action = "free some room, or choose another out" if full else "choose another out"
    return ExportError(Fault(str(target), found, accepted, action))
