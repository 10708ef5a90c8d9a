"""The files of a bundle: which there are, whether they are as exported, and what their fields hold.

They lie side by side, but for those of `FOLDERS`, which hold no others. Nothing of a file is
believed before its hash is compared, no file is read beyond what bundles have, and every field of a
JSON file is checked before anything relies on it. ``docs/bundles.md`` describes each file.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnet.data.volume import MNI_SPACES
from fmnet.errors import BundleError, Fault

CHECKSUMS = "SHA256SUMS"
#: Who signs a bundle signs the file above; this one has no hash, and not every bundle has it.
SEAL = f"{CHECKSUMS}.sig"
#: Files that bundles of earlier versions hadn't, and others may lack: read only where they have a
#: hash. Scores of people out of fold; what new scans are measured against; scans of training.
UNSEEN, GATES, GATE_ARRAYS = "unseen.json", "gates.json", "gates.safetensors"
TRAINING_SCANS = "training_scans.json"
OPTIONAL = (UNSEEN, GATES, GATE_ARRAYS, TRAINING_SCANS)
#: Most bytes of a file, and of those that hold arrays.
MAX_BYTES = 4 * 2**20
MAX_BYTES_OF = {
    "model.onnx": 512 * 2**20,
    "model.pt2": 2 * 2**30,
    "preparation.safetensors": 512 * 2**20,
    GATE_ARRAYS: 512 * 2**20,
}
#: The maps and tables that say which regions carry the signature, and what MONAI reads.
SIGNATURE, CONFIGS = "signature", "configs"


@dataclass(frozen=True)
class Room:
    """What a folder of a bundle holds at most: files, bytes of a file, bytes of all of them."""

    n_files: int
    file_bytes: int
    all_bytes: int


#: The folders of a bundle.
FOLDERS = {
    SIGNATURE: Room(300, 16 * 2**20, 256 * 2**20),
    CONFIGS: Room(10, 2**20, 4 * 2**20),
}
#: Most files of a bundle beside these, and most hashes.
MAX_FILES = 100
MAX_LINES = MAX_FILES + sum(room.n_files for room in FOLDERS.values())
#: What file managers and network drives leave in any folder; it is never read.
LITTER = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.nfs[0-9a-f]+")
#: What keeps an opening from waiting for who writes to a pipe, where there is such a thing.
O_MORE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def write_hashes(folder: Path) -> None:
    """Write the hash of every file, in the form that ``sha256sum -c`` reads."""
    files = [path for path in folder.iterdir() if path.name not in {CHECKSUMS, SEAL, *FOLDERS}]
    files += [path for name in FOLDERS for path in (folder / name).glob("*")]
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines), "utf-8")


def check_hashes(folder: Path) -> set[str]:
    """Check the hash of every file of a bundle, before any of them is read for what it says.

    Returned are the files that have a hash, each of them there and as it was when it was exported.

    Raises
    ------
    BundleError
        Naming every file that is missing, altered, without a hash, no regular file (links lead out
        of the folder) or larger than those of bundles.
    """
    try:
        text = read_bounded(folder / CHECKSUMS, MAX_BYTES).decode("utf-8")
        there = _list_files(folder)
    except (OSError, ValueError) as error:
        raise refuse(folder, f"no readable {CHECKSUMS} ({error})") from error
    expected: dict[str, str] = {}
    own = (CHECKSUMS, SEAL)
    faults = [f"{name} that is a link" for name in own if (folder / name).is_symlink()]
    lines = text.removesuffix("\n").split("\n")
    if "\r" in text:  # by an editor or by Git, which have then changed other files as well
        raise refuse(folder, f"{CHECKSUMS} with line ends of Windows, as no export writes them")
    if len(lines) > MAX_LINES:
        raise refuse(folder, f"{CHECKSUMS} of more than {MAX_LINES} lines")
    for line in lines:
        match = LINE.fullmatch(line)
        if match is None or match[2] in expected:
            faults.append(
                f"{CHECKSUMS} with a line that is no hash, or a file's second ({line:.99})"
            )
        else:
            expected[match[2]] = match[1]
    faults += filter(None, (_file_fault(folder, *one) for one in sorted(expected.items())))
    faults += [f"{name} without a hash" for name in sorted(there - expected.keys() - {*own})]
    if faults:
        raise refuse(folder, ", ".join(dict.fromkeys(faults)))
    return set(expected)


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most so many bytes; for a pipe nobody waits.

    Raises
    ------
    OSError
        If it can't be opened, is something else, or is larger.
    """
    return b"".join(_chunks(path, limit))


def refuse(folder: Path, found: str) -> BundleError:
    """Say what is wrong with the files of a bundle."""
    accepted = "a bundle folder exactly as fmnet export wrote it"
    action = "copy it again from its source, or export again"
    return BundleError(Fault(str(folder), found, accepted, action))


def _list_files(folder: Path) -> set[str]:
    """Name what lies in a bundle; a folder stands for itself unless it is one with files."""
    names = set[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(names) > MAX_FILES:
                raise ValueError(f"more than {MAX_FILES} files beside it")
            if not LITTER.fullmatch(entry.name):
                names.add(entry.name)
    for name in FOLDERS.keys() & names:
        within = set() if (folder / name).is_symlink() else _list_within(folder, name)
        names = names - {name} | within if within else names
    return names


def _list_within(folder: Path, own: str) -> set[str]:
    """Name what lies in a folder of a bundle; empty for what is no folder, or has no files."""
    names, n_bytes, room = set[str](), 0, FOLDERS[own]
    try:
        entries = os.scandir(folder / own)
    except NotADirectoryError:
        return names
    with entries:
        for entry in entries:
            n_bytes += entry.stat(follow_symlinks=False).st_size
            if len(names) > room.n_files or n_bytes > room.all_bytes:
                most = f"{room.n_files} files or {room.all_bytes >> 20} MiB"
                raise ValueError(f"more than {most} in {own}/")
            if not LITTER.fullmatch(entry.name):
                names.add(f"{own}/{entry.name}")
    return names


def _file_fault(folder: Path, name: str, digest: str) -> str:
    own, _, within = name.partition("/")
    room = FOLDERS.get(own) if within else None
    plain, path = within if room else name, folder / name
    is_name = Path(plain).name == plain and plain != ".."
    if not is_name or name in {CHECKSUMS, SEAL} or not os.path.lexists(path):
        return f"{name:.99} missing"
    is_behind_link = room is not None and path.parent.is_symlink()
    if path.is_symlink() or is_behind_link:
        return f"{own if is_behind_link else name} that is a link"
    limit = room.file_bytes if room else MAX_BYTES_OF.get(name, MAX_BYTES)
    try:
        is_altered = sha256_of(path, limit) != digest
    except OSError as error:
        return f"{name} that can't be read ({error.strerror or error})"
    return f"{name} altered since export" if is_altered else ""


def sha256_of(path: Path, limit: int = 2**63) -> str:
    """Hash a regular file of at most so many bytes; see `read_bounded`."""
    whole = hashlib.sha256()
    for chunk in _chunks(path, limit):
        whole.update(chunk)
    return whole.hexdigest()


def _chunks(path: Path, limit: int) -> Iterator[bytes]:
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | O_MORE)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path.name} is no regular file")
        if found.st_size > limit:
            raise OSError(f"{path.name} has {found.st_size:,} bytes, more than {limit:,}")
        left = limit
        while chunk := file.read(min(2**20, left + 1)):
            left -= len(chunk)
            if left < 0:  # it has grown meanwhile
                raise OSError(f"{path.name} has more than {limit:,} bytes")
            yield chunk


#: Longest text, and largest whole number: nothing that is counted comes to more.
MAX_LENGTH, MAX_COUNT = 2000, 10**9


@dataclass(frozen=True)
class Kind:
    """What a field may hold, in words and as a test, and whether files may be without it."""

    words: str
    accepts: Callable[[Any], bool]
    is_optional: bool = False


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # JSON's whole numbers may be of any length
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def is_interval(value: Any, accepts: Callable[[Any], bool]) -> bool:
    """Tell whether a value is a list of two that are accepted, in ascending order."""
    is_pair = isinstance(value, list) and len(value) == 2 and all(map(accepts, value))
    return is_pair and bool(value[0] <= value[1])


def list_of(kind: Kind, may_be_empty: bool = False) -> Kind:
    """Make the kind of a list that holds one kind."""

    def accepts(value: Any) -> bool:
        is_filled = isinstance(value, list) and (bool(value) or may_be_empty)
        return is_filled and all(map(kind.accepts, value))

    return Kind(f"a list, each {kind.words}", accepts)


def one_of(values: Sequence[str]) -> Kind:
    """Make the kind of a text that is one of a few."""
    words = f"one of {', '.join(values)}"
    return Kind(words, lambda value: isinstance(value, str) and value in values)


def optional(kind: Kind) -> Kind:
    """Make the kind of a field that may be null, or missing where its place is there."""
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.accepts(value), True)


TEXT = Kind(
    f"a text of up to {MAX_LENGTH} characters",
    lambda value: isinstance(value, str) and len(value) <= MAX_LENGTH,
)
NUMBER = Kind("a finite number", is_number)
NON_NEGATIVE = Kind("a number from 0", lambda value: is_number(value) and value >= 0)
POSITIVE = Kind("a number above 0", lambda value: is_number(value) and value > 0)
FRACTION = Kind("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
COUNT_OR_NONE = Kind(
    "a whole number from 0", lambda value: type(value) is int and 0 <= value <= MAX_COUNT
)
COUNT = Kind("a whole number from 1", lambda value: type(value) is int and 0 < value <= MAX_COUNT)
SPACE = Kind("an MNI152 space", lambda value: isinstance(value, str) and value in MNI_SPACES)


def read_fields(path: Path, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Read a JSON file and check the fields that matter; a dot leads into a field.

    Raises
    ------
    BundleError
        If the file can't be read, naming every field that is missing or wrong.
    """
    try:
        text = read_bounded(path, MAX_BYTES).decode("utf-8")
        content = json.loads(text, object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise _unlike(path, f"a part that can't be read ({error})") from error
    if faults := [text for name, kind in kinds.items() if (text := _fault(content, name, kind))]:
        raise _unlike(path, ", ".join(faults))
    read: dict[str, Any] = content
    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says something twice, of which readers take one or the other."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two values of '{twice:.99}'")
    return content


def _fault(content: Any, name: str, kind: Kind) -> str:
    value = content
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            is_fine = kind.is_optional and isinstance(value, dict)
            return "" if is_fine else f"no '{name}'"
        value = value[key]
    return "" if kind.accepts(value) else f"'{name}' that is not {kind.words}"


def _unlike(path: Path, found: str) -> BundleError:
    accepted = "the file exactly as fmnet wrote it"
    action = "copy the folder again from its source, or export again"
    return BundleError(Fault(str(path), found, accepted, action))
