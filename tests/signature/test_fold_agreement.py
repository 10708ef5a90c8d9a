from dataclasses import dataclass

import numpy as np
import pytest
from cohort_fixtures import list_cohort

from fmnet.baselines.base import Dummy
from fmnet.data.folds import build_folds
from fmnet.data.grid import Grid
from fmnet.inference.preparation import PreparationSettings
from fmnet.signature.fold_agreement import (
    agreement_of_folds,
    compare_folds,
    label_randomisation,
)
from fmnet.signature.map_agreement import agreement_of_maps, standard_weights
from fmnet.training.scan_set import MapScans

GRID = Grid(np.ones((4, 5, 6), dtype=bool), np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")
REGIONS = np.arange(120).reshape(4, 5, 6) // 10
LABELS = np.arange(30) % 2


@dataclass(frozen=True, eq=False)
class MeanDifference(Dummy):
    """Weighs voxels by the difference of group means, and noise by its own seed."""

    seed: int = 0
    noise: float = 0.0

    def weights_of_labelings(self, data, fold, labelings):
        values = data.values[data.rows(fold.train)]
        noise = np.random.default_rng([self.seed, fold.fold]).normal(size=values.shape[1:])
        return np.stack(
            [
                values[own == 1].mean(axis=0) - values[own == 0].mean(axis=0) + self.noise * noise
                for own in labelings[:, data.rows(fold.train)]
            ]
        )


@pytest.fixture
def data(rng):
    values = rng.normal(size=(30, 2, 120)) * np.linspace(0.5, 3, 120)
    values[LABELS == 1, 1, :30] += 2
    cohort = list_cohort(LABELS.tolist(), GRID, ("a", "b"))
    return MapScans(cohort, values.astype(np.float32), PreparationSettings(fwhm_mm=0.0))


def test_maps_are_learnt_from_the_training_people_of_each_fold(data):
    folds = build_folds(data.cohort, 3, 2, 2)
    found = agreement_of_folds(MeanDifference(), data, folds, REGIONS)
    weights, standard = [], []
    for fold in folds:
        rows = data.rows(fold.train)
        own, labels = data.values[rows], LABELS[rows]
        weights.append(own[labels == 1].mean(axis=0) - own[labels == 0].mean(axis=0))
        standard.append(standard_weights(weights[-1], own))
    np.testing.assert_allclose(found["weights"], weights, rtol=1e-6)
    np.testing.assert_allclose(found["maps"], standard, rtol=1e-6)
    places = REGIONS[GRID.mask]
    assert found["folds"] == pytest.approx(agreement_of_maps(np.stack(standard[:3]), places))
    means = np.stack([np.mean(standard[:3], axis=0), np.mean(standard[3:], axis=0)])
    assert found["repeats"] == pytest.approx(agreement_of_maps(means, places))
    assert found["repeats"]["voxel_r"] > found["folds"]["voxel_r"] > 0.3
    assert found["seeds"] is None


def test_seeds_are_compared_by_the_mean_over_the_folds_of_the_first_repeat(data):
    folds = build_folds(data.cohort, 3, 2, 2)
    same, other = MeanDifference(0, 1.0), MeanDifference(1, 1.0)
    found = agreement_of_folds(same, data, folds, None, [same, other])["seeds"]
    assert found["n_maps"] == 3
    alike = agreement_of_folds(same, data, folds, None, [same])["seeds"]
    assert alike["voxel_r"] == pytest.approx(1.0)
    assert alike["voxel_r"] > found["voxel_r"] + 0.1


def test_one_repeat_tells_nothing_of_repeats(data):
    folds = build_folds(data.cohort, 3, 1, 2)
    assert compare_folds(np.ones((3, 2, 120)), folds, data)["repeats"] is None


def test_a_model_without_weights_gives_a_reason(data):
    folds = build_folds(data.cohort, 3, 1, 2)
    assert "no weight" in agreement_of_folds(Dummy(), data, folds)["reason"]


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
