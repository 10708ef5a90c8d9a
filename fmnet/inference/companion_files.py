"""One preprocessed run by the name of its image, with the files that belong to it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnet.bold.bids_files import (
    OUTPUT_ENTITIES,
    BoldName,
    PreprocessedRun,
    find_raw,
    inherited_files,
    parse_name,
    read_sidecars,
    stated_start_time,
    stated_t_r,
)
from fmnet.bold.bold_run import BoldRun
from fmnet.bold.derivatives import CONFOUNDS, MASKS
from fmnet.data.listing import Advice
from fmnet.errors import VolumeError

ADVICE = Advice(raw="state it with --t-r")


@dataclass(frozen=True)
class Stated:
    """What somebody says of a run, which overrules what lies beside it.

    Parameters
    ----------
    mask, confounds, events : Path or None
        The run's files.
    t_r : float or None
        Repetition time in seconds; overrules the image's header too.
    """

    mask: Path | None = None
    confounds: Path | None = None
    events: Path | None = None
    t_r: float | None = None


NOTHING = Stated()


def describe_run(
    image: Path, space: str, stated: Stated = NOTHING, raw: Path | None = None
) -> PreprocessedRun:
    """Find mask, sidecar, confounds and events of a run by fMRIPrep's naming.

    Parameters
    ----------
    image : Path
        4-D NIfTI file, ``sub-01_task-rest_space-NAME_desc-preproc_bold.nii.gz`` for instance; for
        another name, nothing is found.
    space : str
        The run's space, whatever the name says.
    stated : Stated
        What overrules the files that are found.
    raw : Path, optional
        The raw data set; by default looked for around the image's own.

    Raises
    ------
    VolumeError
        If a sidecar is damaged, or there are sidecars and none states a repetition time, unless
        the repetition time is stated here.
    """
    name, is_certain = parse_name(image), stated.t_r is not None
    if not name.get("sub"):
        bare = re.sub(r"\.nii(\.gz)?$", "", image.name, flags=re.IGNORECASE)
        bold = BoldRun(bare, bare, image, space, stated.mask, stated.t_r, is_certain)
        return PreprocessedRun(bold, "", "", "", stated.confounds, stated.events)
    roots = _roots(image, raw)
    try:
        sidecars = read_sidecars(name, roots)
    except VolumeError:
        if stated.t_r is None:
            raise
        sidecars = []
    t_r = stated.t_r
    if t_r is None:
        t_r = stated_t_r(name, sidecars, ADVICE)
    mask = stated.mask or _beside(name, name.stem(("desc",)), MASKS)
    events = (path for root in roots for path in inherited_files(root, name, "events.tsv"))
    return PreprocessedRun(
        BoldRun(name.run_id, name.participant_id, image, space, mask, t_r, is_certain),
        name.get("task"),
        name.get("ses"),
        name.get("run"),
        stated.confounds or _beside(name, name.stem(OUTPUT_ENTITIES), CONFOUNDS),
        stated.events or next(events, None),
        stated_start_time(name, sidecars),
    )


def _beside(image: BoldName, stem: str, endings: Sequence[str]) -> Path | None:
    found = (image.beside(f"{stem}_{ending}") for ending in endings)
    return next((path for path in found if path is not None), None)


def _roots(image: Path, raw: Path | None) -> list[Path]:
    """Name the folders from which files are inherited: the image's own, its data set, the raw one.

    An image may have been copied out of its data set, to where only its own folder is left.
    """
    own = image.absolute().parent
    people = [folder for folder in (own, *own.parents) if folder.name.startswith("sub-")]
    roots = [own, people[-1].parent] if people else [own]
    if raw is None and people:
        raw = find_raw(roots[-1])
    return roots if raw is None else [*roots, raw]
