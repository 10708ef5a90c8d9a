from dataclasses import replace

import numpy as np
import pytest

from benchmarks.power.contender import draw_folds
from benchmarks.power.planted import Planter, pair_up
from benchmarks.power.regimes import AMPLITUDES, NAMES, REGIONAL, TEMPLATED, Condition
from fmnet.inference.preparation import PreparationSettings


@pytest.fixture
def planter(backgrounds):
    return Planter(backgrounds, AMPLITUDES | {"aligned": 2.0})


def test_null_changes_nothing(planter):
    drawn = planter.draw("null", 10, 0)
    assert np.array_equal(drawn.values, drawn.background)
    known = {row.tobytes() for row in planter.backgrounds.values}
    assert all(row.tobytes() in known for row in drawn.values[:, 0])


@pytest.mark.parametrize("regime", NAMES)
def test_same_seed_same_cohort(planter, regime):
    one, again = planter.draw(regime, 11, 2), planter.draw(regime, 11, 2)
    assert np.array_equal(one.values, again.values)
    assert np.array_equal(one.labels, again.labels)
    assert (one.families, one.seed) == (again.families, again.seed)
    assert one.labels.sum() == 5
    others = [planter.draw(regime, 11, 3), replace(planter, seed=1).draw(regime, 11, 2)]
    assert all(other.seed != one.seed for other in others)
    assert all(not np.array_equal(other.background, one.background) for other in others)


def test_regimes_draw_independently(planter):
    drawn = [planter.draw(regime, 12, 0) for regime in NAMES]
    assert len({tuple(one.families) for one in drawn}) == len(NAMES)
    assert len({tuple(one.labels) for one in drawn}) == len(NAMES)


def test_effect_is_measured_in_the_spread_of_the_people(planter, backgrounds):
    drawn = planter.draw("aligned", 10, 0)
    steps = (drawn.values - drawn.background)[:, 0] / backgrounds.values.std(axis=0)
    assert not steps[drawn.labels == 0].any()
    assert np.abs(steps[drawn.labels == 1]).max() == pytest.approx(2, rel=1e-3)


def test_a_map_and_its_mirror_image_are_family(planter, backgrounds):
    drawn = planter.draw("null", 20, 0)
    owner = {row.tobytes(): k for k, row in enumerate(backgrounds.values)}
    owner |= {row.tobytes(): k for k, row in enumerate(backgrounds.mirrored)}
    owners = [owner[row.tobytes()] for row in drawn.values[:, 0]]
    assert len(set(owners)) == 12
    assert drawn.families == tuple(map(str, owners))


def test_second_contrast_is_the_mirror_image_of_anothers_map_in_the_family(planter, backgrounds):
    drawn = planter.draw("two_contrasts", 20, 0)
    owner = {row.tobytes(): (k, 0) for k, row in enumerate(backgrounds.values)}
    owner |= {row.tobytes(): (k, 1) for k, row in enumerate(backgrounds.mirrored)}
    first = [owner[row.tobytes()] for row in drawn.background[:, 0]]
    second = [owner[row.tobytes()] for row in drawn.background[:, 1]]
    family = {person: name for (person, _), name in zip(first, drawn.families, strict=True)}
    assert len(set(drawn.families)) == 6
    for (one, is_mirrored), (other, is_other) in zip(first, second, strict=True):
        assert one != other
        assert family[one] == family[other]
        assert is_mirrored != is_other


def test_odd_people_make_a_group_of_three(rng):
    partner, family = pair_up(np.arange(7), rng)
    assert sorted(partner) == sorted(partner.values()) == list(range(7))
    assert all(partner[k] != k and family[partner[k]] == family[k] for k in range(7))
    assert sorted(np.bincount(list(family.values()))) == [2, 2, 3]


@pytest.mark.parametrize("regime", ["aligned", "two_contrasts"])
def test_folds_never_divide_a_family(planter, regime):
    drawn = planter.draw(regime, 20, 1)
    family = dict(zip(drawn.cohort.participant_ids, drawn.families, strict=True))
    folds = draw_folds(drawn)
    assert len(folds) == 5
    for fold in folds:
        parts = [fold.test, *fold.validation]
        names = [{family[person] for person in part} for part in parts]
        assert len(parts) == 4
        assert sum(map(len, names)) == len(set.union(*names))


def test_models_see_labels_and_values_in_the_same_order(planter):
    drawn = planter.draw("two_contrasts", 12, 0)
    data = drawn.prepare(PreparationSettings(fwhm_mm=0.0))
    assert np.array_equal(data.cohort.labels, drawn.labels)
    assert np.array_equal(data.values, drawn.values)
    assert data.contrasts == ("contrast1", "contrast2")


def test_description_holds_what_a_regime_depends_on(planter, backgrounds):
    size = backgrounds.values.shape[1]
    field = np.ones((1, size), np.float32)
    changed = {
        "jitter": replace(planter, jitter_mm=1.0),
        "radius": replace(planter, radius_mm=1.0),
        "templates": replace(planter, templates=field),
        "amplitude": replace(planter, amplitudes=planter.amplitudes | {"varied": 5.0}),
        "seed": replace(planter, seed=1),
    }
    touched = {
        name: {one for one in NAMES if other.describe(one) != planter.describe(one)}
        for name, other in changed.items()
    }
    assert touched["jitter"] == {"shifted"}
    assert touched["templates"] == TEMPLATED == {"widespread", "widespread_strong"}
    assert touched["amplitude"] == {"varied"}
    assert touched["radius"] == REGIONAL == set(NAMES) - TEMPLATED - {"null"}
    assert touched["seed"] == set(NAMES)


def test_condition_changes_size_and_strength_and_nobody_else(planter):
    usual = planter.draw("aligned", 10, 0)
    weaker = planter.under(Condition("aligned", amplitude_scale=0.5)).draw("aligned", 10, 0)
    wider = planter.under(Condition("aligned", 30.0)).draw("aligned", 10, 0)
    for other in (weaker, wider):
        assert np.array_equal(other.background, usual.background)
        assert np.array_equal(other.labels, usual.labels)
    np.testing.assert_allclose(
        weaker.values - usual.background, (usual.values - usual.background) / 2, atol=1e-5
    )
    assert (wider.effect.patterns != 0).sum() > (usual.effect.patterns != 0).sum()
    assert planter.under(Condition("aligned")).describe("aligned") == planter.describe("aligned")


def test_templates_are_planted_in_turn(planter, backgrounds, rng):
    size = backgrounds.values.shape[1]
    fields = rng.normal(size=(2, size)).astype(np.float32)
    with_two = replace(planter, templates=fields, template_names=("hot", "loud"))
    assert [with_two.template_of("widespread_strong", k) for k in range(3)] == [
        "hot",
        "loud",
        "hot",
    ]
    assert with_two.template_of("aligned", 0) == planter.template_of("widespread", 0) == ""
    shown = [with_two.draw("widespread", 8, k).effect.patterns[0, 0] for k in range(3)]
    matched = [[np.corrcoef(one, field)[0, 1] > 0.99 for field in fields] for one in shown]
    assert matched == [[True, False], [False, True], [True, False]]
