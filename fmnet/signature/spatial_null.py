"""Random maps as smooth as a given one, and the p value of two maps' correlation beside them.

Neighbouring voxels of a smooth map hold nearly the same value, so that the correlation of two maps
rests on far fewer than V of them, and a p value that counts voxels calls most unrelated maps alike.
Here a map is compared with random fields of its own autocovariance, drawn by FFT: nothing of size
V x V is built.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fftn, ifftn, irfftn, next_fast_len, rfftn

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

#: Beyond this distance in mm pairs of voxels are few and their mean product is mostly chance; the
#: autocovariance goes to 0 there. Chosen, as the form of the taper, by false positives of unrelated
#: fields of 8 to 45 mm FWHM.
REACH_MM = 120.0
#: How often the covariance is corrected for the centring of the map; it hardly changes any more.
N_ROUNDS = 6
#: Random maps in one array.
N_AT_ONCE = 16


class SpatialTest(NamedTuple):
    """Correlation of two maps beside that of random maps as smooth as the first.

    ``r`` is the correlation over the ``n_voxels`` that both have, ``p`` two-sided, ``null`` the
    correlations of the random maps, (n,).
    """

    r: float
    p: float
    null: NDArray[np.float64]
    n_voxels: int


def surrogate_maps(values: NDArray[Any], grid: Grid, n: int, seed: int) -> Iterator[FloatArray]:
    """Draw random maps with the autocovariance, the mean and the SD of a map.

    The autocovariance is that of the voxels which are known, lag by lag: sums of products over the
    number of pairs (Wiener and Khinchin, with missing data), made a valid one. It may differ by
    direction; it is the same all over the brain. Fields are drawn on a box twice as long as the
    grid, so that its ends don't meet inside the brain.

    Parameters
    ----------
    values : ndarray, shape (V,)
        In-mask values; NaN where the map has none.
    grid : Grid
        Where.
    n, seed : int
        How many maps, and what they are drawn from.

    Yields
    ------
    ndarray of float32, shape (`N_AT_ONCE` or fewer, V)
        Everywhere in the mask, with mean and SD of the map over all of it.
    """
    known = np.isfinite(values)
    mean, sd = float(values[known].mean()), float(values[known].std())
    gain = _gain(np.asarray(values, float), grid)
    inside = tuple(slice(0, length) for length in grid.shape)
    generator = np.random.default_rng(seed)
    drawn = np.empty((N_AT_ONCE, grid.n_voxels), np.float32)
    for start in range(0, n, N_AT_ONCE):
        n_here = min(N_AT_ONCE, n - start)
        for row in range(0, n_here, 2):
            noise = np.empty(gain.shape, np.complex64)
            noise.real = generator.standard_normal(gain.shape, dtype=np.float32)
            noise.imag = generator.standard_normal(gain.shape, dtype=np.float32)
            # real and imaginary part are two independent fields
            field = ifftn(noise * gain, overwrite_x=True)[inside][grid.mask]
            drawn[row] = field.real
            if row + 1 < n_here:
                drawn[row + 1] = field.imag
        batch = drawn[:n_here] - drawn[:n_here].mean(axis=1, keepdims=True)
        spread = batch.std(axis=1, keepdims=True)
        yield batch * (np.float32(sd) / np.where(spread > 0, spread, 1)) + np.float32(mean)


def spatial_p(
    one: NDArray[np.floating], other: NDArray[np.floating], grid: Grid, n: int = 1000, seed: int = 0
) -> SpatialTest:
    """Test the correlation of two maps against random maps as smooth as the first.

    Parameters
    ----------
    one, other : ndarray, shape (V,)
        In-mask values, NaN where there are none. Random maps are drawn for `one`: give the map
        that has values in most of the mask first, a thresholded one second.
    grid : Grid
        Where.
    n, seed : int
        How many random maps, and what they are drawn from.
    """
    return spatial_tests(one, other[None], grid, n, seed)[0]


def spatial_tests(
    one: NDArray[np.floating],
    others: NDArray[np.floating],
    grid: Grid,
    n: int = 1000,
    seed: int = 0,
) -> list[SpatialTest]:
    """Test the correlation of a map with each of several, (M, V), as `spatial_p` does.

    The same random maps serve for all of them.
    """
    both = np.isfinite(one) & np.isfinite(others)
    fixed = [
        _standard(other[known].astype(float)) for other, known in zip(others, both, strict=True)
    ]
    null = np.empty((len(others), n))
    for batch, start in zip(
        surrogate_maps(one, grid, n, seed), range(0, n, N_AT_ONCE), strict=True
    ):
        for row, known in enumerate(both):
            null[row, start : start + len(batch)] = _standard(batch[:, known]) @ fixed[row]
    tests = []
    for row, known in enumerate(both):
        r = float(_standard(one[known].astype(float)) @ fixed[row])
        # an equal size but for rounding counts
        n_as_large = int((np.abs(null[row]) >= abs(r) - 1e-7).sum())
        tests.append(SpatialTest(r, (1 + n_as_large) / (n + 1), null[row], int(known.sum())))
    return tests


def _gain(values: NDArray[np.float64], grid: Grid) -> FloatArray:
    """Find the size of each wave on the padded box: its square is the spectrum of the map.

    Centring takes the variance of the map's mean out of all products, which matters for very smooth
    maps; what it takes is worked out from the covariance so far and given back, a few times over.
    """
    known = np.isfinite(values)
    box = tuple(next_fast_len(2 * length - 1, real=True) for length in grid.shape)
    mask = np.zeros(box)
    inside = mask[tuple(slice(0, length) for length in grid.shape)]
    inside[grid.mask] = known
    centred = np.zeros(grid.shape)
    centred[grid.mask] = np.where(known, values - values[known].mean(), 0)
    of_mask = rfftn(mask)
    pairs = np.maximum(np.rint(irfftn(np.abs(of_mask) ** 2, box)), 1)
    products = irfftn(np.abs(rfftn(centred, box)) ** 2, box) / pairs
    taper = _taper(box, grid)
    taken: Any = 0.0
    for _ in range(N_ROUNDS):
        power = _nearest_spectrum(fftn(taper * (products + taken)).real)
        covariance = ifftn(power).real
        # of each voxel with the mean of all, and of the mean
        with_mean = mask * irfftn(rfftn(covariance) * of_mask, box) / known.sum()
        of_mean = with_mean.sum() / known.sum()
        taken = irfftn(2 * (rfftn(with_mean).conj() * of_mask).real, box) / pairs - of_mean
    gain: FloatArray = np.sqrt(power).astype(np.float32)
    return gain


def _nearest_spectrum(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the spectrum without negative power that is nearest, and whose variance is the same.

    One number is taken off all waves and what is then negative becomes 0. To set negative power to
    0 alone would add white noise, and make random maps too rough.
    """
    total = float(power.sum())
    if total <= 0:
        return np.asarray(np.maximum(power, 0))
    falling = np.sort(power, axis=None)[::-1]
    levels = (np.cumsum(falling) - total) / np.arange(1, falling.size + 1)
    return np.asarray(np.maximum(power - levels[np.flatnonzero(falling > levels)[-1]], 0))


def _taper(box: tuple[int, ...], grid: Grid) -> NDArray[np.float64]:
    """Weight lags by their length: 1 at none and hardly less nearby, 0 from `REACH_MM` on."""
    lags = np.meshgrid(*(np.fft.fftfreq(length, 1 / length) for length in box), indexing="ij")
    lengths = np.linalg.norm(np.stack(lags, axis=-1) @ grid.affine[:3, :3].T, axis=-1)
    bell = 0.5 + 0.5 * np.cos(np.pi * np.minimum(lengths / REACH_MM, 1))
    return np.asarray(1 - (1 - bell) ** 2)


def _standard(values: NDArray[Any]) -> NDArray[np.float64]:
    """Centre the last axis and give it length 1; 0 where it is constant."""
    centred = values - values.mean(axis=-1, keepdims=True, dtype=float)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, np.inf))
