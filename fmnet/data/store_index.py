"""What a store remembers of the files it has read, so that unchanged ones needn't be read again."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fmnet.data.files import write_atomically
from fmnet.data.image_files import image_files
from fmnet.data.self_hashed import seal, unseal
from fmnet.data.store_files import writing_store
from fmnet.data.threads import map_in_threads
from fmnet.errors import StoreError, VolumeError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Raise it when what is remembered changes its meaning; others are forgotten.
INDEX_FORMAT = "2"
INDEX_NAME = "index.json"
#: A file changed less than this before it was looked at may change again within the same tick of
#: its file system's clock (2 s on FAT), as git's index knows; its hash isn't taken on trust.
SETTLING_NS = 2_000_000_000


@dataclass(frozen=True)
class Stamp:
    """What the file system says of the files of an image: equal stamps, unchanged files.

    Parameters
    ----------
    files : tuple of tuple
        Path, size in bytes, times of modification and of change in ns, and inode of each.
    is_settled : bool
        Whether all had been left alone for a while when the stamp was taken.
    """

    files: tuple[tuple[str, int, int, int, int], ...]
    is_settled: bool

    @property
    def sizes(self) -> list[int]:
        """Bytes in each file."""
        return [file[1] for file in self.files]


@dataclass(frozen=True)
class Source:
    """An image file and what was found in it: its hash, how it is written, and what its values are.

    The last is the statistic by its header, see `fmnet.data.statistic.header_stat`.
    """

    stamp: Stamp
    sha256: str
    file_grid: str = ""
    stat: str = ""


@dataclass(frozen=True)
class Facts:
    """A stored file, by size in bytes and time of modification in ns, and what is known of it."""

    size: int
    mtime_ns: int
    known: dict[str, Any]


@dataclass
class StoreIndex:
    """Sources by absolute path, and stored files by name.

    It may be lost or damaged at any time and is then made anew. Several processes may write it: it
    is always whole, and what one of them didn't know of is read again by the next.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    stored: dict[str, Facts] = field(default_factory=dict)
    is_changed: bool = False

    def find_source(self, path: Path, stamp: Stamp) -> Source | None:
        """Look up a file that is as it was when it was read."""
        source = self.sources.get(os.path.abspath(path))
        if source is None or not source.stamp.is_settled or source.stamp.files != stamp.files:
            return None
        return source

    def is_likely(self, path: Path, stamp: Stamp) -> bool:
        """Tell whether a file may well be as it was, though only its hash can say so."""
        source = self.sources.get(os.path.abspath(path))
        return source is not None and source.stamp.sizes == stamp.sizes

    def find_stored(self, path: Path) -> dict[str, Any] | None:
        """Look up what is known of a stored file; None if it isn't as it was written."""
        facts = self.stored.get(path.name)
        if facts is None or _stat_stored(path) != (facts.size, facts.mtime_ns):
            return None
        return facts.known

    def add_source(self, path: Path, source: Source) -> None:
        """Remember a file, unless it changed while it was read."""
        if self.find_source(path, source.stamp) is not None:
            return
        if take_stamp(Path(name) for name, *_ in source.stamp.files).files == source.stamp.files:
            self.sources[os.path.abspath(path)] = source
            self.is_changed = True

    def add_stored(self, path: Path, known: dict[str, Any]) -> None:
        """Remember what is known of a stored file."""
        if self.find_stored(path) is None and (found := _stat_stored(path)):
            self.stored[path.name] = Facts(*found, known)
            self.is_changed = True


def take_stamp(files: Iterable[Path]) -> Stamp:
    """Ask the file system about files; what can't be asked counts as never settled."""
    rows = []
    newest = 0
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            return Stamp((), False)
        rows.append(
            (os.path.abspath(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        )
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
    return Stamp(tuple(rows), newest < time.time_ns() - SETTLING_NS)


def stamp_image(path: Path) -> Stamp:
    """Take the stamp of all files of an image."""
    try:
        return take_stamp(image_files(path).values())
    except VolumeError:  # reading says what is wrong
        return Stamp((), False)


def add_each(
    add: Callable[[Item, StoreIndex], Result], items: Iterable[Item], folder: Path, n_jobs: int
) -> Iterator[Result | VolumeError]:
    """Add items to the store in a folder, with its index; yield stored ones or what is wrong.

    Parameters
    ----------
    add : callable
        Of one item and the index, which it may look up and add to.
    items : iterable
        Scans or runs.
    folder : Path
        Of the store.
    n_jobs : int
        Threads; results don't depend on it, and come in the order of the items.
    """
    index = read_index(folder)

    def outcome(item: Item) -> Result | VolumeError:
        try:
            return add(item, index)
        except VolumeError as error:
            return error

    try:
        yield from map_in_threads(outcome, items, n_jobs)
    finally:
        write_index(index, folder)


def read_index(folder: Path) -> StoreIndex:
    """Read the index of a store; empty if there is none that can be used."""
    try:
        path = folder / INDEX_NAME
        found = unseal(path.read_bytes()) if path.is_file() else None
        if found is None or found["format"] != INDEX_FORMAT:
            return StoreIndex()
        sources = {path: _source(**source) for path, source in found["sources"].items()}
        return StoreIndex(sources, {name: Facts(**one) for name, one in found["stored"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return StoreIndex()


def write_index(index: StoreIndex, folder: Path) -> None:
    """Write an index, with what others wrote meanwhile; a store that can't be written has none."""
    if not index.is_changed:
        return
    known = read_index(folder)
    stored = {
        name: facts
        for name, facts in (known.stored | index.stored).items()
        if (folder / name).exists()
    }
    sources = {path: asdict(one) for path, one in (known.sources | index.sources).items()}
    content = {
        "format": INDEX_FORMAT,
        "sources": sources,
        "stored": {name: asdict(facts) for name, facts in stored.items()},
    }
    whole = json.dumps(seal(content)).encode()
    with suppress(StoreError), writing_store(folder, len(whole)):
        write_atomically(folder / INDEX_NAME, whole)


def _stat_stored(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _source(stamp: dict[str, Any], sha256: str, file_grid: str, stat: str) -> Source:
    files = tuple((str(name), *map(int, numbers)) for name, *numbers in stamp["files"])
    settled = bool(stamp["is_settled"])
    return Source(Stamp(files, settled), sha256, file_grid, stat)  # type: ignore[arg-type]
