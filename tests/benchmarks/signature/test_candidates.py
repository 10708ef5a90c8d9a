import numpy as np
import pytest

from benchmarks.power.regions import APART_MM, Brain
from benchmarks.signature.candidates import list_candidates


def test_balls_are_those_that_are_planted(made, rng):
    brain = Brain(made.grid)
    found = list_candidates("aligned", made.grid, 15.0, 8.0)
    chosen = rng.integers(len(found.middles), size=5)
    balls = brain.balls(found.middles[chosen], 15.0)
    np.testing.assert_array_equal(found.shapes[chosen].toarray(), balls)
    np.testing.assert_array_equal(found.painted[chosen].toarray(), balls)


def test_varied_regions_are_shown_by_some(made):
    found = list_candidates("varied", made.grid, 15.0, 8.0)
    assert found.shapes.max() == pytest.approx(5 / 9)
    assert found.painted.max() == 1


def test_shifted_region_is_what_shifts_leave_of_it(made, rng):
    """Beside the mean of balls around many shifted middles."""
    found = list_candidates("shifted", made.grid, 15.0, 9.0)
    brain, one = Brain(made.grid), len(found.middles) // 2
    shifts = rng.normal(0, 9.0 / np.sqrt(3), (4000, 3))
    mean = brain.balls(found.middles[one] + shifts, 15.0).mean(axis=0)
    shape = found.shapes[[one]].toarray()[0]
    np.testing.assert_allclose(shape[shape > 0], mean[shape > 0], atol=0.03)
    assert mean[shape == 0].max() < 0.05


def test_patches_of_cortex_fill_parts_of_voxels(made):
    found = list_candidates("cortical_sheets", made.grid, 9.0, 8.0)
    assert 0 < found.shapes.max() <= 1
    assert (found.shapes.sum(axis=1) > 0).mean() > 0.95
    assert found.painted.nnz == found.shapes.nnz


def test_places_too_near_to_others_are_taken(made):
    found = list_candidates("aligned", made.grid, 15.0, 8.0)
    assert found.far_from(np.zeros((0, 3))).all()
    free = found.far_from(found.middles[[3]])
    distance = np.linalg.norm(found.middles - found.middles[3], axis=1)
    np.testing.assert_array_equal(free, distance >= APART_MM)
