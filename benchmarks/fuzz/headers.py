"""Readers of images: single files, packed ones, pairs, masks and runs."""

import gzip
import io
import random
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from benchmarks.corpus.craft import FIELDS, nifti, pack_gzip, put, split_pair
from benchmarks.fuzz.target import Reader
from fmnet.bold.bold_file import BoldRun, check_run
from fmnet.data.grid import Grid
from fmnet.data.nifti import describe_grid, notes_on, read_raw, read_volume
from fmnet.data.resample import place_on_grid
from fmnet.data.values import check_values, inside_mask

#: Of all maps and runs: edges of voxels of 20 mm, so that a few of them are a head.
SHAPE = (7, 8, 9)
AFFINE = np.array([[20.0, 0, 0, -60], [0, 20, 0, -90], [0, 0, 20, -70], [0, 0, 0, 1]])
GRID = Grid(np.ones((5, 6, 7), dtype=bool), AFFINE * [[1.2], [1.2], [1.2], [1]], "MNI152")
#: Numbers that programs take for something else, or can't hold.
ODD_NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 348, 352, 540, 32767, -32768, 65535, 2**31 - 1,
    -(2**31), 2**63 - 1, 0.5, 1e-45, 1e38, 1e300, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip


def volume(n: int = 0) -> Any:
    """Make a map, (X, Y, Z), or `n` volumes of a run, (X, Y, Z, T)."""
    shape = (*SHAPE, n) if n else SHAPE
    return np.random.default_rng(n).normal(100 if n else 0, 1, shape).astype(np.float32)


def header_readers() -> list[Reader]:
    """List them."""
    data = volume()
    plain = [
        nifti(data, AFFINE),
        nifti(data, AFFINE, version=2),
        nifti(data, AFFINE, order=">"),
        nifti(data, AFFINE, code="i2", slope=2e-4, inter=1.5),
        nifti(data, AFFINE, code="u1", slope=0.06, inter=-7.5, sform_code=0),
        nifti(data, AFFINE, extension=b"\x20\0\0\0\6\0\0\0" + b"comment " * 3),
    ]
    pairs = [nifti(data, AFFINE, pair=True)[:348]]
    pairs.append(nifti(data, AFFINE, pair=True, magic=b"\0\0\0\0")[:348])  # Analyze
    runs = [nifti(volume(4), AFFINE, t_r=2.0, xyzt_units=10), nifti(volume(3), AFFINE, "i2")]
    mask = nifti((data > 0).astype(np.float32), AFFINE, code="u1")
    return [
        Reader(lambda folder: _map(folder / "map.nii"), "map.nii", plain),
        Reader(lambda folder: _map(folder / "map.nii.gz"), "map.nii.gz", [pack_gzip(plain[0])]),
        Reader(lambda folder: _map(folder / "map.img"), "map.hdr", pairs, _voxels),
        Reader(lambda folder: _map(folder / "map.hdr"), "map.mat", [b"", _mat()], _analyze),
        Reader(_mask, "mask.nii", [mask]),
        Reader(_run, "bold.nii", runs),
    ]


def _map(path: Path) -> None:
    raw = read_raw(path)
    found = read_volume(raw, "MNI152")
    describe_grid(raw)
    notes_on(path)
    check_values(found)
    place_on_grid(found, GRID)


def _mask(folder: Path) -> None:
    inside_mask(read_volume(folder / "mask.nii", "MNI152"))


def _run(folder: Path) -> None:
    with check_run(BoldRun("r", "sub-1", folder / "bold.nii", "MNI152"), False) as checked:
        for number, values in enumerate(checked.file.volumes()):
            if number == 0:
                checked.support(values)
        checked.finish()


def _voxels(folder: Path) -> None:
    split_pair(nifti(volume(), AFFINE, pair=True), folder / "map")


def _analyze(folder: Path) -> None:
    split_pair(nifti(volume(), AFFINE, pair=True, magic=b"\0\0\0\0"), folder / "map")


def _mat() -> bytes:
    """Write an affine as SPM does."""
    file = io.BytesIO()
    savemat(file, {"M": AFFINE, "mat": AFFINE})  # type: ignore[arg-type]
    return file.getvalue()


def alter_header(content: bytes, reader: Reader, chance: random.Random) -> bytes:
    """Set one field of a header, or one number of it, to an odd one; what is packed is unpacked."""
    is_packed = reader.name.endswith(".gz")
    if is_packed:
        with suppress(OSError, EOFError, zlib.error):
            content = gzip.decompress(content)
    altered = bytearray(content.ljust(348, b"\0"))
    version = 2 if len(altered) >= 540 and altered.startswith((b"\x1c\2", b"\0\0")) else 1
    order = ">" if altered[0] == 0 else "<"
    name, (place, form) = chance.choice(list(FIELDS[version].items()))
    value: Any = chance.choice(ODD_NUMBERS)
    if form.endswith("s"):
        value = bytes(chance.randrange(256) for _ in range(int(form[:-1])))
    elif len(form) > 1:
        value = list(struct.unpack_from(order + form, altered, place))
        value[chance.randrange(len(value))] = chance.choice(ODD_NUMBERS)
    with suppress(struct.error, OverflowError):  # what a field can't hold
        put(altered, name, value, version, order)
    return pack_gzip(bytes(altered)) if is_packed else bytes(altered)
