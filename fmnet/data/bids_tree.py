"""A folder in BIDS layout: which images lie in it, whose they are, and what their names say."""

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from fmnet.data.image_files import SUFFIXES
from fmnet.data.tables import normal_text
from fmnet.errors import Fault

#: Images that fmnet doesn't read, named where somebody has no others.
OTHER_FORMATS = (".gii", ".mgz", ".mgh", ".brik", ".brik.gz", ".mnc", ".nii.bz2", ".nii.zst")
#: Folders below one another, links within links, and folders and links met once more by another
#: way, which no data set has and a tree of links without end does.
MAX_DEPTH, MAX_LINKS, MAX_AGAIN = 64, 4, 5_000
#: Where BIDS keeps what a data set was made from: its people are no people of this one.
SOURCES = "sourcedata"
#: The name of a folder that states entities: ``sub-01``, ``sub-01_ses-1``, ``node-runLevel``.
FOLDER = re.compile(r"[A-Za-z]+-[^_.]+(_[A-Za-z]+-[^_.]+)*")
READABLE = "a folder that can be searched"


@dataclass(frozen=True)
class BidsName:
    """An image as its name, and the folders that it lies in, describe it.

    Parameters
    ----------
    path : Path
        Of the image; of a pair, of its ``.img``.
    entities : dict
        Keys in small letters, in the order of the name, then of the folders; a name wins over a
        folder.
    suffix, extension : str
        ``statmap`` and ``.nii.gz``, in small letters.
    folder_sub : str
        Whose folder it lies in, without ``sub-``; empty if in nobody's.
    """

    path: Path
    entities: dict[str, str]
    suffix: str
    extension: str
    folder_sub: str = ""

    @property
    def participant_id(self) -> str:
        """Whose it is, with ``sub-``; empty if nobody's."""
        sub = self.entities.get("sub", "")
        return f"sub-{sub}" if sub else ""


@dataclass(frozen=True)
class BidsTree:
    """What a search of a folder found.

    Parameters
    ----------
    root : Path
        The folder.
    images : tuple of BidsName
        All images that fmnet can read, by their names, also those that belong to nobody.
    others : tuple of BidsName
        Images of formats that it can't read.
    folders : tuple of str
        Everyone with a folder of their own, with ``sub-``, sorted.
    faults : tuple of Fault
        Folders that could not be searched.
    """

    root: Path
    images: tuple[BidsName, ...]
    others: tuple[BidsName, ...]
    folders: tuple[str, ...]
    faults: tuple[Fault, ...]

    @cached_property
    def people(self) -> dict[str, tuple[str, ...]]:
        """Everyone with a folder or an image, sorted, and the names of the images."""
        found: dict[str, list[str]] = {person: [] for person in self.folders}
        for image in (*self.images, *self.others):
            if image.participant_id:
                found.setdefault(image.participant_id, []).append(image.path.name)
        return {person: tuple(names) for person, names in sorted(found.items())}


def read_tree(root: Path, only_people: bool = False) -> BidsTree:
    """Search a folder and all folders in it, also linked ones, for images; open none of them.

    What begins with a dot is passed over: tools keep unfinished copies there.

    Parameters
    ----------
    root : Path
        The folder.
    only_people : bool
        Search `root` itself and the folders ``sub-*`` in it, no others.
    """
    images: list[BidsName] = []
    others: list[BidsName] = []
    faults: list[Fault] = []
    top = os.path.basename(os.path.realpath(root))
    people = {_person((top,))}
    known: set[tuple[str, str, str]] = set()
    for place, names, files in _walk(root, only_people, faults):
        is_source = SOURCES in place.parts
        if not is_source:
            people |= {_person((*place.parts, name)) for name in names if "sub" in _entities(name)}
        for path in _one_per_pair(files):
            image = describe(Path(path), (top, *place.parts))
            if image is None or (is_source and image.suffix != "statmap"):
                continue
            identity = (place.real, image.path.name, image.participant_id)
            if identity not in known:  # or else the same file by way of a link
                (images if image.extension in SUFFIXES else others).append(image)
            known.add(identity)
    return BidsTree(
        root,
        tuple(sorted(images, key=lambda name: str(name.path))),
        tuple(sorted(others, key=lambda name: str(name.path))),
        tuple(sorted(people - {""})),
        tuple(faults),
    )


class _Place(NamedTuple):
    """A folder by name and in truth, its place below root, and where links on the way lie."""

    path: str
    real: str
    parts: tuple[str, ...]
    links: tuple[str, ...]


def _walk(
    root: Path, only_people: bool, faults: list[Fault]
) -> Iterator[tuple[_Place, list[str], list[str]]]:
    """Go through all folders; give each with all names in it, and its files."""
    seen: set[str] = set()
    n_again = 0
    waiting = deque([_Place(str(root), os.path.realpath(root), (), ())])
    while waiting:
        place = waiting.pop()
        is_again = place.real in seen
        seen.add(place.real)
        try:
            with os.scandir(place.path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            faults.append(_unsearched(place, error.strerror or str(error)))
            continue
        n_again += is_again * (1 + sum(entry.is_symlink() for entry in entries))
        if n_again > MAX_AGAIN:
            found = f"links that lead to the same folders more than {MAX_AGAIN:,} times"
            action = "remove the links that lead in circles, or name a folder further down"
            faults[:] = [Fault(str(root), found, READABLE, action)]
            return
        files = []
        entries = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in entries:
            inside = _enter(place, entry)
            if inside is None:
                files.append(entry.path)
            elif entry.is_symlink() and _is_above(inside.real, inside.links):
                pass  # it leads in a circle: what it leads to is being searched
            elif len(inside.parts) > MAX_DEPTH or len(inside.links) > MAX_LINKS:
                found = f"folders more than {MAX_DEPTH} deep, or {MAX_LINKS} links in one another"
                faults.append(_unsearched(inside, found))
            elif not only_people or place.parts or "sub" in _entities(entry.name):
                # links last, so that a file is known by its own place
                (waiting.appendleft if entry.is_symlink() else waiting.append)(inside)
        yield place, [entry.name for entry in entries], files


def _enter(place: _Place, entry: os.DirEntry[str]) -> _Place | None:
    """Name the folder that an entry is or leads to; None of files."""
    try:
        if not entry.is_dir():
            return None
    except OSError:  # a link to itself
        return None
    parts = (*place.parts, entry.name)
    if not entry.is_symlink():
        return _Place(entry.path, os.path.join(place.real, entry.name), parts, place.links)
    return _Place(entry.path, os.path.realpath(entry.path), parts, (*place.links, place.real))


def describe(path: Path, folders: Iterable[str] = ()) -> BidsName | None:
    """Read what an image's name says, and the names of the folders it lies in; None of others."""
    lower = path.name.lower()
    endings = [end for end in (*SUFFIXES, *OTHER_FORMATS) if lower.endswith(end)]
    if not endings:
        return None
    extension = max(endings, key=len)
    *parts, suffix = path.name[: -len(extension)].split("_")
    entities = read_entities(parts)
    of_folders: dict[str, str] = {}
    for folder in folders:
        of_folders |= _entities(folder)
    folder_sub = of_folders.get("sub", "")
    return BidsName(path, {**of_folders, **entities}, suffix.lower(), extension, folder_sub)


def read_entities(parts: Iterable[str]) -> dict[str, str]:
    """Read the entities of a name that was split at its underscores, ``sub-01`` and so on."""
    pairs = (part.partition("-") for part in parts)
    return {
        key.lower(): normal_text(value) for key, _, value in pairs if key and normal_text(value)
    }


def _entities(folder: str) -> dict[str, str]:
    """Read the entities that a folder's name states; none of an ordinary name."""
    return read_entities(folder.split("_")) if FOLDER.fullmatch(folder) else {}


def _person(parts: Iterable[str]) -> str:
    """Name whose folder a place lies in; empty if in nobody's."""
    named = [found["sub"] for part in parts if "sub" in (found := _entities(part))]
    return f"sub-{named[-1]}" if named else ""


def _is_above(target: str, places: Iterable[str]) -> bool:
    inside = target.rstrip(os.sep) + os.sep
    return any(f"{place}{os.sep}".startswith(inside) for place in places)


def _one_per_pair(paths: list[str]) -> list[str]:
    """Leave out the header of each pair, ``.hdr``, whose ``.img`` is there too."""
    there = {path.lower() for path in paths}
    return [
        path
        for path in paths
        if not re.search(r"\.hdr(\.gz)?$", path.lower())
        or re.sub(r"\.hdr(\.gz)?$", r".img\1", path.lower()) not in there
    ]


def _unsearched(place: _Place, reason: str) -> Fault:
    found = f"a folder that can't be searched ({reason})"
    action = "ask its owner for permission, repair it, or move it out of the data set"
    return Fault(place.path, found, READABLE, action, _person(place.parts))
