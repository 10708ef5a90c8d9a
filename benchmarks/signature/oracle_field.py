"""The oracle's map where something smooth lies all over the brain: its expected value."""

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator, cg

from benchmarks.power.planted import PlantedCohort
from benchmarks.signature.noise import Floats, contrast_of, weigh_difference
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.synthetic.effects import FWHM_PER_SD, draw_fields, unit_rms

#: Random fields, as smooth as what is planted, by which the size of noise is calibrated.
N_FIELDS = 40
#: Steps of the solver at most.
N_STEPS = 300


def smoothness_of(values: FloatArray, grid: Grid) -> float:
    """Estimate how smooth a map, (V,), is: full width of a Gaussian that would leave it so, in mm.

    From how alike neighbours are, if white noise had been smoothed.
    """
    volume, total, count = grid.unmask(values.astype(np.float32)), 0.0, 0
    for axis in range(3):
        both = np.moveaxis(grid.mask, axis, 0)[1:] & np.moveaxis(grid.mask, axis, 0)[:-1]
        moved = np.moveaxis(volume, axis, 0)
        total += float(((moved[1:] - moved[:-1])[both] ** 2).sum())
        count += int(both.sum())
    alike = np.clip(1 - total / count / 2 / float((values**2).mean()), 1e-3, 1 - 1e-6)
    sd_mm = grid.voxel_size_mm[0] / np.sqrt(-4 * np.log(alike))
    return float(sd_mm * np.sqrt(8 * np.log(2)))


def expect_field(planted: PlantedCohort, rng: Generator) -> Floats:
    """Mean of what the groups' difference may be, in SDs of the voxels, given the maps: (V,).

    It knows the size and the smoothness of what is planted, which it takes for a normally
    distributed field.
    """
    grid, effect = planted.grid, planted.effect
    shape = effect.patterns[0, 0]
    fwhm_mm = smoothness_of(shape, grid)
    fields = np.stack([unit_rms(one) for one in draw_fields(rng, grid, N_FIELDS, fwhm_mm)])
    noise = weigh_difference(planted, fields, rng)
    spread, variance = noise.spread, noise.variance
    scale = np.asarray(effect.size * effect.noise_sd, dtype=np.float32).ravel() * spread.weight
    beyond = (spread.share / (1 - spread.share) * spread.rest * variance)[:, None]

    def smooth(values: FloatArray) -> FloatArray:
        return _covary(values, grid, fwhm_mm)

    def covary(values: FloatArray) -> FloatArray:
        """Multiply by the covariance of what is seen: of the effect and of the backgrounds."""
        flat = values.ravel().astype(np.float32)
        along = spread.axes.T @ (beyond[:, 0] * (spread.axes @ flat))
        return scale * smooth(scale * flat) + along + spread.rest * variance * flat

    seen = (contrast_of(planted.labels) @ planted.values[:, 0]) * spread.weight
    operator = LinearOperator((len(seen), len(seen)), matvec=covary, dtype=np.float32)
    solved, _ = cg(operator, seen.astype(np.float32), rtol=1e-3, maxiter=N_STEPS)
    return np.asarray(smooth(scale * solved), dtype=float)


def _covary(values: FloatArray, grid: Grid, fwhm_mm: float) -> FloatArray:
    """Multiply in-mask values, (V,), by the covariance of fields of that smoothness and SD 1."""
    # smoothed noise is as alike as a kernel that is wider by the root of 2 has it
    sd_voxels = fwhm_mm / FWHM_PER_SD * np.sqrt(2) / np.array(grid.voxel_size_mm)
    peak = np.prod(np.sqrt(2 * np.pi) * sd_voxels)
    blurred = gaussian_filter(grid.unmask(values), sd_voxels, mode="constant", truncate=5)
    return np.asarray(blurred[grid.mask] * peak, dtype=np.float32)
