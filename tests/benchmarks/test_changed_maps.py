import numpy as np
import pytest

from benchmarks.changed_maps import (
    CHANGES,
    SYNTHETIC_CHANGES,
    UNCHANGED,
    flip,
    move,
    remove_half,
    roughen,
    smooth,
    to_confidence,
    to_t,
)
from fmnet.data.volume import Volume

AFFINE = np.array([[8.0, 0, 0, -28], [0, 8, 0, -36], [0, 0, 8, -20], [0, 0, 0, 1]])
SHAPE = (7, 8, 9)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def volume(rng):
    """A brain of 5 x 6 x 5 voxels that doesn't lie in the middle of its box."""
    data = np.full((1, *SHAPE), np.nan, np.float32)
    data[0, 1:6, 2:8, 1:6] = rng.normal(size=(5, 6, 5)) + 0.5
    return Volume(data, AFFINE, "MNI152")


@pytest.mark.parametrize("name", [name for name in SYNTHETIC_CHANGES if name != UNCHANGED])
def test_each_change_gives_another_map_of_the_same_form(name, volume, rng):
    before = volume.data.copy()
    changed = SYNTHETIC_CHANGES[name](volume, rng)
    assert changed.data.shape == volume.data.shape
    assert np.array_equal(changed.affine, volume.affine)
    assert not np.array_equal(changed.data, before, equal_nan=True)
    assert np.array_equal(volume.data, before, equal_nan=True)
    assert np.isfinite(changed.data).any()


def test_no_change_leaves_the_map(volume, rng):
    assert CHANGES[UNCHANGED](volume, rng) is volume


@pytest.mark.parametrize(("axis", "own"), [(0, slice(1, 6)), (1, slice(2, 8)), (2, slice(1, 6))])
def test_content_is_turned_round_about_the_middle_of_the_brain(axis, own, volume, rng):
    turned = flip(volume, rng, axis).data
    assert np.array_equal(np.isfinite(turned), np.isfinite(volume.data))
    at = (slice(None),) * (axis + 1)
    expected = np.flip(volume.data[(*at, own)], 1 + axis)
    assert np.array_equal(turned[(*at, own)], expected, equal_nan=True)


def test_content_moves_by_the_distance(rng):
    data = np.full((1, 23, 24, 25), np.nan, np.float32)
    data[0, 8:15, 8:15, 8:15] = 1.0
    moved = move(Volume(data, AFFINE, "MNI152"), rng, distance_mm=20.0).data[0]
    middle = np.argwhere(np.isfinite(moved)).mean(axis=0) - 11
    assert np.linalg.norm(middle) * 8 == pytest.approx(20, abs=6)


@pytest.mark.parametrize(("axis", "n_left"), [(0, 3 * 6 * 5), (1, 5 * 3 * 5), (2, 5 * 6 * 3)])
@pytest.mark.parametrize("upper", [False, True])
def test_half_of_the_brain_goes(axis, n_left, upper, volume, rng):
    left = np.isfinite(remove_half(volume, rng, axis, upper).data[0])
    assert left.sum() == n_left
    where = np.argwhere(left)[:, axis]
    middle = np.median(np.argwhere(np.isfinite(volume.data[0]))[:, axis])
    assert (where <= middle).all() if upper else (where >= middle).all()


def test_noise_keeps_the_size_and_smoothing_lessens_it(rng):
    data = rng.normal(size=(1, 17, 18, 19)).astype(np.float32)
    one = Volume(data, AFFINE, "MNI152")
    rough, soft = roughen(one, rng, noise=1.0), smooth(one, rng, fwhm_mm=16.0)
    assert rough.data.std() == pytest.approx(1, abs=0.05)
    assert np.corrcoef(rough.data.ravel(), data.ravel())[0, 1] == pytest.approx(0.71, abs=0.05)
    assert soft.data.std() < 0.5


def test_other_statistics_keep_what_they_ought_to(volume, rng):
    known = np.isfinite(volume.data)
    t, z = to_t(volume, rng, freedom=8).data[known], volume.data[known]
    assert np.array_equal(np.argsort(t), np.argsort(z))
    assert (np.abs(t) >= np.abs(z)).all()
    confidence = to_confidence(volume, rng).data[known]
    assert confidence.min() >= 0
    assert confidence.max() <= 1
