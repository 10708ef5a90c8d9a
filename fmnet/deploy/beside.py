"""One preprocessed run by the name of its image, with the files that lie beside it."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.data.bold_run import BoldRun
from fmnet.errors import Fault, VolumeError

#: Entities of what was made of a run, which tell no runs apart.
OUTPUT_ENTITIES = ("space", "cohort", "res", "den", "desc")
#: fMRIPrep's confounds file, and what versions before 20.2 called it.
CONFOUNDS = ("desc-confounds_timeseries.tsv", "desc-confounds_regressors.tsv")
#: How far above the folder ``sub-*`` the raw data set, which holds the events, may begin.
N_ABOVE = 3


@dataclass(frozen=True)
class Stated:
    """What somebody says of a run, which overrules what lies beside it.

    Parameters
    ----------
    mask, confounds, events : Path or None
        The run's files.
    t_r : float or None
        Repetition time in seconds.
    """

    mask: Path | None = None
    confounds: Path | None = None
    events: Path | None = None
    t_r: float | None = None


NOTHING = Stated()


def describe_run(image: Path, space: str, stated: Stated = NOTHING) -> PreprocessedRun:
    """Find mask, sidecar, confounds and events of a run by fMRIPrep's naming.

    Parameters
    ----------
    image : Path
        4-D NIfTI file, ``sub-01_task-rest_space-NAME_desc-preproc_bold.nii.gz`` for instance; of
        another name, nothing is found beside it.
    space : str
        The run's space, whatever the name says.
    stated : Stated
        What overrules the files beside it.

    Raises
    ------
    VolumeError
        If the sidecar is damaged or states no repetition time.
    """
    entities = read_entities(image)
    get = dict(entities).get
    stem = _join(entities, OUTPUT_ENTITIES)
    name = stem or _bare(image)
    output = _join([pair for pair in entities if pair[0] != "desc"])
    confounds = [image.with_name(f"{stem}_{ending}") for ending in CONFOUNDS]
    return PreprocessedRun(
        BoldRun(
            name,
            f"sub-{get('sub')}" if get("sub") else name,
            image,
            space,
            stated.mask or _first_there(image.with_name(f"{output}_desc-brain_mask{_end(image)}")),
            _sidecar_t_r(image) if stated.t_r is None else stated.t_r,
        ),
        get("task", ""),
        get("ses", ""),
        get("run", ""),
        stated.confounds or _first_there(*confounds),
        stated.events or _first_there(*_places_of_events(image, stem, get("task", ""))),
    )


def read_entities(image: Path) -> list[tuple[str, str]]:
    """Read BIDS entities off a name, in its order; none unless it begins with ``sub-``."""
    found = re.findall(r"(?:^|_)([a-zA-Z]+)-([^_.]+)(?=_)", image.name)
    return found if found and found[0][0] == "sub" else []


def _join(entities: list[tuple[str, str]], without: tuple[str, ...] = ()) -> str:
    return "_".join(f"{key}-{value}" for key, value in entities if key not in without)


def _end(image: Path) -> str:
    return ".nii.gz" if image.name.lower().endswith(".gz") else ".nii"


def _bare(image: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", image.name, flags=re.IGNORECASE)


def _first_there(*paths: Path) -> Path | None:
    """Pick the first that is there; a link to content not fetched yet is, too."""
    return next((path for path in paths if os.path.lexists(path)), None)


def _places_of_events(image: Path, stem: str, task: str) -> list[Path]:
    """Name where a run's events may lie: beside it, or in a raw data set above its own."""
    name = f"{stem}_events.tsv"
    places = [image.with_name(name)]
    above = image.absolute().parents
    person = next((folder for folder in above if folder.name.startswith("sub-")), None)
    if person is None:
        return places
    below = image.absolute().parent.relative_to(person.parent)
    for root in [person.parent, *person.parent.parents[:N_ABOVE]]:
        places += [root / below / name, root / f"task-{task}_events.tsv"]
    return places


def _sidecar_t_r(image: Path) -> float | None:
    """Read the repetition time in seconds off the sidecar; None without a sidecar."""
    sidecar = image.with_name(f"{_bare(image)}.json")
    if not os.path.lexists(sidecar):
        return None
    try:
        content: Any = json.loads(sidecar.read_text("utf-8-sig"))
        value = content["RepetitionTime"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"RepetitionTime {value!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        found = f"a sidecar that can't be read ({type(error).__name__}: {error})"
        action = "fetch or correct the file, or state it with --t-r"
        accepted = "a JSON file with RepetitionTime in seconds"
        raise VolumeError(Fault(str(sidecar), found, accepted, action)) from error
    return float(value)
