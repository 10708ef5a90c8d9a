import numpy as np
import pytest

from fmnet.inference.orientation import (
    FLIPS,
    PENALTY,
    antisymmetric,
    aspect_of,
    aspects_of,
    displaced,
    fit_discriminant,
    fit_flip,
    flip_score,
    flipped_voxels,
)
from tests.gate_fixtures import draw_people, flipped, lopsided_grid

GRID = lopsided_grid()


@pytest.mark.parametrize("axis", FLIPS.values())
def test_flipping_twice_leads_back(axis):
    other = flipped_voxels(GRID, axis)
    inside = other >= 0
    np.testing.assert_array_equal(other[other[inside]], np.flatnonzero(inside))
    values = np.arange(GRID.n_voxels, dtype=np.float32)
    np.testing.assert_array_equal(values[other][inside], flipped(values, GRID, axis)[inside])


def test_left_and_right_are_flipped_about_the_middle_of_the_template():
    x = np.argwhere(GRID.mask)[:, 0] * 20.0 - 70.0
    other = flipped_voxels(GRID, 0)
    np.testing.assert_array_equal(x[other][other >= 0], -x[other >= 0])


def test_symmetric_maps_have_no_antisymmetric_part():
    values = draw_people(GRID, 1, seed=0)[0]
    mirrored = values[:, flipped_voxels(GRID, 0)]
    np.testing.assert_allclose(antisymmetric(values + mirrored, GRID, 0), 0, atol=1e-4)
    np.testing.assert_allclose(
        antisymmetric(values, GRID, 0), -antisymmetric(mirrored, GRID, 0), atol=1e-4
    )


def test_aspects_know_neither_scale_nor_missing_voxels():
    values = draw_people(GRID, 1, seed=1)[0]
    values[0, 5] = np.nan
    for aspect in (0, 1):
        found = aspect_of(values, aspect)
        np.testing.assert_allclose(found, aspect_of(values * 7, aspect), rtol=1e-4, atol=1e-4)
        assert np.isnan(found[0, 5])
    assert aspect_of(values, 2)[:, 5].tolist() == [0, 1]


def test_maps_are_moved_by_millimetres():
    y = np.broadcast_to(np.argwhere(GRID.mask)[:, 1] * 20.0 - 80.0, (2, GRID.n_voxels))
    moved = displaced(y.astype(np.float32), GRID, 1, 8.0)
    known = np.isfinite(moved)
    assert 0.8 < known.mean() <= 1
    inner = known & (np.abs(np.argwhere(GRID.mask) - [3.5, 4, 4.5]) < 2).all(axis=1)
    np.testing.assert_allclose(moved[inner], y[inner] - 8.0, atol=1e-3)


def test_left_out_scores_are_those_of_weights_of_the_others():
    rng = np.random.default_rng(2)
    parts = (rng.normal(size=(12, 50)) + 0.5).astype(np.float32)
    people = np.array([0, 0, *range(1, 11)])
    found = fit_discriminant(parts, people)
    others, size = parts[2:], PENALTY * np.trace(parts @ parts.T) / 12
    solved = np.linalg.solve(others @ others.T + size * np.eye(10), np.ones(10))
    np.testing.assert_allclose(found.left_out[:2], parts[:2] @ (solved @ others), rtol=1e-4)


def test_flipped_people_are_told_from_others():
    weights, left_out = fit_flip(draw_people(GRID, 30, seed=3), GRID, 2, np.arange(30))
    assert left_out.shape == (3, 30)
    assert left_out[0].mean() == pytest.approx(1)
    new = draw_people(GRID, 20, seed=4)
    right = [flip_score(aspects_of(scan), weights, GRID, 2) for scan in new]
    wrong = [flip_score(aspects_of(flipped(scan, GRID, 2)), weights, GRID, 2) for scan in new]
    assert min(right) > 0 > max(wrong)


def test_maps_that_nothing_tells_from_flipped_ones_have_no_weights():
    values = draw_people(GRID, 16, seed=5)
    other = flipped_voxels(GRID, 0)
    mirrored = np.where(other >= 0, values[..., other], np.nan)
    weights, left_out = fit_flip((values + mirrored).astype(np.float32), GRID, 0, np.arange(16))
    assert np.abs(left_out[0]).max() < 1e3
    assert np.isfinite(weights).all()
