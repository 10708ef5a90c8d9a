"""The files of a bundle: which there are, what they may be, and whether they are as exported."""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from fmnet.errors import BundleError, Fault

SUMS = "SHA256SUMS"
#: Most bytes of a file, and of those that hold arrays.
MAX_BYTES = 4 * 2**20
MAX_BYTES_OF = {
    "model.onnx": 512 * 2**20,
    "model.pt2": 2 * 2**30,
    "preparation.safetensors": 512 * 2**20,
}
#: Most files of a bundle.
MAX_FILES = 100
#: What file managers and network drives leave in any folder; it is never read.
LITTER = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.nfs[0-9a-f]+")
#: What keeps an opening from waiting for who writes to a pipe, where there is such a thing.
O_MORE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def write_sums(folder: Path) -> None:
    """Write the hash of every file, in the form that ``sha256sum -c`` reads."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    lines = [f"{sha256_of(path)}  {path.name}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def check_sums(folder: Path) -> set[str]:
    """Check the hash of every file of a bundle, before any of them is read for what it says.

    Returns
    -------
    set of str
        The files that have a hash, each of them there and as it was when it was exported.

    Raises
    ------
    BundleError
        Naming every file that is missing, altered, without a hash, no regular file (links lead out
        of the folder) or larger than those of bundles.
    """
    try:
        text = read_bounded(folder / SUMS, MAX_BYTES).decode("utf-8")
        there = _list_files(folder)
    except (OSError, ValueError) as error:
        raise refuse(folder, f"no readable {SUMS} ({error})") from error
    expected: dict[str, str] = {}
    faults = [f"{SUMS} that is a link"] if (folder / SUMS).is_symlink() else []
    lines = text.removesuffix("\n").split("\n")
    if "\r" in text:  # by an editor or by Git, which have then changed other files as well
        raise refuse(folder, f"{SUMS} with line ends of Windows, as no export writes them")
    if len(lines) > MAX_FILES:
        raise refuse(folder, f"{SUMS} of more than {MAX_FILES} lines")
    for line in lines:
        match = LINE.fullmatch(line)
        if match is None or match[2] in expected:
            faults.append(f"{SUMS} with a line that is no hash, or a file's second ({line:.99})")
        else:
            expected[match[2]] = match[1]
    for name, digest in sorted(expected.items()):
        faults += _file_faults(folder, name, digest)
    faults += [f"{name} without a hash" for name in sorted(there - expected.keys() - {SUMS})]
    if faults:
        raise refuse(folder, ", ".join(faults))
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
    return BundleError(
        Fault(
            str(folder),
            found,
            "a bundle folder exactly as scripts/export.py wrote it",
            "copy it again from its source, or export again",
        )
    )


def _list_files(folder: Path) -> set[str]:
    names = set[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(names) > MAX_FILES:
                raise ValueError(f"more than {MAX_FILES} files beside it")
            if not LITTER.fullmatch(entry.name):
                names.add(entry.name)
    return names


def _file_faults(folder: Path, name: str, digest: str) -> Iterable[str]:
    path = folder / name
    if Path(name).name != name or not os.path.lexists(path):
        return [f"{name:.99} missing"]
    if path.is_symlink():
        return [f"{name} that is a link"]
    try:
        altered = sha256_of(path, MAX_BYTES_OF.get(name, MAX_BYTES)) != digest
    except OSError as error:
        return [f"{name} that can't be read ({error.strerror or error})"]
    return [f"{name} altered since export"] if altered else []


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
