"""Voxel values: types and scaling, backgrounds, coverage, constants, spikes and wrong units."""
# mypy doesn't infer lambdas that hold on to a loop's value by a default.
# mypy: disable-error-code="misc"

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.stats import norm

from benchmarks.corpus.answers import ANY, EITHER, NO_SCORE, OTHER, REFUSED, RIGHT, Answers
from benchmarks.corpus.case import Case, Materials
from benchmarks.corpus.craft import Array, nifti, pack_gzip, patch
from benchmarks.corpus.headers import file_case, map_case

#: Slice from which on a map has no data: that leaves 27 % or about 70 % of the mask.
LITTLE, MUCH = 16, 27
#: Types with the slope and intercept that hold values from -7 to 7.
SCALES: dict[str, tuple[float, float]] = {
    "i1": (0.06, 0.0), "u1": (0.06, -7.5), "i2": (2e-4, 0.0), "u2": (3e-4, -8.0),
    "i4": (1e-6, 0.0), "u4": (4e-9, -8.0), "i8": (1e-9, 0.0), "u8": (1e-9, -8.0),
    "f4": (1.0, 0.0), "f8": (1.0, 0.0),
}  # fmt: skip
Change = Callable[[Array], Array]


def value_cases() -> list[Case]:
    """List every case that is about the values."""
    parts = (
        _types,
        _slopes,
        _backgrounds,
        _little_coverage,
        _much_coverage,
        _constants,
        _spikes,
        _scales,
    )
    return [case for part in parts for case in part()]


def changed(kind: str, name: str, change: Change, right: Answers = RIGHT, **more: Any) -> Case:
    """Build a case of the map with its values altered; ``code`` and fields go to `nifti`."""
    own = ("training", "tolerance", "like", "doors", "end")
    settings = {key: more.pop(key) for key in own if key in more}

    def content(m: Materials) -> bytes:
        return nifti(change(m.data.copy()), m.affine, **more)

    return file_case(kind, name, content, right, **settings)


def _same(values: Array) -> Array:
    return values


def _scaled(code: str) -> dict[str, Any]:
    slope, inter = SCALES[code]
    return {"code": code, "slope": slope, "inter": inter}


def _tolerance(code: str) -> float:
    """Say what rounding to a type may do to a score: little, for it sums over the brain."""
    return 0.1 if code in {"i1", "u1"} else 0.02


def _types() -> Iterable[Case]:
    kind = "types"
    for code, order, version in itertools.product(SCALES, "<>", (1, 2)):
        yield changed(
            kind, f"{np.dtype(code).name}, {order}, NIfTI-{version}", _same, **_scaled(code),
            order=order, version=version, tolerance=_tolerance(code),
        )  # fmt: skip
    for code in ("c8", "c16"):
        yield changed(kind, np.dtype(code).name, _same, REFUSED, code=code)
    for name, datatype, n_bytes in (
        ("RGB", 128, 3),
        ("RGBA", 2304, 4),
        ("128-bit float", 1536, 16),
    ):
        right = EITHER if datatype == 1536 else REFUSED
        yield file_case(
            kind, name, lambda m, d=datatype, n=n_bytes: _bare(m, d, n), right | {OTHER}
        )
    yield file_case(kind, "one bit per voxel", lambda m: _bare(m, 1, 1), REFUSED)
    yield file_case(
        kind, "int16, compressed",
        lambda m: pack_gzip(nifti(m.data, m.affine, **_scaled("i2"))), end=".nii.gz",
    )  # fmt: skip


def _bare(m: Materials, datatype: int, n_bytes: int) -> bytes:
    """Write zeros of a type that NumPy doesn't know."""
    header = nifti(m.data, m.affine, datatype=datatype, bitpix=8 * n_bytes)[:352]
    return header + b"\0" * (n_bytes * m.data.size)


def _slopes() -> Iterable[Case]:
    kind = "slope"
    for name, fields, right in (
        ("0 means none", {"slope": 0.0}, RIGHT),
        ("0 with intercept 5 means none", {"slope": 0.0, "inter": 5.0}, RIGHT),
        ("NaN", {"slope": np.nan}, EITHER),
        ("NaN and intercept NaN", {"slope": np.nan, "inter": np.nan}, EITHER),
        ("infinite, which nibabel takes for none", {"slope": np.inf}, EITHER),
        ("minus infinite", {"slope": -np.inf}, EITHER),
        ("intercept NaN", {"inter": np.nan}, EITHER),
        ("intercept infinite", {"inter": np.inf}, REFUSED),
    ):
        yield file_case(kind, name, lambda m, f=fields: _with_fields(m, f), right)
    for slope, inter in ((-1.0, 0.0), (2.0, 3.0), (1e-3, 0.0), (-0.5, 100.0), (1e5, 0.0)):
        yield changed(
            kind, f"{slope:g}, intercept {inter:g}, float32", _same, slope=slope, inter=inter
        )
    for slope, inter in ((-2e-4, 0.0), (2e-4, 1.5)):
        yield changed(
            kind,
            f"{slope:g}, intercept {inter:g}, int16",
            _same,
            code="i2",
            slope=slope,
            inter=inter,
        )
    for slope in (1e30, 1e-30, 1e38):
        yield file_case(
            kind,
            f"{slope:g} over plain values",
            lambda m, s=slope: _with_fields(m, {"slope": s}),
            NO_SCORE,
        )
    yield file_case(
        kind,
        "intercept 1e30 over plain values",
        lambda m: _with_fields(m, {"inter": 1e30}),
        NO_SCORE,
    )


def _with_fields(m: Materials, fields: dict[str, Any]) -> bytes:
    """Write the values as they are, whatever the header says of their scale."""
    return patch(nifti(m.data, m.affine), **fields)


def _backgrounds() -> Iterable[Case]:
    """List the same brain with something else around it, which must not matter."""
    kind = "background"
    for value in (1e-6, -1e-6, 1e-12, 5e-5, 1e-3, -1.0, 1.0, 100.0, -1024.0, np.nan):
        right = RIGHT if np.isnan(value) or abs(value) < 1e-3 else EITHER
        yield changed(kind, f"{value:g}", _around(value), right)
    for value in (np.inf, -np.inf, 1e7, float(np.finfo(np.float32).max)):
        yield changed(kind, f"{value:g}", _around(value), EITHER)
    yield changed(kind, "NaN and 0", _mixed(np.nan, 0.0))
    yield changed(kind, "-0 and 0", _mixed(-0.0, 0.0))
    yield changed(kind, "NaN and infinite", _mixed(np.nan, np.inf), EITHER)
    yield changed(kind, "denormal", _around(1e-42))
    for code in ("u1", "i2", "u2", "i4"):
        yield changed(
            kind, f"scaled zero of {code}", _same, **_scaled(code), tolerance=_tolerance(code)
        )
    yield changed(
        kind, "uint16, offset by half a step", _same, code="u2", slope=3e-4, inter=-8.00015
    )


def _around(value: float) -> Change:
    def change(values: Array) -> Array:
        return np.where(values == 0, np.float32(value), values)

    return change


def _mixed(one: float, other: float) -> Change:
    def change(values: Array) -> Array:
        flat = np.where(np.arange(values.size).reshape(values.shape) % 2, one, other)
        return np.where(values == 0, flat, values).astype(np.float32)

    return change


def _cut(first: int, value: float = 0.0) -> Change:
    def change(values: Array) -> Array:
        values[:, :, first:] = value
        return values

    return change


def _everywhere(first: int, value: float) -> Change:
    """Cut, and the same value around the brain: what software writes that pads with it."""

    def change(values: Array) -> Array:
        return np.where(_cut(first)(values) == 0, np.float32(value), values).astype(np.float32)

    return change


def _little_coverage() -> Iterable[Case]:
    """List a quarter of the brain: no score may come, however nothing is written."""
    kind = "little coverage"
    for code in SCALES:
        yield changed(kind, np.dtype(code).name, _cut(LITTLE), NO_SCORE, **_scaled(code))
    for value in (1e-6, -1e-6, 1e-12, 1e-42, 5e-5, 1e-3, -1.0, 1.0, 100.0, -1024.0, np.nan):
        yield changed(kind, f"{value:g} instead", _everywhere(LITTLE, value), NO_SCORE)
        # 0 around the brain, but something else where the data end
        yield changed(kind, f"{value:g} within the brain alone", _cut(LITTLE, value), NO_SCORE)
    for code, (slope, inter) in SCALES.items():
        if code[0] in "iu":  # no step of these lies at 0
            yield changed(
                kind, f"{np.dtype(code).name}, no step at 0", _cut(LITTLE), NO_SCORE,
                code=code, slope=slope, inter=inter + slope / 3,
            )  # fmt: skip
    yield changed(kind, "-0", _cut(LITTLE, -0.0), NO_SCORE)
    yield changed(kind, "NaN and 0", lambda v: _mixed(np.nan, 0.0)(_cut(LITTLE)(v)), NO_SCORE)
    yield changed(kind, "1e-6 and 0", lambda v: _mixed(1e-6, 0.0)(_cut(LITTLE)(v)), NO_SCORE)
    yield changed(kind, "thresholded at 3", lambda v: np.where(abs(v) > 3, v, 0), NO_SCORE)
    yield changed(kind, "one voxel", _one_voxel, NO_SCORE)
    yield changed(
        kind, "every second slice", _every_second, NO_SCORE | RIGHT | {OTHER}, training=ANY
    )


def _one_voxel(values: Array) -> Array:
    single = np.zeros_like(values)
    single[18, 22, 19] = 2.5
    return single


def _every_second(values: Array) -> Array:
    values[:, :, ::2] = 0
    return values


def _much_coverage() -> Iterable[Case]:
    """List most of the brain: the score is that of the same part, written plainly."""
    kind = "partial coverage"
    for code in SCALES:
        yield changed(
            kind, np.dtype(code).name, _cut(MUCH), RIGHT, like=_cut(MUCH), **_scaled(code),
            tolerance=_tolerance(code),
        )  # fmt: skip
    for value in (1e-6, -1e-6, 1e-12, np.nan):
        yield changed(kind, f"{value:g} instead", _everywhere(MUCH, value), RIGHT, like=_cut(MUCH))
    for value in (-1.0, 100.0):
        right = EITHER
        yield changed(kind, f"{value:g} instead", _everywhere(MUCH, value), right, like=_cut(MUCH))


def _constants() -> Iterable[Case]:
    kind = "constant"
    for value in (0.0, 1.0, -1.0, np.nan, np.inf, 1e-30, 3e38, -0.0):
        yield changed(kind, f"{value:g}", lambda v, c=value: np.full_like(v, c), REFUSED)
    yield changed(kind, "a brain mask", lambda v: (v != 0).astype(np.float32), NO_SCORE)
    yield changed(
        kind, "a brain mask, uint8", lambda v: (v != 0).astype(np.uint8), NO_SCORE, code="u1"
    )
    yield changed(kind, "one value and noise of rounding", _nearly_constant, NO_SCORE)
    yield changed(kind, "an atlas of 5 labels", _atlas, NO_SCORE, code="i2", training=ANY)
    yield changed(kind, "half NaN, half 1", lambda v: np.where(v > 0, 1, np.nan), NO_SCORE)


def _nearly_constant(values: Array) -> Array:
    noise = np.random.default_rng(0).normal(size=values.shape) * 1e-7
    return np.where(values != 0, 1 + noise, 0).astype(np.float32)


def _atlas(values: Array) -> Array:
    blocks = np.indices(values.shape)[1] // 9 + 1
    return np.where(values != 0, blocks, 0).astype(np.int16)


def _spikes() -> Iterable[Case]:
    """List maps with a few voxels that no brain has."""
    kind = "spike"
    for n, value in itertools.product((1, 3, 20), (1e5, -1e5, 1e4)):
        yield _spiked(kind, f"{value:g} in {n} voxels", n, value)
    for value in (1e3, 1e6, 1e7, 1e30, 3e38, -3e38, np.inf, -np.inf):
        yield _spiked(kind, f"{value:g} in 1 voxel", 1, value)
    yield _spiked(kind, "1e5 in 1 voxel, float64", 1, 1e5, code="f8")
    yield _spiked(kind, "1e5 in 1 voxel, int16", 1, 1e5, code="i2", slope=3.5, inter=0.0)
    yield _spiked(kind, "NaN in 1 voxel", 1, np.nan, RIGHT, tolerance=0.1)
    yield _spiked(kind, "0 in 20 voxels", 20, 0.0, RIGHT, tolerance=0.1)
    # a strong response is no spike: z = 12 in a few voxels is what visual cortex does
    yield _spiked(kind, "12 in 3 voxels", 3, 12.0, RIGHT, tolerance=0.3)
    yield changed(kind, "1e5 outside the brain", _corner(1e5), EITHER)


def _spiked(
    kind: str, name: str, n: int, value: float, right: Answers = NO_SCORE, **more: Any
) -> Case:
    settings = {key: more.pop(key) for key in ("tolerance",) if key in more}

    def content(m: Materials) -> bytes:
        values = m.data.astype(np.float64 if more.get("code") == "f8" else np.float32)
        values[m.inside(n)] = value
        return nifti(values, m.affine, **more)

    return file_case(kind, name, content, right, **settings)


def _corner(value: float) -> Change:
    def change(values: Array) -> Array:
        values[0, 0, 0] = value
        return values

    return change


def _scales() -> Iterable[Case]:
    """List the whole map in other units."""
    kind = "scale"
    for factor in (1e3, 1e-3, 1e6, 1e-6, 1e12, 1e-12, 100, 0.01):
        yield changed(kind, f"times {factor:g}", lambda v, f=factor: v * np.float32(f), NO_SCORE)
    for factor in (10, 0.1):
        yield changed(
            kind, f"times {factor:g}", lambda v, f=factor: v * np.float32(f), NO_SCORE, training=ANY
        )
    # nobody can know that signs are swapped
    yield changed(kind, "times -1", lambda v: -v, ANY)
    yield changed(kind, "plus 100", lambda v: np.where(v != 0, v + 100, 0), NO_SCORE)
    yield changed(kind, "plus 1000, everywhere", lambda v: v + 1000, NO_SCORE)
    yield changed(kind, "p values", _p_values, NO_SCORE | ANY)
    yield map_case(kind, "scale by cal_max alone", RIGHT, descrip=b"\xff" * 80)


def _p_values(values: Array) -> Array:
    return np.where(values != 0, 2 * norm.sf(abs(values)), 0).astype(np.float32)
