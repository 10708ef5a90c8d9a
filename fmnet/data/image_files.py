"""The files that an image consists of: which they are, and what they hold, whole or as a stream."""

import errno
import hashlib
import io
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from fmnet.errors import Fault, VolumeError

ACCEPTED = "a 3-D NIfTI-1, NIfTI-2 or Analyze map (.nii, .nii.gz, .img/.hdr)"
SUFFIXES = (".nii", ".nii.gz", ".img", ".hdr", ".img.gz", ".hdr.gz")
#: What is found where DataLad has not fetched a file yet.
POINTER = "a DataLad (git-annex) pointer without content"
#: What isal raises for a damaged file; its stub takes `IsalError` for an instance.
GZIP_ERRORS: tuple[type[Exception], ...] = (
    EOFError,
    OSError,
    ValueError,
    struct.error,
    igzip_lib.IsalError,  # type: ignore[assignment]
)
#: What a path may lead to besides a file, and what to do then.
KINDS = {
    stat.S_IFDIR: ("a folder", "give the file inside it"),
    stat.S_IFIFO: ("a pipe (FIFO)", "write its content to a file and give that"),
    stat.S_IFSOCK: ("a socket", "give a file"),
    stat.S_IFCHR: ("a device", "give a file"),
    stat.S_IFBLK: ("a device", "give a file"),
}
#: NIfTI-2's header, the longest, the mark of extensions and the size of the first one.
HEADER_BYTES = 552
#: Bytes of a file in which its header is looked for; gzip may put a name before it.
START_BYTES = 1 << 18
#: What a file may hold beyond what its header claims: padding, or what gzip adds.
SPARE_BYTES = 1 << 20
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class RawImage:
    """An image as it lies on disk, read once for all that is made from it.

    ``parts`` holds each of its files and what it holds, by role: ``image`` and, of a pair,
    ``header``, ``mat``.
    """

    path: Path
    parts: dict[str, tuple[Path, bytes]]

    @property
    def name(self) -> str:
        """Name of the file without its folder."""
        return self.path.name

    @property
    def sha256(self) -> str:
        """Hash of the files' bytes, one after the other."""
        digest = hashlib.sha256()
        for _, content in self.parts.values():
            digest.update(content)
        return digest.hexdigest()


def image_files(path: Path) -> dict[str, Path]:
    """Name the file, or the two or three files, that make up the image at `path`.

    Raises
    ------
    VolumeError
        If one of them is missing, can't be opened or is a DataLad pointer.
    """
    ends = [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    if not ends:
        action = "convert the map to NIfTI"
        raise VolumeError(Fault(str(path), f"a file named '{path.name}'", ACCEPTED, action))
    suffix = max(ends, key=len)
    stem = str(path)[: -len(suffix)]

    def companion(ending: str) -> Path:
        """Name another file of the pair, in small letters or, if there is only that, capitals."""
        names = [f"{stem}{ending}", f"{stem}{ending.upper()}"]
        return Path(next(filter(os.path.lexists, names), names[0]))

    if suffix.startswith(".nii"):
        files = {"image": path}
    else:
        gz = ".gz" if suffix.endswith(".gz") else ""
        files = {"image": companion(f".img{gz}"), "header": companion(f".hdr{gz}")}
        files["image" if suffix.startswith(".img") else "header"] = path
        # not `is_file`: one that was not fetched says how x runs, and can't be passed over
        if os.path.lexists(orientation := companion(".mat")):
            files["mat"] = orientation
    for file in files.values():
        check_is_there(file)
    return files


def check_is_there(path: Path, accepted: str = ACCEPTED) -> None:
    """Raise `VolumeError` unless a path leads to a file with content; call it before opening one.

    Links are followed. Pipes and devices are never opened: reading one would wait, or go on, for
    ever. `accepted` is what the file should be, for messages.

    Raises
    ------
    VolumeError
        If nothing is there, or a folder, a pipe, a socket, a device, an empty file, a DataLad link
        without content, or a name that no file can have; or if a folder above may not be read.
    """
    try:
        status = path.stat()
    except PermissionError as error:  # of a folder above
        raise unreadable(path, error) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte, say
        raise _no_file(path, error, accepted) from error
    if not stat.S_ISREG(status.st_mode):
        found, action = KINDS.get(stat.S_IFMT(status.st_mode), ("no regular file", "give a file"))
        raise VolumeError(Fault(str(path), found, accepted, action))
    if not status.st_size:  # so do the files of the kernel say, some of which are waited for
        action = "fetch or write the file again"
        raise VolumeError(Fault(str(path), "an empty file", accepted, action))


def _no_file(path: Path, error: Exception, accepted: str) -> VolumeError:
    """Describe a path that leads to nothing."""
    where, number = str(path), getattr(error, "errno", errno.EINVAL)
    found, action = "no such file", "correct the path or fetch the file"
    if number == errno.ENAMETOOLONG:
        where = f"{where[:60]}...{where[-60:]}"
        longest = max(len(os.fsencode(part)) for part in path.parts)
        found = f"a path of {len(os.fsencode(path))} bytes, {longest} of them in one name"
        accepted = "what file systems take, most often 4095 bytes, and 255 in one name"
        action = "move or rename the file"
    elif number == errno.ENOENT and path.is_symlink() and "annex" in os.readlink(path):
        return _pointer(path)
    elif number not in {errno.ENOENT, errno.ENOTDIR}:
        found = f"no file ({getattr(error, 'strerror', None) or error})"
    return VolumeError(Fault(where, found, accepted, action))


def _pointer(path: Path) -> VolumeError:
    action = f"run 'datalad get {path.name}' in its folder"
    return VolumeError(Fault(str(path), POINTER, "the image itself", action))


def unreadable(path: Path, error: OSError) -> VolumeError:
    """Describe a file that can't be opened or read: no permission, or a failing disk."""
    found, action = error.strerror or str(error), "check the disk"
    if isinstance(error, PermissionError):
        found = "a file that this account may not read"
        action = "ask its owner for read permission (chmod +r)"
    return VolumeError(Fault(str(path), found, "a readable file", action))


def read_file(path: Path, most: int | None = None, accepted: str = ACCEPTED) -> bytes:
    """Read a regular file of at most `most` bytes, `accepted` in messages; a larger one isn't read.

    Raises
    ------
    VolumeError
        If that fails.
    """
    check_is_there(path, accepted)
    try:
        if most is not None and (size := path.stat().st_size) > most:
            if accepted == ACCEPTED:
                raise too_long(path, f"{size} bytes", most)
            accepted += f", of at most {most} bytes"
            raise VolumeError(Fault(str(path), f"{size} bytes", accepted, "write the file again"))
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def read_start(path: Path) -> bytes:
    """Read as much of a file as the longest header takes, unpacked; `VolumeError` if that fails."""
    check_is_there(path)
    try:
        with path.open("rb") as file:
            raw = file.read(START_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    return unpack_start(path, raw)


def unpack_start(path: Path, raw: bytes) -> bytes:
    """Unpack as much of a file's content as the longest header takes."""
    check_is_no_pointer(path, raw)
    raw = raw[:START_BYTES]
    if not is_packed(path):
        return raw[:HEADER_BYTES]
    try:
        return bytes(igzip.IGzipFile(fileobj=io.BytesIO(raw)).read(HEADER_BYTES))
    except GZIP_ERRORS as error:
        raise damaged(path, error) from error


def unpack(path: Path, raw: bytes, most: int) -> bytes:
    """Unpack the content of a file, of which `most` bytes are expected.

    Raises
    ------
    VolumeError
        If it is damaged, or unpacks to far more.
    """
    check_is_no_pointer(path, raw)
    if not is_packed(path):
        return raw
    most += SPARE_BYTES
    try:
        content = bytes(igzip.IGzipFile(fileobj=io.BytesIO(raw)).read(most + 1))
    except GZIP_ERRORS as error:
        raise damaged(path, error) from error
    if len(content) > most:
        raise too_long(path, f"more than {most} bytes, unpacked", most)
    return content


def is_packed(path: Path) -> bool:
    """Tell from its name whether a file is packed with gzip."""
    return path.name.lower().endswith(".gz")


def too_long(path: Path, found: str, most: int) -> VolumeError:
    """Describe a file that goes on far beyond what its header claims."""
    accepted = f"at most {most} here: what the header claims, and some padding"
    return VolumeError(Fault(str(path), found, accepted, "write the image again"))


def check_is_no_pointer(path: Path, raw: bytes) -> None:
    """Raise `VolumeError` if a file holds the name of the image in DataLad instead of the image."""
    if len(raw) < 500 and b"/annex/objects/" in raw:
        raise _pointer(path)


def damaged(path: Path, error: Exception) -> VolumeError:
    """Describe a file that ends early or holds what it shouldn't."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    found, action = f"a damaged or truncated file ({reason})", "fetch or write the file again"
    return VolumeError(Fault(str(path), found, ACCEPTED, action))


class ByteStream:
    """The unpacked content of one file, in order.

    It is read from `unpacked`, which reads `packed`; they are the same where nothing is packed.
    """

    def __init__(self, path: Path, unpacked: Any, packed: "_HashedFile") -> None:
        self.path = path
        self._unpacked = unpacked
        self._packed = packed

    def read(self, n: int) -> bytes:
        """Read the next `n` bytes, or what is left of them."""
        try:
            return bytes(self._unpacked.read(n))
        except GZIP_ERRORS as error:
            raise damaged(self.path, error) from error

    def skip(self, n: int) -> None:
        """Pass over `n` bytes."""
        while n > 0 and (piece := self.read(min(n, PIECE_BYTES))):
            n -= len(piece)

    def fill(self, buffer: NDArray[Any]) -> None:
        """Fill an array of one axis; raise `VolumeError` if the file ends before."""
        view = buffer.view(np.uint8).data
        done = 0
        try:
            while done < len(view) and (n := self._unpacked.readinto(view[done:])):
                done += n
        except GZIP_ERRORS as error:
            raise damaged(self.path, error) from error
        if done < len(view):
            raise damaged(self.path, EOFError(f"{len(view) - done} bytes short of a volume"))

    def finish(self, doubt: str = "") -> str:
        """Read to the end, where gzip keeps its checksum, and return the SHA-256 of the file.

        `doubt` says why nothing more may come; empty if it may.

        Raises
        ------
        VolumeError
            If the file is damaged, or goes on for more than `SPARE_BYTES`.
        """
        left = 0
        while piece := self.read(PIECE_BYTES):
            left += len(piece)
            if doubt:
                raise damaged(self.path, ValueError(doubt))
            if left > SPARE_BYTES:
                action = "write the run again"
                found = f"more than {SPARE_BYTES} bytes behind the last volume"
                raise VolumeError(Fault(str(self.path), found, "none, or padding", action))
        while self._packed.read(PIECE_BYTES):
            pass
        return self._packed.digest.hexdigest()


class _HashedFile(io.RawIOBase):
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        n: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self.digest.update(memoryview(buffer)[:n])
        return n


@contextmanager
def open_stream(path: Path) -> Iterator[ByteStream]:
    """Open a ``.nii`` or ``.nii.gz`` file for reading from start to end.

    Raises
    ------
    VolumeError
        If it is missing, a folder, a DataLad pointer, damaged, or may not be read.
    """
    image_files(path)
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        check_is_no_pointer(path, file.read(500))
        file.seek(0)
        packed = _HashedFile(file)
        unpacked = igzip.IGzipFile(fileobj=packed) if is_packed(path) else packed
        yield ByteStream(path, unpacked, packed)


def hash_file(path: Path) -> str:
    """Hash a file's bytes as they lie on disk: SHA-256; raise `VolumeError` if that fails."""
    check_is_there(path, "a file")
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
