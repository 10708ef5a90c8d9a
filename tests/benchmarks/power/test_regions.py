import numpy as np
import pytest
from scipy.spatial.distance import pdist

from benchmarks.power.regions import Brain
from fmnet.errors import ConfigError


def test_balls_hold_the_voxels_within_their_radius(brain):
    inside = brain.places[np.argmax(brain.depth)]
    (ball, nothing) = brain.balls(np.stack([inside, [500.0, 0, 0]]), 9.0)
    distance = np.linalg.norm(brain.places - inside, axis=1)
    assert np.array_equal(ball == 1, distance <= 9)
    assert ball.sum() == 57  # lattice points within 9 / 4 voxels
    assert not nothing.any()


def test_centres_lie_deep_and_apart(brain, rng):
    for _ in range(5):
        centres = brain.draw_centres(9, rng)
        assert pdist(centres).min() >= 24
        rows = [np.flatnonzero((brain.places == centre).all(axis=1)).item() for centre in centres]
        assert (brain.depth[rows] > 8).all()


def test_depth_counts_the_end_of_the_grid_as_outside(grid):
    depth = grid.unmask(Brain(grid).depth.astype(np.float32))
    assert depth[0][grid.mask[0]].max() == 20
    assert depth.max() > 40


def test_no_room_is_said(grid, rng):
    with pytest.raises(ConfigError, match="found no 400 places 24 mm apart and 8 mm deep"):
        Brain(grid).draw_centres(400, rng)
