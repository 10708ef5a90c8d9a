"""Write files and folders that appear under their name only once they are whole and on disk.

Whatever ends the process, a name never stands for a part of a file or folder. Until it is whole,
what is written has a name of its own next to it, ``.NAME-....part``. Permissions are those that the
umask gives to any new file.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from fmnet.data.image_files import read_file
from fmnet.errors import Fault, VolumeError

#: What a file is written from; text as UTF-8, a callable is given the open file.
Content = bytes | memoryview | str | Callable[[IO[bytes]], object]
SEAL = "sha256"
#: Bytes of a JSON file of others'; the longest sidecars (of dcmstack) have a few million.
MAX_JSON_BYTES = 1 << 24
ACCEPTED_JSON = "a JSON object in UTF-8"


def write_atomically(path: Path, content: Content, is_synced: bool = True) -> None:
    """Write a file, in place of whatever has its name; its folder has to be there.

    A callable writes the content into the binary file that it is given. Without `is_synced` the
    file may be damaged when the power fails, and whoever reads it has to notice.

    Raises
    ------
    OSError
        If the disk is full or the folder can't be written; what was there is there still.
    """
    with open_draft(path.parent, path.name) as draft:
        if callable(content):
            content(draft)
        else:
            draft.write(encoded(content) if isinstance(content, str) else content)
        keep_draft(draft, path, is_synced)


def encoded(text: str) -> bytes:
    """Encode text as files hold it; bytes of file names that are no text stay what they are."""
    return text.encode("utf-8", "surrogateescape")


def draft_path(path: Path) -> Path:
    """Make up the name that a file or folder has until it is whole; no two processes share it."""
    return path.with_name(f".{path.name}-{uuid.uuid4().hex}.part")


@contextmanager
def open_draft(folder: Path, name: str = "draft") -> Iterator[IO[bytes]]:
    """Open a new file in a folder, gone after the block unless `keep_draft` gives it its name."""
    part = draft_path(folder / name)
    try:
        with part.open("x+b") as file:
            yield file
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def keep_draft(draft: IO[Any], path: Path, is_synced: bool = True) -> None:
    """Bring an open file to disk and give it its name, in place of whatever had it."""
    draft.flush()
    if is_synced:
        os.fsync(draft.fileno())
    Path(draft.name).replace(path)


@contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """Make an empty folder that is gone after the block unless `keep_folder` gives it its name.

    Nothing is done to `path`, where the folder will lie; the folders above it are made.
    """
    draft = draft_path(path)
    draft.mkdir(parents=True)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def keep_folder(draft: Path, path: Path) -> None:
    """Bring all that is in a folder to disk and give the folder its name, which has to be free.

    Raises
    ------
    OSError
        If there is a file or a folder that isn't empty under that name.
    """
    for file in draft.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    draft.replace(path)


def why_not_written(error: OSError, folder: Path, n_bytes: int | None = None) -> str:
    """Say why a file of so many bytes couldn't be written into a folder, for a `Fault`."""
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return error.strerror or str(error)
    free = shutil.disk_usage(folder).free if folder.exists() else 0
    needed = "" if n_bytes is None else f"{n_bytes / 1e6:.1f} MB to write, "
    return f"a full disk: {needed}{free / 1e6:.1f} MB free"


def read_json(path: Path, what: str = "a JSON file") -> dict[str, Any]:
    """Read a JSON object that somebody else wrote, `what` in messages; its numbers are all floats.

    Raises
    ------
    VolumeError
        If it is missing, no regular file, too large, damaged, or no object.
    """
    raw = read_file(path, MAX_JSON_BYTES, ACCEPTED_JSON)
    try:
        content = json.loads(raw.decode("utf-8-sig"), parse_int=float)
        if isinstance(content, dict):
            return content
        reason = f"a JSON {type(content).__name__}"
    except RecursionError:
        reason = "objects or lists inside one another, too deep"
    except ValueError as error:
        reason = str(error)
    found, action = f"{what} that can't be read ({reason})", "fetch or write the file again"
    raise VolumeError(Fault(str(path), found, ACCEPTED_JSON, action))


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """Add the hash of an object to it."""
    return {SEAL: _digest(content)} | content


def unseal(text: str | bytes, needs_seal: bool = True) -> dict[str, Any] | None:
    """Read a JSON object without its hash; None if it is damaged.

    Unless it `needs_seal`, an object without a hash, of before they were kept, is read too.
    """
    try:
        content = json.loads(text)
        if SEAL not in content and not needs_seal:
            return dict(content)
        is_whole = content.pop(SEAL) == _digest(content)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    return content if is_whole else None


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
