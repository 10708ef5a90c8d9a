import numpy as np
import pytest
from cohort_fixtures import list_cohort

from fmnet.data.folds import build_folds
from fmnet.data.grid import Grid
from fmnet.inference.preparation import PreparationSettings
from fmnet.signature.fold_agreement import compare_folds, label_randomisation
from fmnet.signature.map_agreement import agreement_of_maps
from fmnet.training.scan_set import MapScans

MASK = np.ones((4, 5, 6), dtype=bool)
MASK[0] = False
GRID = Grid(MASK, np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")
REGIONS = np.arange(120).reshape(4, 5, 6) // 10


@pytest.fixture
def data():
    cohort = list_cohort([k % 2 for k in range(30)], GRID, ("a", "b"))
    values = np.zeros((30, 2, 90), np.float32)
    return MapScans(cohort, values, PreparationSettings(fwhm_mm=0.0))


@pytest.fixture
def maps(rng):
    """Of three folds of each of two repeats."""
    return rng.normal(size=(6, 2, 90)) + rng.normal(size=(2, 90))


def test_folds_are_compared_within_the_first_repeat_and_repeats_by_their_means(data, maps):
    folds = build_folds(data.cohort, 3, 2, 2)
    found = compare_folds(maps, folds, data, REGIONS)
    places = REGIONS[MASK]
    assert found["folds"] == pytest.approx(agreement_of_maps(maps[:3], places))
    means = np.stack([maps[:3].mean(axis=0), maps[3:].mean(axis=0)])
    assert found["repeats"] == pytest.approx(agreement_of_maps(means, places))
    assert found["repeats"]["voxel_r"] > found["folds"]["voxel_r"] > 0.3
    assert found["seeds"] is None


def test_seeds_are_compared_with_the_mean_over_the_folds_of_the_first_repeat(data, maps, rng):
    folds = build_folds(data.cohort, 3, 2, 2)
    other = maps[:3].mean(axis=0) + 0.1 * rng.normal(size=(2, 90))
    found = compare_folds(maps, folds, data, None, [other, maps[:3].mean(axis=0)])["seeds"]
    assert found["n_maps"] == 3
    assert 0.9 < found["voxel_r"] < 1
    assert "region_r" not in found


def test_one_repeat_tells_nothing_of_repeats(data, maps):
    folds = build_folds(data.cohort, 3, 1, 2)
    assert compare_folds(maps[:3], folds, data)["repeats"] is None


def test_maps_that_follow_the_labels_pass_and_others_do_not(rng):
    effect, form = rng.normal(size=(2, 1, 2, 60))
    refitted = effect + 0.5 * rng.normal(size=(5, 2, 60))
    permuted = rng.normal(size=(40, 2, 60))
    found = label_randomisation(effect[0], permuted, refitted)
    assert found["is_passed"]
    assert found["fraction"] == 0
    assert found["r_refitted"] > 0.8 > 0.2 > found["r_permuted"]
    # what the model's form gives whatever the labels are, with either sign
    signs = rng.choice([-1, 1], size=(40, 1, 1))
    found = label_randomisation(form[0], signs * form + 0.1 * permuted, form + 0.5 * refitted)
    assert not found["is_passed"]
    assert found["fraction"] > 0.9
    assert found["r_permuted"] > found["r_refitted"]


def test_the_rank_of_the_observed_map_counts_it_among_all_labelings(rng):
    maps = rng.normal(size=(20, 1, 50)) + rng.normal(size=50)
    alone, refitted = rng.normal(size=(1, 50)), rng.normal(size=(2, 1, 50))
    assert label_randomisation(alone, maps[1:], refitted)["p_unlike"] == 1 / 20
    typical = maps.mean(axis=0)
    assert label_randomisation(typical, maps[1:], refitted)["p_unlike"] == 1
    # of exchangeable maps each is as likely to have any rank
    ranks = [
        label_randomisation(maps[k], np.delete(maps, k, axis=0), refitted)["p_unlike"]
        for k in range(20)
    ]
    np.testing.assert_allclose(sorted(ranks), np.arange(1, 21) / 20)


def test_without_maps_under_permuted_labels_there_is_a_reason():
    found = label_randomisation(np.ones((1, 5)), np.empty((0, 1, 5)), np.ones((2, 1, 5)))
    assert found == {"reason": "no maps under permuted labels"}
