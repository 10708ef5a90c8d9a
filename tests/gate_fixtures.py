"""Made-up maps of many people, alike enough for gates to be fitted to them."""

import numpy as np

from fmnet.data.grid import Grid
from fmnet.data.resample import smooth_values

CONTRASTS = ("pressure", "visual")
#: Voxels of 20 mm, more to the front than to the back, with a corner that is missing on the left.
SHAPE = (8, 9, 10)


def lopsided_grid() -> Grid:
    x, y, z = np.indices(SHAPE)
    mask = ((x - 3.5) / 4) ** 2 + ((y - 4) / 4.6) ** 2 + ((z - 4.5) / 5) ** 2 <= 1
    affine = np.diag([20.0, 20.0, 20.0, 1.0])
    affine[:3, 3] = -70.0, -80.0, -90.0
    return Grid(mask, affine, "MNI152")


def draw_people(grid: Grid, n: int, seed: int, spread: float = 0.6) -> np.ndarray:
    """Draw maps, (N, C, V): a pattern that all share, and each person's own."""
    pattern = np.random.default_rng(1).normal(size=(1, len(CONTRASTS), grid.n_voxels))
    own = np.random.default_rng(seed).normal(size=(n, len(CONTRASTS), grid.n_voxels))
    maps = smooth_values((pattern + spread * own).astype(np.float32), grid, 30.0)
    return maps * np.array([[3.0], [40.0]], np.float32)


def flipped(values: np.ndarray, grid: Grid, axis: int) -> np.ndarray:
    """Flip maps, (..., V), in the box of the grid, as another affine does."""
    image = grid.unmask(values, np.nan)
    return np.flip(image, image.ndim - 3 + axis)[..., grid.mask]
