"""Score new scans with a bundle; what can't be scored honestly is said, not guessed."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from nilearn.interfaces.bids import parse_bids_filename

from fmnet.data.bids import find_maps
from fmnet.data.image_table import find_table_maps
from fmnet.data.listing import MapTable, group_scans
from fmnet.data.nifti import read_volume
from fmnet.data.store import check_content, coverage_fault
from fmnet.data.volume import FloatArray
from fmnet.deploy.bundle import Bundle
from fmnet.deploy.quality import scale_faults
from fmnet.errors import Fault, VolumeError

Status = Literal["ok", "cannot_say", "error"]


@dataclass(frozen=True)
class NewScan:
    """A scan to be scored.

    Parameters
    ----------
    name : str
        How it is called in the results.
    files : tuple of Path
        One map per contrast of the bundle, in its order.
    space : str
        Space the maps are said to be in; empty if nobody says.
    """

    name: str
    files: tuple[Path, ...]
    space: str = ""


@dataclass(frozen=True)
class Prediction:
    """What is said about one scan.

    Parameters
    ----------
    scan : str
        Its name.
    score, probability : float or None
        Raw score, and calibrated probability of the positive class; None unless status is ``ok``.
    status : {"ok", "cannot_say", "error"}
        ``cannot_say``: readable, but unlike what the signature was trained on; ``error``: unusable.
    reason : str
        Why there is no score; empty if there is one.
    """

    scan: str
    score: float | None
    probability: float | None
    status: Status
    reason: str = ""


def find_new_scans(source: str, bundle: Bundle) -> tuple[list[NewScan], list[Prediction]]:
    """Find the scans that an argument names.

    Parameters
    ----------
    source : str
        A map; several maps of one scan joined by commas, in the bundle's order of contrasts; a
        table (.tsv, .csv) of ``participant_id, contrast, path``; or a BIDS-derivatives folder.
    bundle : Bundle
        Says which contrasts are needed.

    Returns
    -------
    tuple of list
        Scans to be scored, and predictions with status ``error`` for incomplete ones.
    """
    contrasts = list(bundle.preparation.contrasts)
    path = Path(source)
    if path.is_dir():
        stat = bundle.metadata["input"]["stat"]
        return _from_maps(find_maps(path, contrasts, None if stat == "n/a" else stat))
    if path.suffix in {".tsv", ".csv"}:
        return _from_maps(find_table_maps(path, contrasts, space=""))
    files = tuple(Path(part) for part in source.split(","))
    return [NewScan(source, files, _stated_space(files))], []


def predict_scan(bundle: Bundle, scan: NewScan) -> Prediction:
    """Score one scan.

    Parameters
    ----------
    bundle : Bundle
        The signature.
    scan : NewScan
        The scan.

    Returns
    -------
    Prediction
        With the reason where there is no score; bad input never raises.
    """
    try:
        values = read_values(bundle, scan)
    except VolumeError as error:
        return Prediction(scan.name, None, None, "error", _join(error.faults))
    preparation = bundle.preparation
    doubts = [
        fault
        for file, channel in zip(scan.files, values, strict=True)
        if (fault := coverage_fault(channel, str(file), preparation.min_coverage))
    ]
    doubts = doubts or scale_faults(values, bundle.reference, scan.name)
    if doubts:
        return Prediction(scan.name, None, None, "cannot_say", _join(doubts))
    score = float(bundle.score(preparation.prepare(values[None]))[0])
    return Prediction(scan.name, score, float(bundle.calibration.probability(score)), "ok")


def read_values(bundle: Bundle, scan: NewScan) -> FloatArray:
    """Read a scan's maps and put them on the bundle's grid: (C, V).

    Raises
    ------
    VolumeError
        If there are too few or too many maps, or one is unusable or in another space.
    """
    preparation = bundle.preparation
    if len(scan.files) != len(preparation.contrasts):
        raise VolumeError(
            Fault(
                scan.name,
                f"{len(scan.files)} maps",
                f"{len(preparation.contrasts)}: {', '.join(preparation.contrasts)}",
                "join the maps of one scan by commas, in that order",
            )
        )
    space = preparation.grid.space
    if scan.space and "MNI152" not in {space, scan.space} and scan.space != space:
        raise VolumeError(
            Fault(scan.name, f"space '{scan.space}'", f"'{space}'", "normalise it to that template")
        )
    volumes = tuple(read_volume(file, scan.space or space) for file in scan.files)
    for volume in volumes:
        check_content(volume, preparation.grid)
    return preparation.place(volumes)


def predictions_table(predictions: list[Prediction]) -> pd.DataFrame:
    """List predictions with one row per scan: scan, score, probability, status, reason."""
    columns = ["scan", "score", "probability", "status", "reason"]
    return pd.DataFrame([asdict(prediction) for prediction in predictions], columns=columns)


def _from_maps(maps: MapTable) -> tuple[list[NewScan], list[Prediction]]:
    scans, faults = group_scans(maps)
    found = [NewScan(scan.scan_id, scan.files, scan.space) for scan in scans]
    return found, [Prediction(fault.where, None, None, "error", str(fault)) for fault in faults]


def _stated_space(files: tuple[Path, ...]) -> str:
    spaces = {parse_bids_filename(file)["entities"].get("space", "") for file in files}
    return str(spaces.pop()) if len(spaces) == 1 else ""


def _join(faults: list[Fault] | tuple[Fault, ...]) -> str:
    return " | ".join(map(str, faults))
