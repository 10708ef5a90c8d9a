from dataclasses import replace

import numpy as np
import pytest

from benchmarks.power.regimes import (
    AMPLITUDES,
    NAMES,
    REGIMES,
    Condition,
    Scene,
    list_conditions,
)
from fmnet.data.resample import smooth_values

LABELS = np.repeat([1, 0], [60, 50])


@pytest.fixture
def scene(brain):
    spread = np.random.default_rng(5).uniform(1, 4, (2, brain.grid.n_voxels)).astype(np.float32)
    return Scene(brain, spread, 0.8)


@pytest.fixture
def planted(scene):
    """Plant a regime and give back what was added, in SDs: (N, C, V)."""

    def plant(regime, seed=3, **changes):
        drawn = np.random.default_rng(seed)
        effect = REGIMES[regime](replace(scene, **changes), drawn)
        added = effect.added(LABELS, drawn)
        return effect, added / scene.noise_sd[: added.shape[1]]

    return plant


def regions_of(effect, contrast):
    """Voxels of each region: what its pattern is not 0 in."""
    shapes = effect.patterns[:, contrast]
    return [shape != 0 for shape in shapes if shape.any()]


def signs_in(added, region):
    """Each person's value in a region in SDs, which has to be the same all over it: (N,)."""
    inside = added[:, region]
    np.testing.assert_allclose(inside, np.broadcast_to(inside[:, :1], inside.shape), atol=1e-5)
    return inside[:, 0]


def test_every_regime_has_a_name_and_an_amplitude():
    assert set(NAMES) == set(REGIMES) == set(AMPLITUDES)
    assert AMPLITUDES["null"] == 0


@pytest.mark.parametrize("regime", NAMES)
def test_seeds_decide_and_amplitude_scales(planted, regime):
    effect, added = planted(regime)
    assert np.array_equal(planted(regime)[1], added)
    np.testing.assert_allclose(planted(regime, amplitude=1.6)[1], 2 * added, atol=1e-5)
    assert added.shape == (110, 2 if regime == "two_contrasts" else 1, effect.patterns.shape[2])
    if regime != "null":
        assert not np.array_equal(planted(regime, seed=4)[1], added)


def test_null_adds_nothing(planted):
    assert not planted("null")[1].any()


def test_aligned_is_the_same_in_all_patients(planted):
    effect, added = planted("aligned")
    assert not added[LABELS == 0].any()
    assert (added[LABELS == 1] == added[0]).all()
    assert set(np.unique(added.round(4))) == {np.float32(-0.8), 0, np.float32(0.8)}
    assert (added[0] != 0).sum() == pytest.approx(9 * 57, rel=0.05)
    assert len(effect.patient) == 1


def test_shifted_moves_all_regions_of_a_patient_together(planted, brain, scene):
    effect, added = planted("shifted")
    assert not added[LABELS == 0].any()
    strength = np.abs(added[LABELS == 1, 0])
    middle = strength @ brain.places / strength.sum(axis=1, keepdims=True)
    moved = middle - effect.centres.mean(axis=0)
    assert np.sqrt((moved**2).sum(axis=1).mean()) == pytest.approx(scene.jitter_mm, rel=0.2)
    assert np.abs(moved.mean(axis=0)).max() < 2
    assert effect.patterns.shape[0] == len(effect.patient) == 200
    still, _ = planted("shifted", jitter_mm=0.0)
    assert (still.patterns == still.patterns[0]).all()


def test_shifts_of_patients_are_not_those_that_the_truth_was_sampled_with(planted, scene):
    effect, added = planted("shifted")
    known = {pattern.tobytes() for pattern in effect.patterns[:, 0] != 0}
    assert not any((row != 0).tobytes() in known for row in added[LABELS == 1, 0])


def test_varied_shows_five_regions_of_nine(planted):
    effect, added = planted("varied")
    assert not added[LABELS == 0].any()
    shown = np.stack([signs_in(added[:60, 0], r) for r in regions_of(effect, 0)], axis=1) != 0
    assert shown.shape == (60, 9)
    assert (shown.sum(axis=1) == 5).all()
    assert np.abs(shown.mean(axis=0) - 5 / 9).max() < 0.25
    assert len(np.unique(effect.patient, axis=0)) == 126


def test_interaction_shows_in_the_product_of_two_regions_alone(planted):
    effect, added = planted("interaction")
    first, second = (signs_in(added[:, 0], region) for region in regions_of(effect, 0))
    np.testing.assert_allclose(first * second, np.where(LABELS, 0.64, -0.64), rtol=1e-4)
    for region in (first, second):
        assert np.abs(np.abs(region) - 0.8).max() < 1e-4
        assert abs(region[LABELS == 1].mean() - region[LABELS == 0].mean()) < 0.5
    # exactly so over hidden states: neither mean nor variance tells patients from controls
    assert not effect.patient.mean(axis=0).any()
    assert not effect.control.mean(axis=0).any()
    assert np.array_equal((effect.patient**2).mean(axis=0), (effect.control**2).mean(axis=0))


def test_widespread_field_is_smooth_and_of_unit_size(planted, brain):
    _, added = planted("widespread")
    assert not added[LABELS == 0].any()
    field = added[0, 0]
    assert np.sqrt(np.mean(field**2)) == pytest.approx(0.8, rel=1e-4)
    smoothed = smooth_values(field, brain.grid, 8.0)
    assert np.corrcoef(field, smoothed)[0, 1] > 0.95


def test_widespread_takes_a_template(planted, rng):
    size = planted("null")[1].shape[2]
    template = rng.normal(size=size).astype(np.float32)
    _, added = planted("widespread", template=template)
    np.testing.assert_allclose(
        added[0, 0], 0.8 * template / np.sqrt(np.mean(template**2)), rtol=1e-3
    )


def test_two_contrasts_agree_in_patients_and_differ_in_controls(planted):
    effect, added = planted("two_contrasts")
    regions = regions_of(effect, 0)
    assert len(regions) == 9
    for region in regions:
        first, second = signs_in(added[:, 0], region), signs_in(added[:, 1], region)
        np.testing.assert_allclose(first * second, np.where(LABELS, 0.64, -0.64), rtol=1e-4)
    # within either contrast, the same states are equally probable in both groups
    for contrast in (slice(0, 9), slice(9, 18)):
        patient, control = effect.patient[:, contrast], effect.control[:, contrast]
        assert np.array_equal(np.unique(patient, axis=0), np.unique(control, axis=0))
        assert len(np.unique(patient, axis=0)) == 512


def test_conditions_are_named_by_what_is_not_usual():
    assert Condition("aligned").label == "aligned"
    assert Condition("shifted", 5.0, 1.6).label == "shifted_5mm_x1.6"
    assert Condition("widespread", amplitude_scale=0.6).label == "widespread_x0.6"


def test_regimes_are_crossed_with_what_means_something_in_them():
    found = list_conditions(["null", "widespread", "cortical_sheets"], [5, 9], [1, 0.6])
    assert [one.label for one in found] == [
        "null",
        "widespread",
        "widespread_x0.6",
        "cortical_sheets_5mm",
        "cortical_sheets_5mm_x0.6",
        "cortical_sheets",
        "cortical_sheets_x0.6",
    ]


def test_sheets_are_raised_or_lowered_where_they_fill_a_voxel(planted):
    _, added = planted("cortical_sheets")
    assert not added[LABELS == 0].any()
    assert (added[LABELS == 1] == added[0]).all()
    assert added.max() <= 0.8001
    assert added.min() >= -0.8001
    filled = np.abs(added[0, 0]) / 0.8
    # nine discs of 13.5 mm radius and 3.5 mm thickness, in voxels of 64 cubic mm
    assert filled.sum() == pytest.approx(9 * np.pi * 13.5**2 * 3.5 / 64, rel=0.5)
    assert ((filled > 0) & (filled < 0.9)).sum() > (filled > 0.9).sum()
