import numpy as np
import pytest

from benchmarks.power.backgrounds import Backgrounds
from benchmarks.power.regions import Brain
from fmnet.data.template import build_grid


@pytest.fixture(scope="session")
def brain():
    """The template's brain in voxels of 4 mm."""
    return Brain(build_grid(4))


@pytest.fixture
def backgrounds(grid):
    """Twelve people's maps, each voxel with a mean and a spread of its own."""
    rng = np.random.default_rng(7)
    scale = rng.uniform(1, 3, grid.n_voxels)
    values = (rng.normal(size=(12, grid.n_voxels)) * scale + rng.normal(size=grid.n_voxels)).astype(
        np.float32
    )
    return Backgrounds(values, grid, "made by hand")
