import numpy as np
import pytest

from benchmarks.power.backgrounds import draw_backgrounds
from benchmarks.power.planted import Planter
from benchmarks.power.regimes import AMPLITUDES


@pytest.fixture(scope="session")
def made():
    """Forty made-up people on voxels of 12 mm."""
    return draw_backgrounds(40, 12, seed=1)


@pytest.fixture(scope="session")
def plant(made):
    """Draw a cohort with effects several times as strong as usual."""

    def draw(regime, number=0, scale=4.0, n=40):
        sizes = {name: scale * size for name, size in AMPLITUDES.items()}
        return Planter(made, sizes, radius_mm=15.0).draw(regime, n, number)

    return draw


@pytest.fixture(autouse=True)
def few_patches(monkeypatch):
    """Know few places of the cortex, as they take long to find."""
    monkeypatch.setattr("benchmarks.signature.candidates.N_PATCHES", 60)


@pytest.fixture
def rng():
    return np.random.default_rng(5)
