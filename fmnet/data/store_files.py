"""Files of a store: they appear under their name only once they are whole and on disk."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.data.files import keep_draft, open_draft, why_not_written
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, StoreError

#: Bytes at the end of a stored array: the SHA-256 of all before.
DIGEST_BYTES = 32
PIECE_BYTES = 1 << 20


def read_stored(path: Path, shape: tuple[int, ...] | None = None) -> FloatArray | None:
    """Map stored values into memory; None if they aren't there, or not as they were written.

    Parameters
    ----------
    path : Path
        What `write_array` wrote.
    shape : tuple of int, optional
        What they have to have; float32 they have to be in any case.

    Raises
    ------
    StoreError
        If the store can't be read.
    """
    try:
        if not (path.is_file() and _is_as_written(path)):
            return None
        mapped: FloatArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        accepted, action = "a readable folder (store_dir)", "choose another store_dir"
        found = f"{error.strerror or error}"
        raise StoreError(Fault(str(path.parent), found, accepted, action)) from error
    return mapped if mapped.dtype == np.float32 and shape in {None, mapped.shape} else None


def _is_as_written(path: Path) -> bool:
    """Compare a file with the hash at its end; numpy reads no further than the values."""
    digest, left = hashlib.sha256(), path.stat().st_size - DIGEST_BYTES
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
            digest.update(piece)
            left -= len(piece)
        return left == 0 and file.read() == digest.digest()


def write_array(values: NDArray[Any], path: Path) -> None:
    """Write an array and, after it, the hash of all that is before, which `read_stored` compares.

    Raises
    ------
    StoreError
        If the disk is full or the folder can't be written.
    """
    # not by numpy's own writing to a file, which hides why the disk refused
    head, body = io.BytesIO(), np.ascontiguousarray(values)
    described = {"descr": body.dtype.str, "fortran_order": False, "shape": body.shape}
    np.lib.format.write_array_header_1_0(head, described)
    digest = hashlib.sha256(head.getbuffer())
    digest.update(body.data)
    with writing_store(path.parent, values.nbytes), open_draft(path.parent, path.name) as draft:
        draft.write(head.getbuffer())
        draft.write(body.data)
        draft.write(digest.digest())
        keep_draft(draft, path)


@contextmanager
def writing_store(folder: Path, n_bytes: int) -> Iterator[None]:
    """Make a store's folder and turn what the disk refuses into a `StoreError`.

    Parameters
    ----------
    folder : Path
        Of the store; made if it isn't there.
    n_bytes : int
        Bytes that will be written, for the message about a full disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        found = why_not_written(error, folder, n_bytes)
        accepted = "a writable folder with room for the store (store_dir)"
        action = "choose another store_dir"
        if found.startswith("a full disk"):
            action = (
                "free some room or set store_dir to another disk; what is stored so far stays valid"
            )
        raise StoreError(Fault(str(folder), found, accepted, action)) from error
