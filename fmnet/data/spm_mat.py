"""SPM's ``.mat`` files, which say where the voxels of an Analyze image lie.

SciPy reads them, too, but a damaged one may end its process. So the few that SPM writes are read
here: numbers of any type, plain or compressed, in MATLAB's formats 4 and 5.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Matrices = dict[str, NDArray[np.float64]]
#: Names that SPM gives to affines; whatever else a file holds is passed over.
NAMES = ("mat", "M")
#: Types of numbers by their codes in format 4 and in the elements of format 5.
TYPES_4 = ("f8", "f4", "i4", "i2", "u2", "u1")
TYPES_5 = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
#: Elements that hold a matrix, and one that is compressed; classes of matrices of numbers.
MATRIX, COMPRESSED, CLASSES = 14, 15, range(6, 16)
#: Where a file of format 5 begins, and how it says which byte comes first.
START_5, ORDERS = 128, {b"IM": "<", b"MI": ">"}
#: Most bytes that a compressed matrix may have.
MAX_BYTES = 1 << 16


def read_matrices(content: bytes) -> Matrices:
    """Read the affines of a file, by name.

    Several, of several volumes, are (4, 4, N).

    Raises
    ------
    ValueError
        If there is none, or the file is damaged or of another format; in words for the end of a
        sentence.
    """
    try:
        is_5 = content[126:128] in ORDERS and 0 not in content[:4]
        found = _read_5(content) if is_5 else _read_4(content)
        matrices = {name: values for name, values in found if name in NAMES}
    except (struct.error, zlib.error) as error:
        raise ValueError(f"a .mat file that ends early or is damaged: {error}") from error
    if not matrices:
        raise ValueError(f"a .mat file without {' or '.join(NAMES)}")
    for name, values in matrices.items():
        if values.shape[:2] != (4, 4) or not np.isfinite(values).all():
            raise ValueError(f"a .mat file whose {name} is no affine, but {values.shape}")
    return matrices


def write_matrices(matrices: Matrices) -> bytes:
    """Write the first affine under each name in format 4."""
    content = b""
    for name, values in matrices.items():
        header = struct.pack("<5i", 0, 4, 4, 0, len(name) + 1)
        first = values.reshape(4, 4, -1)[..., 0]
        content += header + name.encode() + b"\0" + first.astype("<f8").tobytes(order="F")
    return content


def _read_4(content: bytes) -> Iterator[tuple[str, NDArray[np.float64]]]:
    at = 0
    while at < len(content):
        order = "<" if struct.unpack_from("<i", content, at)[0] in range(1000) else ">"
        kind, *shape, is_complex, length = struct.unpack_from(f"{order}5i", content, at)
        is_big, code = kind // 1000 == 1, kind // 10 % 10
        if kind not in range(2000) or kind // 100 % 10 or code >= len(TYPES_4) or min(shape) < 0:
            raise ValueError("no .mat file of MATLAB's formats 4 or 5")
        at += 20
        name = content[at : at + max(length, 0)].split(b"\0")[0].decode("latin-1")
        at += max(length, 0)
        number = np.dtype(f"{'>' if is_big else '<'}{TYPES_4[code]}")
        n_bytes = shape[0] * shape[1] * number.itemsize
        if name in NAMES:
            if kind % 10 or is_complex:
                raise ValueError(f"a .mat file whose {name} is no matrix of real numbers")
            yield name, _numbers(content[at : at + n_bytes], number, shape)
        at += n_bytes * (2 if is_complex else 1)


def _read_5(content: bytes) -> Iterator[tuple[str, NDArray[np.float64]]]:
    order = ORDERS[content[126:128]]
    for code, data in _elements(content[START_5:], order):
        if code == COMPRESSED:
            unpacked = zlib.decompressobj().decompress(data, MAX_BYTES)
            inner = [held for kind, held in _elements(unpacked, order) if kind == MATRIX]
        else:
            inner = [data] if code == MATRIX else []
        for matrix in inner:
            yield from _matrix(matrix, order)


def _matrix(content: bytes, order: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Read one matrix: its flags, its shape, its name and its numbers, each an element."""
    parts = list(_elements(content, order))
    if len(parts) < 3:
        raise ValueError("a .mat file with a matrix that lacks its name")
    (_, flags), (_, sizes), (_, letters), *numbers = parts
    name = letters.decode("latin-1")
    if name not in NAMES:
        return
    (kind,) = struct.unpack_from(f"{order}I", flags)
    if kind & 0xFF not in CLASSES or kind & 0x800 or len(numbers) != 1:
        raise ValueError(f"a .mat file whose {name} is no matrix of real numbers")
    code, data = numbers[0]
    if code not in TYPES_5:
        raise ValueError(f"a .mat file whose {name} holds no numbers")
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
    yield name, _numbers(data, np.dtype(f"{order}{TYPES_5[code]}"), list(shape))


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the data of each element; small ones hold theirs in their tag."""
    at = 0
    while at + 8 <= len(content):
        code, n_bytes = struct.unpack_from(f"{order}II", content, at)
        start, step = at + 8, 8 + n_bytes
        if code >> 16:
            code, n_bytes, start, step = code & 0xFFFF, code >> 16, at + 4, 8
        if start + n_bytes > len(content):
            raise ValueError("a .mat file that ends early")
        yield code, content[start : start + n_bytes]
        at += step if code == COMPRESSED else -(-step // 8) * 8


def _numbers(data: bytes, kind: "np.dtype[np.generic]", shape: list[int]) -> NDArray[np.float64]:
    n_bytes = kind.itemsize
    for size in shape:
        n_bytes *= size
    if min(shape, default=0) < 1 or n_bytes != len(data):
        raise ValueError(f"a .mat file with {len(data)} bytes for a matrix of shape {shape}")
    return np.frombuffer(data, kind).reshape(shape, order="F").astype(np.float64)
