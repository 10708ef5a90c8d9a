"""Find statistic maps in a BIDS-derivatives tree (fMRIPrep, fitlins, nilearn and SPM exports)."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd

from fmnet.data.advice import SETTINGS, Advice
from fmnet.data.choices import check_label_column, choose_contrasts
from fmnet.data.listing import Listing, OnFault, build_listing
from fmnet.data.scans import MapTable
from fmnet.data.tables import read_table_file
from fmnet.errors import CohortError, Fault

SYNTHETIC_MARK = "fmnet synthetic cohort"
PATTERNS = ("sub-*_statmap.nii", "sub-*_statmap.nii.gz")
#: Entities that tell one scan of a person from another.
SCAN_ENTITIES = ("ses", "task", "acq", "dir", "run")


def read_bids(
    root: str | Path,
    contrasts: list[str] | None = None,
    stat: str | None = None,
    space: str | None = None,
    task: str | None = None,
    desc: str | None = None,
    participants: str | Path | None = None,
    label: str = "group",
    positive: str | int = "FM",
    negative: str | int | None = "HC",
    on_fault: OnFault = "raise",
) -> Listing:
    """List the statistic maps of a BIDS-derivatives tree.

    Parameters
    ----------
    root : Path
        The derivatives folder; files are ``sub-*/[ses-*/][func/]*_contrast-<c>_stat-<s>_statmap``.
    contrasts : list of str, optional
        Contrasts that become the channels, in this order; may be left out where there is only one.
    stat, space, task, desc : str, optional
        Which maps to read where there are several kinds; `stat` defaults to ``z`` if present.
    participants : Path, optional
        Table of people; else ``participants.tsv`` in `root` or up to two folders above.
    label, positive, negative
        Column to predict and its two values; `negative` may be None where there are only two.
    on_fault : {"raise", "exclude"}
        Stop at faults, all of them in one report, or go on without the people concerned.

    Returns
    -------
    Listing
        Everything found, and every fault.

    Raises
    ------
    CohortError
        If there is no tree, no map or no participants table to begin with.
    """
    check_label_column(label, ("participant_id",))
    root = Path(root)
    maps = find_maps(root, contrasts, stat, space, task, desc)
    table = Path(participants) if participants else find_participants(root)
    people = read_table_file(table, ("participant_id", label))
    return build_listing(maps, people, label, positive, negative, on_fault)


def find_maps(
    root: Path,
    contrasts: list[str] | None = None,
    stat: str | None = None,
    space: str | None = None,
    task: str | None = None,
    desc: str | None = None,
    preferred_space: str | None = None,
    advice: Advice = SETTINGS,
) -> MapTable:
    """Find the maps of a BIDS-derivatives tree and choose contrasts and statistic.

    Of a map that is there in several spaces, the one in `preferred_space` is taken.
    """
    _check_folder(root, advice)
    found = (path for pattern in PATTERNS for path in root.rglob(pattern))
    files = sorted(path for path in found if not _is_hidden(path.relative_to(root)))
    if not files:
        raise _no_maps(root, advice)
    rows = pd.DataFrame([_describe(path) for path in files])
    everyone = tuple(sorted(set(rows["participant_id"])))
    for entity, wanted in (("space", space), ("task", task), ("desc", desc)):
        rows = _keep(rows, entity, wanted, root, getattr(advice, entity))
    stat = stat or _default_stat(rows, root, advice)
    rows = _keep(rows, "stat", stat, root, advice.stat)
    names = sorted(set(rows["contrast"]))
    if contrasts is None and len(names) > 1:
        raise _fault(
            root,
            f"contrasts {', '.join(names)}",
            "one contrast, or a choice",
            advice.channels,
        )
    chosen = choose_contrasts(contrasts, names, root, advice)
    rows = rows[rows["contrast"].isin(chosen)]
    rows = _prefer(rows, preferred_space)
    _check_one_space(rows, root, advice)
    return MapTable(rows.reset_index(drop=True), chosen, stat, tree_origin(root), everyone=everyone)


def _check_folder(root: Path, advice: Advice) -> None:
    accepted = "a BIDS-derivatives folder"
    try:
        is_folder = root.is_dir()
    except OSError as error:
        found = error.strerror or str(error)
        action = f"{advice.root}, or the permissions of the folders above it"
        raise _fault(root, found, accepted, action) from error
    if not is_folder:
        raise _fault(root, "no such folder", accepted, advice.root)


def _describe(path: Path) -> dict[str, str]:
    """Read a map's entities from its name; repeated scans of a person get ids of their own."""
    # As nilearn's parse_bids_filename; importing that takes longer than scoring a folder of maps.
    pairs = (part.split("-") for part in path.name.split("_")[:-1])
    entities = {pair[0]: pair[1] for pair in pairs if len(pair) > 1}
    parts = [f"{key}-{entities[key]}" for key in ("sub", *SCAN_ENTITIES) if key in entities]
    return {
        "participant_id": f"sub-{entities['sub']}",
        "scan_id": "_".join(parts),
        "contrast": entities.get("contrast", "map"),
        "stat": entities.get("stat", "n/a"),
        "space": entities.get("space", "MNI152"),
        "task": entities.get("task", ""),
        "desc": entities.get("desc", ""),
        "path": str(path),
    }


def _keep(
    rows: pd.DataFrame, entity: str, wanted: str | None, root: Path, action: str
) -> pd.DataFrame:
    if wanted is None:
        return rows
    kept = rows[rows[entity] == wanted]
    if kept.empty:
        found = ", ".join(f"{value} ({n})" for value, n in Counter(rows[entity]).items())
        raise _fault(root, f"no map with {entity} '{wanted}'", found, action)
    return kept


def _is_hidden(path: Path) -> bool:
    """Tell what tools keep for themselves: unfinished copies, ``.git``, ``.heudiconv``."""
    return any(part.startswith(".") for part in path.parts)


def _prefer(rows: pd.DataFrame, space: str | None) -> pd.DataFrame:
    """Of each map that is there in several spaces, this one among them, keep this one."""
    wanted = rows["space"] == space
    has_wanted = wanted.groupby([rows["scan_id"], rows["contrast"]]).transform("any")
    return rows[wanted | ~has_wanted]


def _check_one_space(rows: pd.DataFrame, root: Path, advice: Advice) -> None:
    """Refuse a tree that holds the same map in several spaces, of which none was chosen."""
    if (rows.groupby(["scan_id", "contrast"])["space"].nunique() > 1).any():
        found = ", ".join(f"'{space}' ({n})" for space, n in sorted(Counter(rows["space"]).items()))
        raise _fault(root, f"the same maps in several spaces: {found}", "one space", advice.space)


def _default_stat(rows: pd.DataFrame, root: Path, advice: Advice) -> str:
    stats = sorted(set(rows["stat"]))
    if len(stats) > 1 and "z" not in stats:
        raise _fault(root, f"statistics {', '.join(stats)}", "one", advice.stat)
    return "z" if "z" in stats else stats[0]


def find_participants(root: Path) -> Path:
    """Find ``participants.tsv`` in a tree or up to two folders above; raise `CohortError`."""
    places = [folder / "participants.tsv" for folder in (root, *root.resolve().parents[:2])]
    for place in places:
        if place.exists() or place.is_symlink():
            return place
    looked = ", ".join(str(place) for place in places)
    raise _fault(
        root,
        f"no participants.tsv (looked for {looked})",
        "a table with participant_id and the label column",
        "put it there or name it: cohort.participants=FILE",
    )


def tree_origin(root: Path) -> str:
    """Tell a tree of fmnet's own making, ``synthetic``, from others, an empty text."""
    description = root / "dataset_description.json"
    try:
        name = json.loads(description.read_text(encoding="utf-8")).get("Name", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return "synthetic" if name == SYNTHETIC_MARK else ""


def _no_maps(root: Path, advice: Advice) -> CohortError:
    others = sorted(root.rglob("sub-*.nii*"))
    found = f"no '*_statmap.nii.gz' among {len(others)} images"
    if any("_bold.nii" in path.name or "_T1w.nii" in path.name for path in others):
        action = (
            "this is raw or preprocessed data: run a first-level model (nilearn, fitlins, SPM, "
            "FSL) and give its maps"
        )
    else:
        action = advice.naming
    if others and all(path.is_symlink() and not path.exists() for path in others):
        found += ", all of them DataLad pointers without content"
        action += "; fetch contents with 'datalad get'"
    accepted = "sub-*/func/sub-*_contrast-<name>_stat-<z|t|effect>_statmap.nii.gz"
    return _fault(root, found, accepted, action)


def _fault(root: Path, found: str, accepted: str, action: str) -> CohortError:
    return CohortError(Fault(str(root), found, accepted, action))
