import numpy as np
import pytest

from fmnet.synthetic.effects import (
    HALF,
    Effect,
    Region,
    both_sides,
    draw_field,
    draw_fields,
    sum_blobs,
    unit_rms,
)

IS_PATIENT = [True, False, True]


def test_size_is_in_standard_deviations_of_the_noise(rng):
    """Of two contrasts of five voxels, whose noise differs from voxel to voxel."""
    noise_sd = rng.uniform(1, 4, (2, 5))
    pattern = rng.normal(size=(1, 2, 5))
    effect = Effect(pattern, 0.5, noise_sd)
    np.testing.assert_allclose(effect.sized[0] / noise_sd, 0.5 * pattern[0])
    values = rng.normal(size=(3, 2, 5))
    values[0, 1, 3] = np.nan
    expected = values.copy()
    expected[[0, 2]] += 0.5 * noise_sd * pattern[0]
    np.testing.assert_array_equal(effect.plant(values, IS_PATIENT), expected)


def test_groups_may_lie_on_either_side():
    effect = Effect(np.ones(1), 0.3, patient=HALF, control=-HALF)
    np.testing.assert_allclose(effect.plant(np.full(3, 2.0), IS_PATIENT), [2.15, 1.85, 2.15])


def test_hidden_states_are_equally_probable(rng):
    patient = np.array([[1, 0], [0, 1], [1, 1], [2, 0]])
    effect = Effect(np.eye(2), patient=patient, control=np.zeros((1, 2)))
    strengths = effect.strengths([True] * 4000, rng)
    shown, counts = np.unique(strengths, axis=0, return_counts=True)
    assert {tuple(row) for row in shown} == {tuple(row) for row in patient}
    assert np.abs(counts / 4000 - 0.25).max() < 0.03
    assert not effect.strengths([False] * 10, rng).any()
    with pytest.raises(ValueError, match="several hidden states needs random numbers"):
        effect.strengths(IS_PATIENT)


def test_blobs_peak_where_they_are_put(grid):
    place = (3, 4, 5)
    centre = grid.affine[:3, :3] @ place + grid.affine[:3, 3]
    blob = sum_blobs(grid, [(centre, -2.0)], 20.0)
    assert np.unravel_index(blob.argmin(), grid.shape) == place
    assert blob.min() == pytest.approx(-2)
    step = abs(grid.affine[0, 0])
    assert blob[4, 4, 5] == pytest.approx(-2 * np.exp(-(step**2) / 800))


def test_sides_are_mirror_images():
    assert both_sides((40, 6, 0)) == ((-40, 6, 0), (40, 6, 0))
    assert Region("insula", "left", both_sides((40, 6, 0))[0], 1).centre_mm[0] < 0


def test_fields_are_smooth_and_their_standard_deviation_is_one(grid):
    fields = draw_fields(np.random.default_rng(0), grid, 400, 45.0)
    assert fields.std(axis=0) == pytest.approx(1, abs=0.2)
    one = draw_field(np.random.default_rng(1), grid, 45.0)
    assert one.shape == grid.shape
    assert np.corrcoef(one[1:].ravel(), one[:-1].ravel())[0, 1] > 0.5


def test_a_field_of_no_width_is_white(grid):
    white = draw_fields(np.random.default_rng(2), grid, 300, 0.0)
    r = np.corrcoef(white[:, 0], white[:, 1])[0, 1]
    assert abs(r) < 0.2
    assert white.std() == pytest.approx(1, abs=0.02)


def test_fields_are_scaled_to_a_root_mean_square_of_one(rng):
    assert np.mean(unit_rms(rng.normal(3, 2, 50)) ** 2) == pytest.approx(1)
