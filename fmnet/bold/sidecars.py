"""Repetition and start times as JSON sidecars state them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fmnet.bold.bids_files import BoldName, inherited_files
from fmnet.bold.bold_file import LONGEST_T_R, SHORTEST_T_R
from fmnet.data.advice import SETTINGS, Advice
from fmnet.data.self_hashed import read_json
from fmnet.errors import Fault, VolumeError

#: No run begins later than this many seconds; NaN doesn't pass either.
LONGEST_START = 3600.0
ACCEPTED_T_R = f"RepetitionTime in seconds, {SHORTEST_T_R:g} to {LONGEST_T_R:g}"


def read_sidecars(image: BoldName, roots: Iterable[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Read the sidecars that hold for an image, the nearest first, data set by data set.

    Raises
    ------
    VolumeError
        With every sidecar that is damaged.
    """
    paths = [path for root in roots for path in inherited_files(root, image, "bold.json")]
    contents: list[tuple[Path, dict[str, Any]]] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            contents.append((path, read_json(path, "a sidecar")))
        except VolumeError as error:
            person = image.participant_id
            faults += [replace(fault, participant_id=person) for fault in error.faults]
    if faults:
        raise VolumeError(dict.fromkeys(faults))  # roots may lie inside one another
    return contents


def stated_t_r(
    image: BoldName, sidecars: list[tuple[Path, dict[str, Any]]], advice: Advice = SETTINGS
) -> float | None:
    """Find the repetition time in seconds that sidecars state; None where there is no sidecar.

    Raises
    ------
    VolumeError
        If there are sidecars and none states it, or the nearest that does states none that can be.
    """
    if not sidecars:
        return None
    stated = [(path, held["RepetitionTime"]) for path, held in sidecars if "RepetitionTime" in held]
    if not stated:
        is_sparse = any("VolumeTiming" in held for _, held in sidecars)
        found = "no RepetitionTime" + (" but VolumeTiming (uneven)" if is_sparse else "")
        raise _refused(image, sidecars[0][0], found, f"add it to the file, or {advice.raw}")
    path, value = stated[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(image, path, f"RepetitionTime {value!r}, no number", "correct the file")
    if not SHORTEST_T_R <= value <= LONGEST_T_R:
        is_ms = SHORTEST_T_R <= value / 1000 <= LONGEST_T_R
        found = f"RepetitionTime {value:g}" + (", probably milliseconds" if is_ms else "")
        raise _refused(image, path, found, "correct the file")
    return float(value)


def stated_start_time(image: BoldName, sidecars: list[tuple[Path, dict[str, Any]]]) -> float:
    """Find when the first volume was acquired, in seconds; 0 where no sidecar says so.

    Raises
    ------
    VolumeError
        If the nearest sidecar that states it states no number.
    """
    stated = [
        (path, held["StartTime"]) for path, held in sidecars if held.get("StartTime") is not None
    ]
    if not stated:
        return 0.0
    path, value = stated[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and abs(value) < LONGEST_START:
        return float(value)
    accepted = "StartTime in seconds from the first pulse of the scanner, a number"
    found, person = f"StartTime {value!r}", image.participant_id
    raise VolumeError(Fault(str(path), found, accepted, "correct the file", person))


def _refused(image: BoldName, path: Path, found: str, action: str) -> VolumeError:
    return VolumeError(Fault(str(path), found, ACCEPTED_T_R, action, image.participant_id))
