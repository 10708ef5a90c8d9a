"""`ArrayStore`: arrays computed once from files, kept under the hash of all that they depend on.

A folder of a store may be shared by many runs and by other versions, and deleted at any time. Each
entry is a few ``.npy`` files with a JSON file next to them, written last, which holds the facts and
the hash of every array: whatever isn't as it was written counts as absent, and is made again.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fmnet.data.files import keep_draft, open_draft, seal, unseal, why_not_written, write_atomically
from fmnet.data.grid import Grid
from fmnet.data.image_files import SUFFIXES, hash_file, image_files
from fmnet.errors import Fault, StoreError, VolumeError

Item = TypeVar("Item")
Result = TypeVar("Result")
GivenItem = TypeVar("GivenItem", contravariant=True)
MadeResult = TypeVar("MadeResult", covariant=True)
Stamp = tuple[tuple[str, int, int, int, int], ...]

#: Part of every key: raise it when entries are written in another way.
STORE_FORMAT = "4"
#: What is remembered of source files. Versions before had an ``index.json``, which they keep.
INDEX_NAME, INDEX_FORMAT = "files.json", "3"
#: The file next to the arrays of an entry.
FACTS = ".json"
#: A file changed less than this before it was looked at may change again within the same tick of
#: its file system's clock (2 s on FAT), as git's index knows; its hash isn't taken on trust.
SETTLING_NS = 2_000_000_000


@dataclass(frozen=True)
class Source:
    """A file that was read: what the file system said of it, and the hash of its content.

    ``stamp`` has path, size in bytes, times of modification and of change in ns, and inode of each
    of the files that an image consists of; it is empty if one couldn't be asked for. Equal stamps,
    unchanged files. ``is_settled`` says whether all had been left alone for a while when it was
    taken.
    """

    stamp: Stamp
    is_settled: bool
    sha256: str = ""


@dataclass
class FileIndex:
    """What a store remembers of source files, by absolute path, so that it needn't read them again.

    It may be lost or damaged at any time and is then made anew. Several processes may write it: it
    is always whole, and what one of them didn't know of is read again by the next.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    is_changed: bool = False

    def find(self, path: Path, now: Source) -> str | None:
        """Look up the hash of a file that is, by its stamp, as it was when it was read."""
        known = self.sources.get(os.path.abspath(path))
        is_same = known is not None and known.is_settled and known.stamp == now.stamp
        return known.sha256 if known is not None and is_same else None

    def is_likely(self, path: Path, now: Source) -> bool:
        """Tell whether a single file may well be as it was, though only its hash can say so."""
        known = self.sources.get(os.path.abspath(path))
        if known is None or len(known.stamp) != 1:
            return False
        return [file[1] for file in known.stamp] == [file[1] for file in now.stamp]

    def add(self, path: Path, source: Source) -> None:
        """Remember a file, unless it changed while it was read."""
        if self.find(path, source) is None and take_stamp(path).stamp == source.stamp:
            self.sources[os.path.abspath(path)] = source
            self.is_changed = True


def take_stamp(path: Path) -> Source:
    """Ask the file system about a file or all files of an image; what isn't there never settles."""
    try:
        is_image = path.name.lower().endswith(SUFFIXES)
        files = list(image_files(path).values()) if is_image else [path]
        stats = [file.stat() for file in files]
    except (OSError, VolumeError):  # reading says what is wrong
        return Source((), False)
    newest = max(max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats)
    stamp = tuple(
        (os.path.abspath(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        for file, stat in zip(files, stats, strict=True)
    )
    return Source(stamp, newest < time.time_ns() - SETTLING_NS)


def read_index(folder: Path) -> FileIndex:
    """Read what a store remembers; nothing if that can't be used."""
    try:
        found = unseal((folder / INDEX_NAME).read_bytes())
        if found is None or found["format"] != INDEX_FORMAT:
            return FileIndex()
        return FileIndex(
            {
                path: Source(
                    tuple((str(name), *map(int, numbers)) for name, *numbers in stamp),  # type: ignore[misc]
                    bool(is_settled),
                    str(sha256),
                )
                for path, (stamp, is_settled, sha256) in found["sources"].items()
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return FileIndex()


def write_index(index: FileIndex, folder: Path) -> None:
    """Write what is new, with what others wrote meanwhile; a store that is read-only has none."""
    if not index.is_changed:
        return
    sources = {
        path: (one.stamp, one.is_settled, one.sha256)
        for path, one in (read_index(folder).sources | index.sources).items()
    }
    whole = json.dumps(seal({"format": INDEX_FORMAT, "sources": sources}))
    with suppress(StoreError), writing(folder, len(whole)):
        write_atomically(folder / INDEX_NAME, whole, is_synced=False)


@contextmanager
def writing(folder: Path, n_bytes: int) -> Iterator[None]:
    """Make a store's folder and turn what the disk refuses into a `StoreError`.

    `n_bytes` will be written, for the message about a full disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        found = why_not_written(error, folder, n_bytes)
        accepted = "a writable folder with room for the store (store_dir)"
        action = "choose another store_dir"
        if found.startswith("a full disk"):
            action = "free some room or set store_dir to another disk; what is stored stays valid"
        raise StoreError(Fault(str(folder), found, accepted, action)) from error


@dataclass(frozen=True, eq=False)
class Stored:
    """An entry of a store: its first array, the hashes of its files, and what its recipe says."""

    path: Path
    sources: tuple[str, ...]
    facts: dict[str, Any]

    def values(self) -> NDArray[Any]:
        """Map the first array into memory, read-only."""
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped


@dataclass(frozen=True)
class Entry:
    """Where an entry is looked for, computed and written.

    ``settings`` are all that the arrays depend on besides files.
    """

    folder: Path
    settings: tuple[str, ...]

    def path(self, hashes: Sequence[str]) -> Path:
        """Name the first array, for sources with these hashes."""
        parts = "|".join((STORE_FORMAT, *self.settings, *hashes))
        return self.folder / f"{hashlib.sha256(parts.encode()).hexdigest()}.npy"

    def find(self, hashes: Sequence[str]) -> Stored | None:
        """Find what is stored for sources with these hashes; None if it isn't as it was written.

        Raises
        ------
        StoreError
            If the store can't be read.
        """
        path = self.path(hashes)
        try:
            found = unseal(path.with_suffix(FACTS).read_bytes())
            if found is None:
                return None
            for suffix, (size, sha256) in found["arrays"].items():
                array = path.with_suffix(suffix)
                if array.stat().st_size != size or _hash(array) != sha256:
                    return None
            return Stored(path, tuple(found["sources"]), found["facts"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        except OSError as error:
            accepted, action = "a readable folder (store_dir)", "choose another store_dir"
            reason = f"{error.strerror or error}"
            raise StoreError(Fault(str(self.folder), reason, accepted, action)) from error

    @contextmanager
    def draft(self, n_bytes: int) -> Iterator[IO[bytes]]:
        """Open a file for an array that is written piece by piece, before its sources are known.

        `write` keeps it; without that it is gone after the block.
        """
        with writing(self.folder, n_bytes), open_draft(self.folder) as draft:
            yield draft

    def write(
        self,
        hashes: Sequence[str],
        arrays: Mapping[str, NDArray[Any] | IO[bytes]],
        facts: dict[str, Any],
    ) -> Stored:
        """Write arrays, or drafts of them, by suffix; the first one's is ``.npy``.

        Raises
        ------
        StoreError
            If the disk is full or the folder can't be written.
        """
        path, sizes = self.path(hashes), {}
        for suffix, array in arrays.items():
            file = path.with_suffix(suffix)
            with writing(self.folder, getattr(array, "nbytes", 0)):
                if isinstance(array, np.ndarray):
                    write_atomically(file, partial(_write_npy, np.ascontiguousarray(array)))
                else:
                    keep_draft(array, file)
                sizes[suffix] = (file.stat().st_size, _hash(file))
        content = {"arrays": sizes, "sources": list(hashes), "facts": facts}
        whole = json.dumps(seal(content), indent=1)
        with writing(self.folder, len(whole)):
            # small, sealed, and made again if lost: waiting for the disk would take longest
            write_atomically(path.with_suffix(FACTS), whole, is_synced=False)
        return Stored(path, tuple(hashes), facts)


def _write_npy(array: NDArray[Any], file: IO[bytes]) -> None:
    """Write ``.npy`` not by numpy's own writing to a file, which hides why the disk refused."""
    described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, described)
    file.write(array.data)


def _hash(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Job:
    """Work on one item; recipes hand it on to those that they build on.

    ``index`` is what is known of source files, and is added to.
    """

    folder: Path
    index: FileIndex

    def fetch(
        self,
        files: Sequence[Path | None],
        settings: Iterable[str],
        compute: Callable[[Entry], Stored],
    ) -> Stored:
        """Find an entry, or compute it.

        `files`, None for one that there isn't, and `settings`, the recipe's own name and format
        among them, are all that it depends on; unchanged files aren't read. `compute` reads the
        files, computes the arrays and writes the entry; where reading tells the hashes before there
        is much to compute, it may ask `Entry.find` first.
        """
        entry = Entry(self.folder, tuple(settings))
        now = [Source((), False) if file is None else take_stamp(file) for file in files]
        hashes = [self._hash(file, source) for file, source in zip(files, now, strict=True)]
        known = [sha256 for sha256 in hashes if sha256 is not None]
        stored = entry.find(known) if len(known) == len(hashes) else None
        stored = stored or compute(entry)
        for file, source, sha256 in zip(files, now, stored.sources, strict=True):
            if file is not None:
                self.index.add(file, Source(source.stamp, source.is_settled, sha256))
        return stored

    def _hash(self, file: Path | None, now: Source) -> str | None:
        if file is None:
            return ""
        found = self.index.find(file, now)
        return hash_file(file) if found is None and self.index.is_likely(file, now) else found


class Recipe(Protocol[GivenItem, MadeResult]):
    """How arrays are made from the files of an item: plain settings, and one method."""

    @property
    def grid(self) -> Grid | None:
        """Where values are put; None if they stay where they are."""

    def store(self, item: GivenItem, job: Job) -> MadeResult:
        """Fetch an item's entry, computed by this recipe if need be, and describe it.

        Raises
        ------
        VolumeError
            With every fault of the item's files.
        StoreError
            If the store can't be read or written.
        """


@dataclass(frozen=True, eq=False)
class ArrayStore(Generic[Item, Result]):
    """Arrays made by one recipe, each computed once.

    The folder is made when first written to; stores of several recipes may share one. The recipe is
    `fmnet.data.scans.MapsOnGrid`, or one of those of `fmnet.bold`.
    """

    folder: Path
    recipe: Recipe[Item, Result]

    @property
    def grid(self) -> Grid:
        """Where values are put."""
        if self.recipe.grid is None:
            raise ValueError("values that stay on grids of their own have no common one")
        return self.recipe.grid

    def add(self, item: Item) -> Result:
        """Store an item unless the same content is there already.

        Raises
        ------
        VolumeError
            With every fault of the item's files.
        """
        (outcome,) = self.add_all([item])
        if isinstance(outcome, VolumeError):
            raise outcome
        return outcome

    def add_all(self, items: Iterable[Item], n_jobs: int = 1) -> Iterator[Result | VolumeError]:
        """Store items, and remember their files so that unchanged ones aren't read next time.

        `n_jobs` threads unpack, hash and resample; results don't depend on it, and what it takes to
        make so many items is in memory at a time. What has not begun when the caller stops is not
        done.

        Yields
        ------
        Result or VolumeError
            One per item, in order: what is stored, or every fault of its files.

        Raises
        ------
        StoreError
            If the store can't be read or written.
        """
        index = read_index(self.folder)
        job = Job(self.folder, index)

        def outcome(item: Item) -> Result | VolumeError:
            try:
                return self.recipe.store(item, job)
            except VolumeError as error:
                return error

        try:
            if n_jobs == 1:
                yield from map(outcome, items)
            else:
                with ThreadPoolExecutor(n_jobs) as pool:
                    yield from pool.map(outcome, items)
        finally:
            write_index(index, self.folder)
