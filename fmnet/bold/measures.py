"""Maps of one run, voxel by voxel: temporal SD, ALFF, fALFF, ReHo, and correlation with a seed.

Amplitudes are square roots of the power spectral density, in percent per root Hz, so that runs of
different lengths can be compared. Where volumes are missing within a run, the spectrum is the
least-squares one (Lomb-Scargle), which takes the volumes that are there at the times when they were
acquired. Interpolation would make up the missing ones, more of them the more a subject moves, and
what is made up holds hardly any high frequencies: head motion would raise fALFF.

nilearn has none of these amplitudes and no ReHo. Its `NiftiSpheresMasker` isn't used for seeds: it
wants the series as a 4-D image, several times the memory of the voxels in the mask, and makes zeros
of NaN, which here says where a run has no data.

References
----------
Zang, Y.-F., et al. (2007). Altered baseline brain activity in children with ADHD revealed by
resting-state functional MRI. Brain Dev., 29.
Zou, Q.-H., et al. (2008). An improved approach to detection of amplitude of low-frequency
fluctuation (ALFF) for resting-state fMRI: fractional ALFF. J. Neurosci. Methods, 172.
Zang, Y., Jiang, T., Lu, Y., He, Y., & Tian, L. (2004). Regional homogeneity approach to fMRI data
analysis. NeuroImage, 22.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from fmnet.bold.acquired import AcquiredRun
from fmnet.data.grid import Grid
from fmnet.data.volume import MNI_SPACES, FloatArray

#: Voxels whose spectra or ranks are held in memory at a time.
BLOCK = 4096
#: Fewest voxels of a neighbourhood, a voxel and those that share a face with it; W of fewer is
#: large whatever they do.
MIN_VOXELS = 7
#: Of a seed.
RADIUS_MM = 6.0
#: Correlations are kept this far within -1 and 1: a seed of one voxel is one with itself.
MAX_R = 0.999
#: Fraction of a seed's voxels in which a run must have data.
MIN_FRACTION = 0.5
#: Below this fraction of the median one, a voxel's variation is rounding.
LEAST_NORM = 1e-6


def temporal_sd(run: AcquiredRun) -> FloatArray:
    """Compute the standard deviation of the cleaned series over time, in percent: (V,)."""
    return np.asarray(run.cleaned().std(axis=0))


def alff(run: AcquiredRun) -> FloatArray:
    """Average the amplitude within the run's band, in percent per root Hz: (V,)."""
    return _amplitudes(run)[0]


def falff(run: AcquiredRun) -> FloatArray:
    """Divide the amplitudes within the run's band by those of all frequencies: (V,)."""
    return _amplitudes(run)[1]


def _amplitudes(run: AcquiredRun) -> tuple[FloatArray, FloatArray]:
    """Compute both measures at once: (V,) each."""
    kept, t_r = run.nuisance.kept, run.stored.t_r
    frequencies = list_frequencies(kept, t_r)
    is_within = np.ones(len(frequencies), dtype=bool)
    low, high = run.cleaning.low_hz, run.cleaning.high_hz
    if low is not None:
        is_within &= frequencies >= low
    if high is not None:
        is_within &= frequencies <= high
    if not is_within.any():
        limit = "any" if high is None else f"{high:g} Hz"
        raise run.refusal(
            f"no frequency in the band from {low or 0:g} Hz to {limit}",
            f"at least one of the {len(frequencies)} frequencies that a run of {len(kept)} "
            f"volumes of {t_r:g} s has, up to {frequencies.max(initial=0):.3g} Hz",
            "widen the band, or leave out the run",
        )
    return run.once("amplitudes", lambda: band_amplitudes(run.unfiltered(), kept, t_r, is_within))


def band_amplitudes(
    series: FloatArray, kept: NDArray[np.intp], t_r: float, is_within: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Average amplitudes over a band, and divide their sum by that over all frequencies.

    Parameters
    ----------
    series : ndarray of float32, shape (T_kept, V)
        Percent of the mean; NaN where there are no data.
    kept : ndarray of int, shape (T_kept,)
        When each volume was acquired, in repetition times.
    t_r : float
        Repetition time in seconds.
    is_within : ndarray of bool, shape (F,)
        Which frequencies, see `list_frequencies`, belong to the band.

    Returns
    -------
    tuple of ndarray of float32, shape (V,)
        Percent per root Hz, and a fraction; NaN where the series doesn't vary.
    """
    mean, fraction = np.full((2, series.shape[1]), np.nan, dtype=np.float32)
    for start in range(0, series.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        amplitude = np.sqrt(power_density(series[:, block], kept, t_r))
        band, whole = amplitude[is_within].sum(axis=0), amplitude.sum(axis=0)
        varies = whole > 0
        mean[block][varies] = band[varies] / is_within.sum()
        fraction[block][varies] = band[varies] / whole[varies]
    return mean, fraction


def list_frequencies(kept: NDArray[np.intp], t_r: float) -> NDArray[np.float64]:
    """List the frequencies, in Hz, above 0 and below the Nyquist frequency: (F,)."""
    n = int(kept[-1] - kept[0]) + 1
    return np.arange(1, (n + 1) // 2) / (n * t_r)


def power_density(series: FloatArray, kept: NDArray[np.intp], t_r: float) -> FloatArray:
    """One-sided power spectral density in percent squared per Hz: (F, V), see `band_amplitudes`."""
    n_kept, n = len(kept), int(kept[-1] - kept[0]) + 1
    centred = series - series.mean(axis=0)
    if n_kept == n:
        spectrum = rfft(centred, axis=0)[1 : (n + 1) // 2]
        power = spectrum.real**2 + spectrum.imag**2
    else:
        # Power of the waves that fit best, one frequency at a time, as `rfft` scales it. Each has
        # its own origin of time, at which sine and cosine are orthogonal (Lomb, 1976, Astrophys.
        # Space Sci., 39).
        phase = 2 * np.pi / n * np.arange(1, (n + 1) // 2)[:, None] * (kept - kept[0])  # (F, T)
        shift = np.arctan2(np.sin(2 * phase).sum(axis=1), np.cos(2 * phase).sum(axis=1)) / 2
        phase -= shift[:, None]
        power = np.zeros((len(phase), centred.shape[1]), dtype=np.float32)
        for wave in (np.cos(phase), np.sin(phase)):
            scale = np.sqrt(n_kept / 2 / (wave**2).sum(axis=1))
            power += ((wave * scale[:, None]).astype(np.float32) @ centred) ** 2
    density: FloatArray = power * np.float32(2 * t_r / n_kept)
    return density


def reho(run: AcquiredRun) -> FloatArray:
    """Regional homogeneity of the cleaned series: (V,), see `kendall_w`."""
    return kendall_w(run.cleaned(), run.stored.grid)


def kendall_w(series: FloatArray, grid: Grid) -> FloatArray:
    """Kendall's coefficient of concordance of each voxel's series and its neighbours'.

    Neighbours are the up to 26 voxels that share a face, an edge or a corner with it and have data.
    Equal values have the same rank; there is no further correction for them.

    Parameters
    ----------
    series : ndarray of float32, shape (T, V)
        NaN where there are no data.

    Returns
    -------
    ndarray of float32, shape (V,)
        0 to 1; NaN where fewer than `MIN_VOXELS` voxels have data, the voxel among them.
    """
    from scipy.stats import rankdata  # slow, and other maps need not wait

    n = len(series)
    known = np.asarray(np.isfinite(series).all(axis=0))
    # over time, with a mean of 0, so that the sum over a neighbourhood deviates from 0
    ranks = np.zeros(series.shape, dtype=np.float32)
    with_data = np.flatnonzero(known)
    for start in range(0, len(with_data), BLOCK):
        block = with_data[start : start + BLOCK]
        ranks[:, block] = rankdata(series[:, block], axis=0) - (n + 1) / 2
    squares = np.zeros(grid.n_voxels)
    for of_volume in ranks:
        squares += _sum_neighbours(of_volume, grid).astype(np.float64) ** 2
    count = _sum_neighbours(known.astype(np.float32), grid)
    usable = known & (count >= MIN_VOXELS)
    w = np.full(grid.n_voxels, np.nan, dtype=np.float32)
    w[usable] = 12 * squares[usable] / (count[usable] ** 2 * float(n**3 - n))
    return w


def _sum_neighbours(values: FloatArray, grid: Grid) -> FloatArray:
    """Sum in-mask values, (V,), over cubes of three voxels' edge: (V,)."""
    box = np.pad(grid.unmask(values), 1)
    for axis in range(3):
        lines = np.moveaxis(box, axis, 0)
        box = np.moveaxis(lines[:-2] + lines[1:-1] + lines[2:], 0, axis)
    inside: FloatArray = box[grid.mask]
    return inside


@dataclass(frozen=True)
class Seed:
    """A sphere in the brain.

    Parameters
    ----------
    name : str
        Of the seed.
    centre_mm : tuple of float
        Coordinates in MNI space, in mm: to the right, to the front, upwards.
    """

    name: str
    centre_mm: tuple[float, float, float]

    def correlation(self, run: AcquiredRun) -> FloatArray:
        """Fisher's z of each voxel's correlation with the seed's mean series: (V,).

        Raises
        ------
        VolumeError
            If the run isn't in MNI space, the seed lies outside the mask, or the run has no data
            there.
        """
        grid = run.stored.grid
        centre = ", ".join(f"{mm:g}" for mm in self.centre_mm)
        where = f"seed '{self.name}' at ({centre}) mm"
        if grid.space not in MNI_SPACES:
            action = "normalise the run to MNI152, or leave the seed out"
            raise run.refusal(f"{where} in space '{grid.space}'", "a run in MNI space", action)
        voxels = seed_voxels(grid, self.centre_mm)
        if not len(voxels):
            accepted, action = "a seed inside the template's mask", "correct its coordinates"
            raise run.refusal(f"{where}, outside the mask", accepted, action)
        series = run.cleaned()
        covered = float(np.isfinite(series[:, voxels]).all(axis=0).mean())
        if covered < MIN_FRACTION:
            found = f"data in {covered:.0%} of the {len(voxels)} voxels of {where}"
            action = "leave the seed or the run out"
            raise run.refusal(found, f"{MIN_FRACTION:.0%} at least", action)
        return correlate(series, voxels)


def seed_voxels(grid: Grid, centre_mm: tuple[float, float, float]) -> NDArray[np.intp]:
    """Find the in-mask voxels, counted in the mask, that make up a seed.

    They are those whose centre lies within `RADIUS_MM`. If there are none, as on a coarse grid,
    those nearest to the seed are taken, unless they are further away than a voxel's diagonal.
    """
    positions_mm = np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    distance = np.linalg.norm(positions_mm - np.array(centre_mm), axis=1)
    nearest = float(distance.min(initial=np.inf))
    if nearest > max(RADIUS_MM, float(np.linalg.norm(grid.voxel_size_mm))):
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero(distance <= max(RADIUS_MM, nearest + 1e-6))


def correlate(series: FloatArray, voxels: NDArray[np.intp]) -> FloatArray:
    """Fisher's z of each voxel's correlation with the mean of some voxels.

    Parameters
    ----------
    series : ndarray of float32, shape (T, V)
        NaN where there are no data.
    voxels : ndarray of int, shape (n,)
        Which make up the seed; those without data don't count.

    Returns
    -------
    ndarray of float32, shape (V,)
        NaN where there are no data or nothing varies.
    """
    seed = np.nanmean(series[:, voxels].astype(np.float64), axis=1)
    seed -= seed.mean()
    centred = series - series.mean(axis=0)
    norm = np.sqrt(np.einsum("tv,tv->v", centred, centred)) * np.linalg.norm(seed)
    known = norm > LEAST_NORM * np.nanmedian(norm)
    r = np.full(series.shape[1], np.nan, dtype=np.float32)
    r[known] = (seed.astype(np.float32) @ centred)[known] / norm[known]
    z: FloatArray = np.arctanh(np.clip(r, -MAX_R, MAX_R))
    return z
