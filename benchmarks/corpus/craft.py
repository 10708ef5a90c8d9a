"""NIfTI files byte by byte: what no library would write, and what each of them writes."""

import gzip
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[Any]
#: Place and form of the fields of NIfTI-1 (Analyze has the first few of them, too).
NIFTI1: dict[str, tuple[int, str]] = {
    "sizeof_hdr": (0, "i"), "dim": (40, "8h"), "intent_p": (56, "3f"), "intent_code": (68, "h"),
    "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"), "vox_offset": (108, "f"),
    "slope": (112, "f"), "inter": (116, "f"), "xyzt_units": (123, "B"), "descrip": (148, "80s"),
    "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f"),
    "qoffset": (268, "3f"), "srow": (280, "12f"), "intent_name": (328, "16s"),
    "magic": (344, "4s"),
}  # fmt: skip
NIFTI2: dict[str, tuple[int, str]] = {
    "sizeof_hdr": (0, "i"), "magic": (4, "8s"), "datatype": (12, "h"), "bitpix": (14, "h"),
    "dim": (16, "8q"), "intent_p": (80, "3d"), "pixdim": (104, "8d"), "vox_offset": (168, "q"),
    "slope": (176, "d"), "inter": (184, "d"), "descrip": (240, "80s"), "qform_code": (344, "i"),
    "sform_code": (348, "i"), "quatern": (352, "3d"), "qoffset": (376, "3d"),
    "srow": (400, "12d"), "xyzt_units": (500, "i"), "intent_code": (504, "i"),
    "intent_name": (508, "16s"),
}  # fmt: skip
FIELDS = {1: NIFTI1, 2: NIFTI2}
HEADER_BYTES = {1: 348, 2: 540}
DATATYPES = {
    "u1": 2, "i2": 4, "i4": 8, "f4": 16, "c8": 32, "f8": 64, "i1": 256, "u2": 512, "u4": 768,
    "i8": 1024, "u8": 1280, "c16": 1792,
}  # fmt: skip
MICRON, MM, METER = 3, 2, 1


def nifti(
    values: Array,
    affine: Array,
    code: str = "f4",
    version: int = 1,
    order: Literal["<", ">"] = "<",
    extension: bytes = b"",
    qform: Array | None = None,
    pair: bool = False,
    t_r: float = 1.0,
    **fields: Any,
) -> bytes:
    """Write an image with any field altered; of a pair, header and voxels one after the other.

    Parameters
    ----------
    values : ndarray, shape (X, Y, Z) or (X, Y, Z, T)
        As they are to be read: they are divided by a stated ``slope``.
    affine : ndarray, shape (4, 4)
        For the sform and, unless `qform` is given, for the qform.
    code : str
        Type of the voxels, see `DATATYPES`.
    version : {1, 2}
        Of NIfTI.
    order : {"<", ">"}
        Byte order.
    extension : bytes
        Follows the four bytes that say whether there is one.
    qform : ndarray, shape (4, 4), optional
        Another geometry for the quaternion.
    pair : bool
        Whether the magic is that of a pair; split the result with `split_pair`.
    t_r : float
        Distance in time of the volumes, in the unit that ``xyzt_units`` says.
    **fields
        See `NIFTI1` and `NIFTI2`; they overrule everything else.
    """
    size = HEADER_BYTES[version]
    start = 0 if pair else size + 4 + len(extension)
    quaternion, edges = _quaternion(affine if qform is None else qform)
    offset = (affine if qform is None else qform)[:3, 3]
    known: dict[str, Any] = {
        "sizeof_hdr": size,
        "dim": [values.ndim, *values.shape, *[1] * (7 - values.ndim)],
        "datatype": DATATYPES[code],
        "bitpix": 8 * np.dtype(code).itemsize,
        "pixdim": [*edges, t_r, 1, 1, 1],
        "vox_offset": start,
        "slope": 1.0,
        "inter": 0.0,
        "xyzt_units": MM,
        "qform_code": 4,
        "sform_code": 4,
        "quatern": quaternion,
        "qoffset": offset,
        "srow": affine[:3].ravel(),
        "magic": _magic(version, pair),
    }
    given = known | fields
    header = bytearray(size)
    for name, value in given.items():
        put(header, name, value, version, order)
    raw = _raw(values, code, given, name_is_scaled="slope" in fields or "inter" in fields)
    voxels = raw.astype(np.dtype(code).newbyteorder(order)).tobytes(order="F")
    if pair:
        return bytes(header) + voxels
    flag = b"\1\0\0\0" if extension else b"\0\0\0\0"
    return bytes(header) + flag + extension + voxels


def put(header: bytearray, name: str, value: Any, version: int = 1, order: str = "<") -> None:
    """Set one field of a header."""
    place, form = FIELDS[version][name]
    several = list(value) if isinstance(value, Sequence | np.ndarray) and form[-1] != "s" else None
    struct.pack_into(order + form, header, place, *([value] if several is None else several))


def patch(content: bytes, version: int = 1, order: str = "<", **fields: Any) -> bytes:
    """Alter fields of a file that is there already."""
    altered = bytearray(content)
    for name, value in fields.items():
        put(altered, name, value, version, order)
    return bytes(altered)


def split_pair(content: bytes, stem: Path, version: int = 1, packed: bool = False) -> Path:
    """Write header and voxels as ``.hdr`` and ``.img``; returns the latter."""
    size = HEADER_BYTES[version]
    end = ".gz" if packed else ""
    pack = pack_gzip if packed else bytes
    header, image = Path(f"{stem}.hdr{end}"), Path(f"{stem}.img{end}")
    header.write_bytes(pack(content[:size]))
    image.write_bytes(pack(content[size:]))
    return image


def extension(code: int, content: bytes, claimed: int | None = None, order: str = "<") -> bytes:
    """Build one header extension, padded to 16 bytes, that may claim another size."""
    padded = content + b"\0" * (-(len(content) + 8) % 16)
    size = len(padded) + 8 if claimed is None else claimed
    return struct.pack(f"{order}ii", size, code) + padded


def pack_gzip(content: bytes, level: int = 1) -> bytes:
    """Compress, always to the same bytes."""
    return gzip.compress(content, level, mtime=0)


def bomb(start: bytes, n_bytes: int) -> bytes:
    """Build one gzip member of `start` and then zeros that take a thousandth of the room."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    out = io.BytesIO()
    out.write(b"\x1f\x8b\x08\0\0\0\0\0\2\xff")
    out.write(packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH))
    block = 1 << 20
    zeros = packer.compress(b"\0" * block) + packer.flush(zlib.Z_FULL_FLUSH)
    out.write(zeros * (n_bytes // block))
    out.write(packer.flush(zlib.Z_FINISH))
    # the check sum at the end is wrong: nobody should get that far
    out.write(struct.pack("<II", 0, (len(start) + n_bytes) & 0xFFFFFFFF))
    return out.getvalue()


def turn(values: Array, affine: Array, axes: str) -> tuple[Array, Array]:
    """Store a map, given in RAS+, along other axes: ``LAS``, ``PSR``, ...; its place stays."""
    signs = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    order = [signs[axis][0] for axis in axes]
    change = np.zeros((4, 4))
    change[3, 3] = 1
    turned = values.transpose(order)
    for new, axis in enumerate(axes):
        old, sign = signs[axis]
        change[old, new] = sign
        if sign < 0:
            turned = np.flip(turned, new)
            change[old, 3] = values.shape[old] - 1
    return np.ascontiguousarray(turned), affine @ change


def _magic(version: int, pair: bool) -> bytes:
    start = {1: b"ni1\0" if pair else b"n+1\0", 2: b"ni2\0" if pair else b"n+2\0"}[version]
    return start if version == 1 else start + b"\r\n\x1a\n"


def _raw(values: Array, code: str, given: dict[str, Any], name_is_scaled: bool) -> Array:
    slope, inter = float(given["slope"]), float(given["inter"])
    is_plain = not name_is_scaled or not np.isfinite([slope, inter]).all() or slope == 0
    raw = values if is_plain else (values - inter) / slope
    if code[0] in "iu":
        limits = np.iinfo(code)
        raw = np.clip(np.rint(np.nan_to_num(raw.astype(np.float64))), limits.min, limits.max)
    return raw


def _quaternion(affine: Array) -> tuple[Array, list[float]]:
    """Write the turn nearest to an affine as NIfTI's three numbers, and its pixdim 0 to 3."""
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / edges
    qfac = 1.0 if np.linalg.det(axes) > 0 else -1.0
    axes = axes * [1, 1, qfac]
    left, _, right = np.linalg.svd(axes)
    x, y, z, w = Rotation.from_matrix(left @ right).as_quat()
    return np.array([x, y, z]) * (1 if w >= 0 else -1), [qfac, *edges]
