"""What the names of new maps say (BIDS entities), and whether it fits the signature."""

import os
from collections.abc import Sequence
from pathlib import Path

from fmnet.data.bids import read_entities
from fmnet.data.image_files import SUFFIXES
from fmnet.data.values import UNSAID_STAT, same_stat
from fmnet.data.volume import check_space
from fmnet.errors import Fault, VolumeError

#: Where a bundle doesn't know its contrast (or its statistic), names can't contradict it.
UNSAID_CONTRASTS = ("map",)
#: Some MNI152 space, not said which.
UNSAID_SPACE = "MNI152"


def stated(files: Sequence[Path], entity: str) -> list[str]:
    """Read an entity (``contrast``, ``stat``, ``space``) off each name; empty where unsaid."""
    stems = [file.name[: -len(_ending(file)) or None] for file in files]
    return [read_entities(stem.split("_")).get(entity, "") for stem in stems]


def _ending(file: Path) -> str:
    name = file.name.lower()
    return max((end for end in SUFFIXES if name.endswith(end)), key=len, default="")


def split_names(source: str, accepted: str, has_volumes: bool = False) -> tuple[Path, ...]:
    """Split names at commas, unless it is one file whose name holds some.

    SPM's ``con_0001.nii,1``, the first volume of a file, is the file.

    Parameters
    ----------
    source : str
        The argument.
    accepted : str
        What it may be, for messages.
    has_volumes : bool
        Whether files hold several volumes, so that one of them is not the file.

    Raises
    ------
    VolumeError
        If there is nothing between two commas, a later volume is meant, or a name leads nowhere.
    """
    if os.path.lexists(source):
        return (Path(source),)
    names: list[str] = []
    for name in (part.strip() for part in source.split(",")):
        if name == "":
            wanted, action = (
                "names of files, each after the other's comma",
                "remove the extra comma",
            )
            where = source if source.strip() else f"the argument '{source}'"
            raise VolumeError(Fault(where, "an empty name between commas", wanted, action))
        if name.isdecimal() and names and _ending(Path(names[-1])) and not os.path.lexists(name):
            if int(name) != 1 or has_volumes:
                found = f"volume {name} of a file ({names[-1]},{name})"
                action = "write that volume into a file of its own, or give the file's name alone"
                raise VolumeError(Fault(source, found, accepted, action))
            continue
        names.append(name)
    for name in names:
        if not _ending(Path(name)) and not os.path.lexists(name):
            found = "no such file or folder" if name == source else f"no such file ('{name}')"
            raise VolumeError(Fault(source, found, accepted, "correct the path"))
    return tuple(map(Path, names))


def in_order(files: tuple[Path, ...], contrasts: tuple[str, ...], name: str) -> tuple[Path, ...]:
    """Put the maps of a scan in the signature's order of contrasts, as far as names say.

    Raises
    ------
    VolumeError
        If names state other contrasts, one of them twice, or only some and not in this order.
    """
    found = stated(files, "contrast")
    if contrasts == UNSAID_CONTRASTS or len(files) != len(contrasts):
        return files
    if sorted(found) == sorted(contrasts):
        return tuple(files[found.index(contrast)] for contrast in contrasts)
    if all(said in {"", wanted} for said, wanted in zip(found, contrasts, strict=True)):
        return files
    raise VolumeError(
        Fault(
            name,
            f"maps of contrast {', '.join(said or '(not said)' for said in found)}",
            ", ".join(contrasts),
            "give one map of each; if names differ from the signature's, list the maps in a table "
            "with a contrast column",
        )
    )


def check_contrasts(files: tuple[Path, ...], contrasts: tuple[str, ...], name: str) -> None:
    """Raise `VolumeError` if a map's name states another of the signature's contrasts.

    For maps whose contrast somebody stated: names that the signature doesn't know are passed over.
    """
    for file, said, wanted in zip(files, stated(files, "contrast"), contrasts, strict=True):
        if said != wanted and said in contrasts:
            found = f"a map for contrast '{wanted}' whose name says '{said}' ({file})"
            action = "correct the table or the name"
            raise VolumeError(Fault(name, found, "one contrast", action))


def check_stat(files: tuple[Path, ...], stat: str, name: str) -> None:
    """Raise `VolumeError` if a map's name states another statistic than the signature's."""
    for file, said in zip(files, stated(files, "stat"), strict=True):
        if said and stat != UNSAID_STAT and not same_stat(said, stat):
            found = f"a map whose name says statistic '{said}' ({file})"
            action = "give that statistic's maps, which the signature was trained on"
            raise VolumeError(Fault(name, found, f"'{stat}'", action))


def stated_space(files: tuple[Path, ...], name: str) -> str:
    """Read the space of a scan off the names of its maps; empty if none says it.

    Raises
    ------
    VolumeError
        If they state several spaces, or one that is not MNI152.
    """
    spaces = sorted({space for space in stated(files, "space") if space})
    for space in spaces:
        check_space(space, name)
    if len(spaces) > 1:
        found = f"maps in several spaces: {', '.join(map(repr, spaces))}"
        action = "give all maps in the same space; if the names are wrong, state it with --space"
        raise VolumeError(Fault(name, found, "one space", action))
    return spaces[0] if spaces else ""


def check_same_space(space: str, wanted: str, name: str) -> None:
    """Raise `VolumeError` unless a scan's space is the signature's, or one isn't said."""
    check_space(space, name)
    if UNSAID_SPACE not in {space, wanted} and space != wanted:
        action = "give images normalised to that template, or correct the space stated for them"
        raise VolumeError(Fault(name, f"space '{space}'", f"'{wanted}'", action))
