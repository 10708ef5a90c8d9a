"""Files read from start to end in pieces: unpacked and hashed on the way, never whole in memory."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from fmnet.data.image_files import (
    GZIP_ERRORS,
    SPARE_BYTES,
    check_is_no_pointer,
    check_is_there,
    damaged,
    image_files,
    is_packed,
    unreadable,
)
from fmnet.errors import Fault, VolumeError

PIECE_BYTES = 1 << 20


class ByteStream:
    """The unpacked content of one file, in order.

    Parameters
    ----------
    path : Path
        For messages.
    unpacked : binary file
        What is read.
    packed : binary file
        What it is read from; equal to `unpacked` where nothing is packed.
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

        Parameters
        ----------
        doubt : str
            Why nothing more may come; empty if it may.

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
    digest = hashlib.sha256()
    buffer = bytearray(PIECE_BYTES)
    check_is_there(path, "a file")
    try:
        with path.open("rb", buffering=0) as file:
            while n := file.readinto(buffer):
                digest.update(memoryview(buffer)[:n])
    except OSError as error:
        raise unreadable(path, error) from error
    return digest.hexdigest()
