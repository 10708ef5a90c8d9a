"""Headers: units, geometry, offsets, extensions, dimensions, intents, and what holds the file."""
# mypy doesn't infer lambdas that hold on to a loop's value by a default.
# mypy: disable-error-code="misc"

import bz2
import gzip
import itertools
import lzma
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from benchmarks.corpus.answers import ANY, EITHER, NO_SCORE, REFUSED, RIGHT, Answers
from benchmarks.corpus.case import NAME, Case, Materials
from benchmarks.corpus.craft import (
    METER,
    MICRON,
    MM,
    Array,
    bomb,
    extension,
    nifti,
    pack_gzip,
    split_pair,
    turn,
)

Bytes = Callable[[Materials], bytes]


def header_cases() -> list[Case]:
    """List every case that is about what surrounds the values."""
    parts = (
        _units, _codes, _disagreeing, _quaternions, _sforms, _orientations, _resliced, _offsets,
        _extensions, _dims, _types_and_magic, _truncated, _gzip, _sparse, _pairs, _intents,
    )  # fmt: skip
    return [case for part in parts for case in part()]


def file_case(
    kind: str, name: str, content: Bytes, right: Answers = RIGHT, end: str = ".nii", **more: Any
) -> Case:
    """Build a case of one file, named as fully as BIDS asks for."""

    def make(materials: Materials, folder: Path) -> Path:
        path = folder / f"sub-09_{NAME}{end}"
        path.write_bytes(content(materials))
        return path

    return Case(kind, name, make, right, **more)


def map_case(kind: str, name: str, right: Answers = RIGHT, **fields: Any) -> Case:
    """Build a case of the map with fields of its header altered."""
    end = ".nii"
    return file_case(kind, name, lambda m: nifti(m.data, m.affine, **fields), right, end)


def geometry_case(
    kind: str,
    name: str,
    right: Answers,
    change: Callable[[Array], dict[str, Any]],
    more: dict[str, Any] | None = None,
) -> Case:
    """Build a case in which ``change(affine)`` says how `nifti` is called."""

    def content(materials: Materials) -> bytes:
        arguments = {"affine": materials.affine} | change(materials.affine) | (more or {})
        return nifti(materials.data, **arguments)

    return file_case(kind, name, content, right)


def _scaled(affine: Array, factor: float) -> Array:
    return np.diag([factor, factor, factor, 1.0]) @ affine


def _units() -> Iterable[Case]:
    kind = "units"
    layouts = list(itertools.product((1, 2), ("<", ">")))
    for (version, order), (unit, code, factor) in itertools.product(
        layouts, (("micron", MICRON, 1e3), ("meter", METER, 1e-3), ("unknown", 0, 1.0))
    ):
        yield geometry_case(
            kind, f"{unit}, NIfTI-{version}, {order}", RIGHT,
            lambda a, f=factor: {"affine": _scaled(a, f)},
            {"xyzt_units": code, "version": version, "order": order},
        )  # fmt: skip
    for unit, code, factor in (
        ("micron, but mm inside", MICRON, 1), ("meter, but mm inside", METER, 1),
        ("mm, but micron inside", MM, 1e3), ("mm, but meter inside", MM, 1e-3),
        ("unknown, but micron inside", 0, 1e3), ("unknown, but meter inside", 0, 1e-3),
        ("mm, voxels of 1e30", MM, 1e30), ("mm, voxels of 1e-30", MM, 1e-30),
    ):  # fmt: skip
        yield geometry_case(
            kind, unit, REFUSED, lambda a, f=factor: {"affine": _scaled(a, f)}, {"xyzt_units": code}
        )
    for code in (4, 5, 6, 7):
        yield map_case(kind, f"spatial code {code}, undefined", EITHER, xyzt_units=code)
    for code in (MM | 8, MM | 16, MM | 24, MM | 32, MM | 40):
        yield map_case(kind, f"temporal code in xyzt_units {code}", RIGHT, xyzt_units=code)
    for code in (MM | 56, MM | 64, MM | 128, 255):
        yield map_case(kind, f"garbage in xyzt_units {code}", EITHER, xyzt_units=code)
    yield geometry_case(
        kind, "micron, qform alone", RIGHT, lambda a: {"affine": _scaled(a, 1e3)},
        {"xyzt_units": MICRON, "sform_code": 0},
    )  # fmt: skip
    yield geometry_case(
        kind, "micron, sform in micron and pixdim in mm", EITHER,
        lambda a: {"affine": _scaled(a, 1e3), "qform": a}, {"xyzt_units": MICRON},
    )  # fmt: skip


def _codes() -> Iterable[Case]:
    kind = "codes"
    for sform, qform in itertools.product(range(5), repeat=2):
        right = RIGHT if sform or qform else REFUSED
        yield map_case(
            kind, f"sform {sform}, qform {qform}", right, sform_code=sform, qform_code=qform
        )
    for sform, qform in ((5, 5), (5, 0), (0, 5), (-1, 0), (0, -1), (99, 99), (-32768, 32767)):
        yield map_case(
            kind,
            f"sform {sform}, qform {qform}, undefined",
            EITHER,
            sform_code=sform,
            qform_code=qform,
        )
    yield map_case(kind, "no codes, NIfTI-2", REFUSED, version=2, sform_code=0, qform_code=0)


def _about_centre(affine: Array, turned: Array) -> Array:
    """Turn an affine about the world's origin."""
    whole = np.eye(4)
    whole[:3, :3] = turned
    return whole @ affine


def _disagreeing() -> Iterable[Case]:
    """List headers whose two forms say different things."""
    kind = "disagreeing"
    turns = {
        **{
            f"turned 180 about {a}": Rotation.from_euler(a, 180, degrees=True).as_matrix()
            for a in "xyz"
        },
        **{
            f"turned 90 about {a}": Rotation.from_euler(a, 90, degrees=True).as_matrix()
            for a in "xyz"
        },
        "turned 20 about z": Rotation.from_euler("z", 20, degrees=True).as_matrix(),
        "x and y swapped": np.eye(3)[[1, 0, 2]],
        "x mirrored": np.diag([-1.0, 1, 1]),
        "all mirrored": -np.eye(3),
    }
    for name, matrix in turns.items():
        for code in (1, 4):
            yield geometry_case(
                kind, f"qform {name}, codes {code}", REFUSED,
                lambda a, m=matrix: {"qform": _about_centre(a, m)},
                {"sform_code": code, "qform_code": code},
            )  # fmt: skip
    for name in ("turned 180 about y", "turned 90 about x", "x mirrored"):
        matrix = turns[name]
        yield geometry_case(  # the anatomical space is another one: MNI counts
            kind, f"sform MNI, qform scanner and {name}", EITHER,
            lambda a, m=matrix: {"qform": _about_centre(a, m)},
            {"sform_code": 4, "qform_code": 1},
        )  # fmt: skip
        yield geometry_case(
            kind, f"qform MNI, sform scanner and {name}", EITHER,
            lambda a, m=matrix: {"affine": _about_centre(a, m), "qform": a},
            {"sform_code": 1, "qform_code": 4},
        )  # fmt: skip
    for mm, right in ((1e-4, RIGHT), (500, REFUSED), (40, REFUSED), (2, EITHER)):
        for axis in (0, 2):
            shift = np.eye(4)
            shift[axis, 3] = mm
            yield geometry_case(
                kind, f"qform {mm:g} mm apart along {'xyz'[axis]}", right,
                lambda a, s=shift: {"qform": s @ a},
            )  # fmt: skip
    for factor, right in ((1.0001, RIGHT), (2, REFUSED), (0.5, REFUSED)):
        yield geometry_case(
            kind, f"qform with voxels {factor} times as large", right,
            lambda a, f=factor: {"qform": a @ np.diag([f, f, f, 1])},
        )  # fmt: skip


def _quaternions() -> Iterable[Case]:
    kind = "quaternions"
    just_over = [0.6, 0.8, 0.001]
    both, alone, unused = (4, 4), (0, 4), (4, 0)
    for name, (sform, qform), fields, right in (
        ("rounded to just over 1, beside an sform", (4, 1), {"quatern": just_over}, RIGHT),
        ("rounded to just over 1, unused", unused, {"quatern": just_over}, RIGHT),
        ("1.0000001, alone", alone, {"quatern": [0, 0, 1.0000001]}, ANY),
        ("2, 2, 2, unused", unused, {"quatern": [2, 2, 2]}, RIGHT),
        ("2, 2, 2, alone", alone, {"quatern": [2, 2, 2]}, REFUSED),
        ("2, 2, 2, codes equal", both, {"quatern": [2, 2, 2]}, EITHER),
        ("NaN, alone", alone, {"quatern": [np.nan] * 3}, REFUSED),
        ("NaN, unused", unused, {"quatern": [np.nan] * 3}, RIGHT),
        ("infinite, codes equal", both, {"quatern": [np.inf] * 3}, EITHER),
        ("offset NaN, alone", alone, {"qoffset": [np.nan] * 3}, REFUSED),
        ("offset NaN, unused", unused, {"qoffset": [np.nan] * 3}, RIGHT),
        ("offset 1e30, alone", alone, {"qoffset": [1e30] * 3}, REFUSED),
    ):
        yield map_case(kind, name, right, sform_code=sform, qform_code=qform, **fields)
    for qfac, (name, (sform, qform)) in itertools.product(
        (0.0, 5.0, np.nan, np.inf, -0.0), (("unused", unused), ("alone", alone), ("beside", both))
    ):
        # NIfTI: 0 counts as 1; of others it says nothing
        right = RIGHT if name == "unused" or qfac == 0 else EITHER
        yield geometry_case(
            kind, f"qfac {qfac}, {name}", right,
            lambda a, q=qfac: {"pixdim": [q, *np.linalg.norm(a[:3, :3], axis=0), 1, 1, 1, 1]},
            {"sform_code": sform, "qform_code": qform},
        )  # fmt: skip
    for name, edges in (("0", 0.0), ("negative", -4.0), ("NaN", np.nan), ("1e30", 1e30)):
        alone_right = EITHER if name == "negative" else REFUSED  # Analyze wrote flips like that
        for which, (sform, qform), right in (
            ("unused", unused, EITHER),
            ("alone", alone, alone_right),
        ):
            yield map_case(
                kind, f"pixdim {name}, qform {which}", right,
                pixdim=[1, edges, edges, edges, 1, 1, 1, 1], sform_code=sform, qform_code=qform,
            )  # fmt: skip


def _sforms() -> Iterable[Case]:
    kind = "sforms"
    for name, rows in (
        ("zeros", [0.0] * 12),
        ("NaN", [np.nan] * 12),
        ("infinite", [np.inf] * 12),
        ("one NaN", [4, 0, 0, -70, 0, 4, 0, np.nan, 0, 0, 4, -72]),
        ("singular: two axes alike", [4, 4, 0, -70, 0, 0, 0, -106, 0, 0, 4, -72]),
        ("one axis of 0 mm", [4, 0, 0, -70, 0, 4, 0, -106, 0, 0, 0, -72]),
        ("1e38", [1e38] * 12),
    ):
        yield map_case(kind, f"sform {name}, alone", REFUSED, srow=rows, qform_code=0)
        yield map_case(kind, f"sform {name}, qform sound", EITHER, srow=rows)


def _orientations() -> Iterable[Case]:
    """List the same map with its voxels stored along other axes: the score stays."""
    kind = "orientations"
    flips = ["".join(axes) for axes in itertools.product("RL", "AP", "SI")]
    swapped = ["PSR", "ASL", "SRA", "IPR", "ARS", "PLI", "SAL", "RSP", "LSA", "AIR"]
    for axes in (*flips, *swapped):
        for version, codes in ((1, (4, 4)), (2, (0, 1))):

            def content(m: Materials, a: str = axes, v: int = version, c: Any = codes) -> bytes:
                values, affine = turn(m.data, m.affine, a)
                return nifti(values, affine, version=v, sform_code=c[0], qform_code=c[1])

            which = "both forms" if codes[0] else "qform alone"
            yield file_case(kind, f"{axes}, NIfTI-{version}, {which}", content)


def _resliced() -> Iterable[Case]:
    """List the map on other grids: its score differs by interpolation alone."""
    kind = "resliced"
    tilt = np.eye(4)
    tilt[:3, :3] = Rotation.from_euler("xyz", [8, -6, 11], degrees=True).as_matrix()
    shear = np.eye(4)
    shear[0, 1], shear[1, 2] = 0.12, -0.08
    fine = np.diag([0.75, 0.6, 0.8, 1])
    tilt, shear = tilt @ fine, shear @ fine
    for name, change, qform_code in (
        ("oblique", tilt, 4), ("sheared, sform alone", shear, 0), ("finer voxels", fine, 4),
    ):  # fmt: skip

        def content(m: Materials, t: Array = change, code: int = qform_code) -> bytes:
            affine = m.affine @ t
            shape = tuple(int(n * 1.35) + 6 for n in m.data.shape)
            centre = m.affine @ [*((np.array(m.data.shape) - 1) / 2), 1]
            affine[:3, 3] += (centre - affine @ [*((np.array(shape) - 1) / 2), 1])[:3]
            places = np.indices(shape).reshape(3, -1)
            voxels = (np.linalg.inv(m.affine) @ affine) @ np.vstack(
                [places, np.ones(places.shape[1])]
            )
            values = map_coordinates(m.data, voxels[:3], order=1).reshape(shape)
            return nifti(values.astype(np.float32), affine, qform_code=code)

        yield file_case(kind, name, content, RIGHT, tolerance=0.6, doors=("predict",))


def _offsets() -> Iterable[Case]:
    kind = "offset"
    for version, first in ((1, 352), (2, 544)):
        for offset in (0, 1, 100, first - 4, first - 1):
            yield map_case(
                kind, f"{offset}, NIfTI-{version}", REFUSED if offset else EITHER,
                vox_offset=offset, version=version,
            )  # fmt: skip
        for padding in (1, 4, 16, 4096):
            yield file_case(
                kind, f"{first}+{padding}, padded, NIfTI-{version}",
                lambda m, v=version, f=first, p=padding: _padded(m, v, f, p),
            )  # fmt: skip
        for offset in (-1, 1 << 30, 10**6):
            yield map_case(
                kind, f"{offset}, NIfTI-{version}", REFUSED, vox_offset=offset, version=version
            )
    for place in (np.nan, np.inf, -np.inf, 1e30, 352.5):
        right = EITHER if place == 352.5 else REFUSED
        yield map_case(kind, f"{place}, NIfTI-1", right, vox_offset=place)
    yield map_case(kind, f"{2**62}, NIfTI-2", REFUSED, vox_offset=2**62, version=2)


def _padded(m: Materials, version: int, first: int, padding: int) -> bytes:
    content = nifti(m.data, m.affine, version=version, vox_offset=first + padding)
    return content[:first] + b"\0" * padding + content[first:]


def _extensions() -> Iterable[Case]:
    kind = "extension"
    afni = b"<AFNI_attributes>" + b"x" * 5000 + b"</AFNI_attributes>"
    for version in (1, 2):
        for name, content in (
            ("of AFNI, 5 kB", extension(4, afni)),
            ("of 200 kB", extension(4, b"y" * 200_000)),
            ("100 small ones", extension(6, b"comment") * 100),
            ("DICOM", extension(2, bytes(range(256)) * 4)),
        ):
            yield map_case(kind, f"{name}, NIfTI-{version}", extension=content, version=version)
    for claimed in (1 << 30, -16, 0, 7, 8, 33, 0x7FFFFFFF, -0x80000000):
        yield map_case(
            kind, f"claims {claimed} bytes", EITHER, extension=extension(4, b"z" * 40, claimed)
        )
    yield map_case(kind, "unknown code", EITHER, extension=extension(-5, b"z" * 40))
    yield file_case(
        kind, "flag without extension", lambda m: _flagged(nifti(m.data, m.affine)), EITHER
    )
    yield file_case(
        kind, "of AFNI, compressed",
        lambda m: pack_gzip(nifti(m.data, m.affine, extension=extension(4, afni))), end=".nii.gz",
    )  # fmt: skip


def _flagged(content: bytes) -> bytes:
    return content[:348] + b"\1\0\0\0" + content[352:]


def _dims() -> Iterable[Case]:
    kind = "dims"
    shape = (36, 45, 39)
    for name, dim in (
        ("none", [0] * 8),
        ("rank 0", [0, *shape, 1, 1, 1, 1]),
        ("rank -1", [-1, *shape, 1, 1, 1, 1]),
        ("rank 2", [2, *shape, 1, 1, 1, 1]),
        ("rank 8", [8, *shape, 1, 1, 1, 1]),
        ("rank 255", [255, *shape, 1, 1, 1, 1]),
        ("first 0", [3, 0, 45, 39, 1, 1, 1, 1]),
        ("first negative", [3, -36, 45, 39, 1, 1, 1, 1]),
        ("all 32767", [3, 32767, 32767, 32767, 1, 1, 1, 1]),
        ("seven of 32767", [7, *[32767] * 7]),
        ("4-D of 3 volumes", [4, 36, 45, 13, 3, 1, 1, 1]),
        ("4-D beyond the file", [4, *shape, 1000, 1, 1, 1]),
        ("4-D of -1 volumes", [4, *shape, -1, 1, 1, 1]),
        ("one row", [1, 36 * 45, 1, 1, 1, 1, 1, 1]),
        ("one more slice than there is", [3, 36, 45, 40, 1, 1, 1, 1]),
    ):
        yield map_case(kind, name, REFUSED, dim=dim)
    for name, dim in (
        ("4-D of 1 volume", [4, *shape, 1, 1, 1, 1]),
        ("zeros behind the rank", [3, *shape, 0, 0, 0, 0]),
        ("garbage behind the rank", [3, *shape, -5, 77, 1, 0]),
    ):
        yield map_case(kind, name, RIGHT, dim=dim)
    yield map_case(kind, "one slice", NO_SCORE, dim=[3, 36, 45, 1, 1, 1, 1, 1])
    yield map_case(kind, "7-D of ones", EITHER, dim=[7, *shape, 1, 1, 1, 1])
    yield map_case(kind, "5-D of ones", EITHER, dim=[5, *shape, 1, 1, 1, 1])
    yield map_case(kind, "4-D of 0 volumes", EITHER, dim=[4, *shape, 0, 1, 1, 1])
    # read with slices left out or axes exchanged, nobody can know
    yield map_case(kind, "axes exchanged", ANY, dim=[3, 45, 36, 39, 1, 1, 1, 1])
    for name, dim in (
        ("2**40 along x", [3, 2**40, 45, 39, 1, 1, 1, 1]),
        ("product overflows", [3, 2**32, 2**32, 2**32, 1, 1, 1, 1]),
        ("2**62 along all", [7, *[2**62] * 7]),
        ("negative", [3, 36, -(2**40), 39, 1, 1, 1, 1]),
        ("rank 2**40", [2**40, *shape, 1, 1, 1, 1]),
    ):
        yield map_case(kind, f"{name}, NIfTI-2", REFUSED, dim=dim, version=2)
    yield file_case(
        kind, "three maps in one file",
        lambda m: nifti(np.stack([m.data, m.data + 1, m.data * 2], -1), m.affine), REFUSED,
    )  # fmt: skip


def _types_and_magic() -> Iterable[Case]:
    kind = "type and magic"
    for code in (0, 1, 3, 5, 128, 255, 9999, -1, 32767, 2304):
        yield map_case(kind, f"datatype {code}", REFUSED, datatype=code)
    yield map_case(kind, "datatype 1536, 128 bits, too short", REFUSED, datatype=1536)
    yield map_case(kind, "datatype 64 over 32-bit voxels", REFUSED, datatype=64)
    # each voxel cut in two: a map of half of the size in garbage
    yield map_case(kind, "datatype 4 over 32-bit voxels", NO_SCORE, datatype=4)
    for bits in (0, 1, 8, 16, 64, -1, 32767):
        yield map_case(kind, f"bitpix {bits}", EITHER, bitpix=bits)
    for magic in (b"n+3\0", b"\0\0\0\0", b"nope", b"N+1\0", b"\xff\xff\xff\xff"):
        yield map_case(kind, f"magic {magic!r}", REFUSED, magic=magic)
    for magic in (b"ni1\0", b"n+1x", b"n+1 "):
        yield map_case(kind, f"magic {magic!r}", EITHER, magic=magic)
    yield map_case(kind, "magic n+1 in NIfTI-2", EITHER, magic=b"n+1\0\r\n\x1a\n", version=2)
    for magic in (b"n+2\0\0\0\0\0", b"n+2\0\n\n\x1a\n", b"ni2\0\r\n\x1a\n"):
        yield map_case(kind, f"magic {magic!r}", EITHER, magic=magic, version=2)
    for size in (0, 349, 347, 540, -348, 0x5C010000):
        yield map_case(kind, f"sizeof_hdr {size}", REFUSED, sizeof_hdr=size)
    yield file_case(
        kind, "size of the other byte order",
        lambda m: b"\0\0\1\x5c" + nifti(m.data, m.affine)[4:], REFUSED,
    )  # fmt: skip


def _truncated() -> Iterable[Case]:
    kind = "truncated"
    for n in (0, 1, 4, 40, 100, 252, 343, 344, 347, 348, 350, 351, 352, 353, 1000, -1, -4, -1000):
        yield file_case(
            kind, f"{n} bytes" if n >= 0 else f"{-n} bytes missing",
            lambda m, n=n: nifti(m.data, m.affine)[:n], REFUSED,
        )  # fmt: skip
    for n in (4, 100, 348, 540, 543, 544, 545, -1):
        yield file_case(
            kind, f"{n} bytes, NIfTI-2",
            lambda m, n=n: nifti(m.data, m.affine, version=2)[:n], REFUSED,
        )  # fmt: skip
    for n in (0, 1, 2, 9, 10, 18, 19, 200, 5000, -9, -1000):
        yield file_case(
            kind, f"{n} bytes compressed",
            lambda m, n=n: pack_gzip(nifti(m.data, m.affine))[:n], REFUSED, end=".nii.gz",
        )  # fmt: skip
    for n in (-1, -4, -8):  # all of the values are there, but not the check sum
        yield file_case(
            kind, f"{-n} bytes of the check sum missing",
            lambda m, n=n: pack_gzip(nifti(m.data, m.affine))[:n], EITHER, end=".nii.gz",
        )  # fmt: skip
    for name, more in (("one byte", b"x"), ("zeros", b"\0" * 5000), ("another map", None)):
        yield file_case(
            kind,
            f"followed by {name}",
            lambda m, t=more: (
                nifti(m.data, m.affine) + (nifti(m.data, m.affine) if t is None else t)
            ),
            EITHER,
        )


def _gzip() -> Iterable[Case]:
    kind = "gzip"

    def packed(
        name: str, pack: Callable[[bytes], bytes], right: Answers = RIGHT, **more: Any
    ) -> Case:
        more = {"end": ".nii.gz"} | more
        return file_case(kind, name, lambda m: pack(nifti(m.data, m.affine)), right, **more)

    whole = pack_gzip
    yield packed("bomb behind the map, 4 GiB", lambda c: bomb(c, 4 << 30), EITHER)
    yield packed("bomb of zeros, 4 GiB", lambda _: bomb(b"", 4 << 30), REFUSED)
    yield packed(
        "bomb in later members", lambda c: whole(c) + whole(b"\0" * (1 << 24)) * 256, EITHER
    )
    yield packed("bomb in a header's place", lambda c: bomb(c[:100], 2 << 30), REFUSED)
    yield packed("three members", lambda c: b"".join(map(whole, (c[:300], c[300:900], c[900:]))))
    yield packed(
        "many members", lambda c: b"".join(whole(c[i : i + 4096]) for i in range(0, len(c), 4096))
    )
    yield packed(
        "an empty member in between", lambda c: whole(c[:352]) + whole(b"") + whole(c[352:])
    )
    yield packed("zeros behind", lambda c: whole(c) + b"\0" * 512)
    yield packed("garbage behind", lambda c: whole(c) + b"garbage", EITHER)
    yield packed("half a member behind", lambda c: whole(c) + whole(c)[:50], EITHER)
    yield packed("not compressed at all", lambda c: c, EITHER)
    yield packed("compressed, named .nii", whole, EITHER, end=".nii")
    yield packed("compressed twice", lambda c: whole(whole(c)), REFUSED)
    yield packed("check sum altered", lambda c: _flip(whole(c), -6), REFUSED)
    yield packed("length altered", lambda c: _flip(whole(c), -2), EITHER)
    yield packed(
        "a bit flipped in the middle", lambda c: _flip(whole(c), len(whole(c)) // 2), REFUSED
    )
    yield packed("a bit flipped in the header", lambda c: _flip(whole(c), 2), REFUSED)
    yield packed("unknown flags", lambda c: _put(whole(c), 3, 0xE0), EITHER)
    yield packed("stored, level 0", lambda c: gzip.compress(c, 0, mtime=0))
    yield packed("level 9", lambda c: gzip.compress(c, 9, mtime=0))
    yield packed("with name and comment", _with_name)
    yield packed("zlib", zlib.compress, REFUSED)
    yield packed("bzip2", bz2.compress, REFUSED)
    yield packed("xz", lzma.compress, REFUSED)
    yield packed("zip", lambda c: b"PK\3\4" + c, REFUSED)
    yield packed("big-endian NIfTI-2 inside", whole)
    yield file_case(
        kind, "named .NII.GZ", lambda m: whole(nifti(m.data, m.affine)), EITHER, end=".NII.GZ"
    )


def _with_name(content: bytes) -> bytes:
    plain = pack_gzip(content)
    return plain[:3] + b"\x1c" + plain[4:10] + b"\4\0abcdmap.nii\0made by hand\0" + plain[10:]


def _flip(content: bytes, place: int) -> bytes:
    return _put(content, place, content[place] ^ 0x10)


def _put(content: bytes, place: int, value: int) -> bytes:
    altered = bytearray(content)
    altered[place] = value
    return bytes(altered)


def _sparse() -> Iterable[Case]:
    kind = "sparse"

    def sparse(name: str, n_bytes: int, right: Answers, **fields: Any) -> Case:
        def make(m: Materials, folder: Path) -> Path:
            path = folder / f"sub-09_{NAME}.nii"
            content = nifti(m.data, m.affine, **fields) if fields.pop("header", True) else b""
            with path.open("wb") as file:
                file.write(content)
                file.truncate(n_bytes)
            return path

        return Case(kind, name, make, right)

    for n_bytes in (3 << 30, 1 << 42):
        yield sparse(f"map, then a hole of {n_bytes >> 30} GiB", n_bytes, EITHER)
        yield sparse(f"a hole of {n_bytes >> 30} GiB", n_bytes, REFUSED, header=False)
    big = [3, 10_000, 10_000, 10_000, 1, 1, 1, 1]
    yield sparse("dims that fit a hole of 4 TiB", 1 << 42, REFUSED, dim=big)
    yield sparse(
        "4-D that fits a hole of 4 GiB", 5 << 30, REFUSED, dim=[4, 36, 45, 39, 16000, 1, 1, 1]
    )


def _pairs() -> Iterable[Case]:
    kind = "pair"

    def pair(
        name: str, change: Callable[[Path], Path], right: Answers = RIGHT, **fields: Any
    ) -> Case:
        packed, version = fields.pop("packed", False), fields.get("version", 1)

        def make(m: Materials, folder: Path) -> Path:
            content = nifti(m.data, m.affine, pair=True, **fields)
            image = split_pair(content, folder / f"sub-09_{NAME}", version, packed)
            return change(image)

        return Case(kind, name, make, right)

    for version, order in itertools.product((1, 2), "<>"):
        which = f"NIfTI-{version}, {order}"
        yield pair(f"{which}, by its .img", _itself, version=version, order=order)
        yield pair(f"{which}, by its .hdr", _header_of, version=version, order=order)
    yield pair("compressed", _itself, packed=True)
    yield pair("upper case", _upper)
    yield pair("without .hdr", _without(_header_of, _itself), REFUSED)
    yield pair("without .img, by its .hdr", _without(_itself, _header_of), REFUSED)
    yield pair("empty .hdr", _written(_header_of, b""), REFUSED)
    yield pair("empty .img", _written(_itself, b""), REFUSED)
    yield pair("short .img", _written(_itself, b"\0" * 1000), REFUSED)
    yield pair(".hdr of garbage", _written(_header_of, b"garbage " * 60), REFUSED)
    yield pair("magic of a single file", _itself, EITHER, magic=b"n+1\0")
    yield pair("offset beyond the .img", _itself, REFUSED, vox_offset=10_000_000)
    yield pair("offset 352, which isn't there", _itself, REFUSED, vox_offset=352)
    # Analyze says neither handedness nor millimetres of its origin: any plain answer will do
    yield pair("Analyze", _itself, ANY, magic=b"\0\0\0\0", sform_code=0, qform_code=0)
    yield pair("Analyze _without voxel sizes", _itself, ANY, magic=b"\0" * 4, pixdim=[0.0] * 8)
    yield pair(
        "Analyze of rank 9", _itself, REFUSED, magic=b"\0" * 4, dim=[9, 36, 45, 39, 1, 1, 1, 1]
    )


def _header_of(image: Path) -> Path:
    return image.with_name(image.name.replace(".img", ".hdr"))


def _without(part: Callable[[Path], Path], given: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def change(image: Path) -> Path:
        part(image).unlink()
        return given(image)

    return change


def _written(part: Callable[[Path], Path], content: bytes) -> Callable[[Path], Path]:
    def change(image: Path) -> Path:
        part(image).write_bytes(content)
        return image

    return change


def _itself(image: Path) -> Path:
    return image


def _upper(image: Path) -> Path:
    for path in (image, _header_of(image)):
        path.rename(path.with_suffix(path.suffix.upper()))
    return image.with_suffix(".IMG")


def _intents() -> Iterable[Case]:
    """List headers that say what the values are, beside a name that says z."""
    kind = "intent"
    other_statistics = {2: "correlation", 3: "t", 4: "F", 6: "chi2", 7: "beta", 8: "binomial",
                        9: "gamma", 10: "Poisson", 11: "normal", 12: "non-central F",
                        14: "logistic", 16: "uniform", 18: "Weibull", 20: "inverse Gaussian",
                        21: "extreme value", 1001: "estimate"}  # fmt: skip
    never = {22: "p value", 23: "log p", 24: "log10 p", 1002: "labels", 1003: "neuro names",
             1004: "matrix", 1005: "symmetric matrix", 1006: "displacement", 1007: "vector",
             1008: "points", 1009: "triangles", 1010: "quaternion", 2002: "node index",
             2003: "RGB", 2004: "RGBA"}  # fmt: skip
    yield map_case(kind, "5 z", RIGHT, intent_code=5)
    yield map_case(kind, "0 none", RIGHT, intent_code=0)
    yield map_case(kind, "5 z, NIfTI-2", RIGHT, intent_code=5, version=2)
    yield map_case(kind, "22 p value, NIfTI-2, >", REFUSED, intent_code=22, version=2, order=">")
    for code, name in other_statistics.items():
        yield map_case(
            kind,
            f"{code} {name}",
            REFUSED | ({"note"} if code in {11, 1001} else set()),
            intent_code=code,
        )
    for code, name in never.items():
        yield map_case(kind, f"{code} {name}", REFUSED, intent_code=code)
    for code, name in {1011: "dimensionless", 2001: "time series", 2005: "shape", 999: "unknown",
                       -1: "negative", 32767: "unknown", 2011: "FSL"}.items():  # fmt: skip
        yield map_case(kind, f"{code} {name}", EITHER, intent_code=code)

    def unnamed(name: str, right: Answers, training: Answers, **fields: Any) -> Case:
        def make(m: Materials, folder: Path) -> Path:
            path = folder / "map.nii"
            path.write_bytes(nifti(m.data, m.affine, **fields))
            return path

        return Case(kind, name, make, right, training=training)

    yield unnamed("name says nothing, intent 22 p value", REFUSED, REFUSED, intent_code=22)
    yield unnamed("name says nothing, intent 3 t", REFUSED, EITHER, intent_code=3)
    yield unnamed("name says nothing, intent 5 z", RIGHT, RIGHT, intent_code=5)
    yield unnamed("name says nothing, nor does the intent", frozenset({"note"}), RIGHT)
    yield unnamed("intent name 'p value' with code 0", EITHER, EITHER, intent_name=b"p value")
