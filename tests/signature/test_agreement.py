"""Agreement of halves, with models that are no more than differences of means."""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from cohort_fixtures import list_cohort
from scipy.stats import binom

from fmnet.baselines.base import Dummy
from fmnet.baselines.labelings import aucs_of_labelings
from fmnet.crossval.fold_loop import TrainedNetwork
from fmnet.data.grid import Grid
from fmnet.inference.preparation import PreparationSettings
from fmnet.signature import agreement
from fmnet.signature.agreement import agreement_of_halves, deal_blocks, halve
from fmnet.signature.map_agreement import MEASURES, compare_maps, standard_weights
from fmnet.training.fit import Trainable
from fmnet.training.scan_set import MapScans

GRID = Grid(np.ones((4, 5, 6), dtype=bool), np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")
REGIONS = np.arange(120).reshape(4, 5, 6) // 10


def differences(values, labelings):
    """Difference of group means, and the same over the variance: (2, L, C * V)."""
    values, share = values.reshape(len(values), -1).astype(float), labelings.astype(float)
    first = share @ values / share.sum(axis=1, keepdims=True)
    second = (1 - share) @ values / (1 - share).sum(axis=1, keepdims=True)
    return np.stack([first - second, (first - second) / values.var(axis=0)])


@dataclass(frozen=True, eq=False)
class MeanDifference(Dummy):
    """Weighs voxels by one of two differences, chosen on the inner folds under each labeling."""

    def weights_of_labelings(self, data, fold, labelings):
        values, aucs = data.values, 0
        for train, held_out in data.inner_rows(fold):
            lines = differences(values[train], labelings[:, train])
            scores = lines @ values[held_out].reshape(len(held_out), -1).T
            aucs = aucs + aucs_of_labelings(scores, labelings[:, held_out])
        train = data.rows(fold.train)
        lines = differences(values[train], labelings[:, train])
        best = lines[aucs.argmax(axis=0), np.arange(len(labelings))]
        return best.reshape(len(labelings), *values.shape[1:])


@dataclass(frozen=True, eq=False)
class SameForAll(Dummy):
    """Weighs voxels by their means, whatever the labels are."""

    def weights_of_labelings(self, data, fold, labelings):
        mean = data.values[data.rows(fold.train)].mean(axis=0)
        return np.repeat(mean[None], len(labelings), axis=0)


def draw_values(rng, labels, effect=0.0, n_contrasts=1):
    """Maps that share a few sources; an effect in the first third of the first contrast."""
    sources = rng.normal(size=(len(labels), 6)) @ rng.normal(size=(6, n_contrasts * 120))
    values = (sources / 2 + rng.normal(size=sources.shape)).reshape(-1, n_contrasts, 120)
    values[labels == 1, 0, :40] += effect
    return values.astype(np.float32)


def draw(n, effect=0.0, seed=0, n_contrasts=1, **columns):
    labels = np.arange(n) % 2
    cohort = list_cohort(labels.tolist(), GRID, tuple("abc"[:n_contrasts]), **columns)
    values = draw_values(np.random.default_rng(seed), labels, effect, n_contrasts)
    return MapScans(cohort, values, PreparationSettings(fwhm_mm=0.0))


def sites(n, n_sites):
    return [f"site-{k // 2 % n_sites}" for k in range(n)]


def test_blocks_are_alike_in_group_and_site_and_keep_families():
    family = [str(k // 4) if k < 12 else "" for k in range(70)]
    cohort = draw(70, site=sites(70, 2), family=family).cohort
    label_of = dict(zip(cohort.participant_ids, cohort.labels, strict=True))
    site_of = dict(zip(cohort.participant_ids, cohort.covariate("site"), strict=True))
    blocks = deal_blocks(cohort, 3)
    assert sorted(one for block in blocks for one in block) == sorted(cohort.participant_ids)
    for start in (0, 4, 8):
        together = set(cohort.participant_ids[start : start + 4])
        assert sum(bool(together & set(block)) for block in blocks) == 1
    blocks = deal_blocks(draw(70, site=sites(70, 2)).cohort, 3)
    kinds = [Counter((label_of[one], site_of[one]) for one in block) for block in blocks]
    for kind in kinds[0]:
        counts = [own[kind] for own in kinds]
        assert max(counts) - min(counts) <= 1
    assert blocks != deal_blocks(cohort, 4)


@pytest.mark.parametrize(
    ("n", "n_sites", "n_blocks"), [(70, 1, 8), (40, 2, 8), (20, 1, 8), (46, 23, 4), (16, 1, 4)]
)
def test_orders_change_labels_but_no_set_of_people(n, n_sites, n_blocks):
    """What the proof rests on: sets and their numbers are the same in every split and order."""
    cohort = draw(n, site=sites(n, n_sites)).cohort
    halving = halve(cohort, 5, 6, 20)
    assert halving.n_blocks == n_blocks
    assert len(halving.splits) == (1 if halving.is_moving else min(6, halving.n_ways))
    ids = cohort.participant_ids
    for one, other in halving.splits:
        assert sorted(one.train + other.train) == sorted(ids)
        assert one.test == other.train
        assert other.test == one.train
        assert len(one.validation) == len(other.validation) == n_blocks // 2
        for order in halving.orders:
            for fold in (one, other):
                moved = order.moved(fold)
                assert halving.is_moving or moved == fold
                for place, part in zip(fold.validation, moved.validation, strict=True):
                    now = sorted(order.labels[[ids.index(person) for person in part]])
                    assert set(now) == {0, 1}
                    assert now == sorted(cohort.labels[[ids.index(person) for person in place]])
    assert (halving.orders[0].labels == cohort.labels).all()
    assert len({order.labels.tobytes() for order in halving.orders}) > 15
    assert len({one.train for one, _ in halving.splits}) == len(halving.splits)


def test_an_effect_comes_out_again_in_both_halves():
    found = agreement_of_halves(MeanDifference(), draw(40, 2.0), 1, 4, 39, REGIONS)
    assert found["n_splits"] == 4
    assert found["n_ways"] == 35
    assert found["null_from"] == "labels"
    assert found["n_per_half"] == [20, 20]
    for name in MEASURES:
        own = found[name]
        assert len(own["null"]) == 39
        assert own["p"] == (1 + sum(r >= own["observed"] for r in own["null"])) / 40
    assert found["voxel_r"]["observed"] > 0.5 > max(found["voxel_r"]["null"])
    assert found["voxel_r"]["p"] == found["region_r"]["p"] == 1 / 40
    assert found["voxel_r"]["observed"] == pytest.approx(np.mean(found["per_split"]))


def test_the_figure_is_that_of_models_learnt_on_each_half_alone():
    data = draw(40, 1.0, n_contrasts=2)
    found = agreement_of_halves(MeanDifference(), data, 1, 2, 3, REGIONS)
    halving, expected = halve(data.cohort, 1, 2, 3), []
    for order in halving.orders:
        r = []
        for split in halving.splits:
            maps = []
            for fold in split:
                own = data.subset(fold.train)
                labels = order.labels[data.rows(fold.train)][None]
                (weights,) = MeanDifference().weights_of_labelings(own, fold, labels)
                maps.append(standard_weights(weights, own.values)[None])
            r.append(compare_maps(*maps)["voxel_r"][0])
        expected.append(np.mean(r))
    own = found["voxel_r"]
    np.testing.assert_allclose([own["observed"], *own["null"]], expected, atol=1e-6)


def test_many_labelings_are_learnt_in_parts(monkeypatch):
    data = draw(24, 1.0)
    whole = agreement_of_halves(MeanDifference(), data, 1, 2, 12)
    monkeypatch.setattr(agreement, "TOGETHER", 5)
    parts = agreement_of_halves(MeanDifference(), data, 1, 2, 12)
    assert parts["voxel_r"]["null"] == pytest.approx(whole["voxel_r"]["null"])
    assert parts["voxel_r"]["observed"] == pytest.approx(whole["voxel_r"]["observed"])


def test_maps_that_ignore_labels_are_beyond_no_null():
    found = agreement_of_halves(SameForAll(), draw(40, 2.0), 1, 2, 19)
    assert found["voxel_r"]["p"] == 1
    assert found["dice"]["p"] == 1


def test_few_people_at_each_of_many_sites_move_blocks_along():
    data = draw(46, 3.0, site=sites(46, 23))
    found = agreement_of_halves(MeanDifference(), data, 1, 5, 19)
    assert (found["n_splits"], found["n_blocks"]) == (1, 4)
    assert found["voxel_r"]["p"] == 1 / 20


@pytest.mark.parametrize(
    ("n", "columns", "reason"),
    [
        (6, {}, "3 people (or families) in the smaller group, not 4 or more"),
        (16, {"site": [f"site-{k}" for k in range(16)]}, "exchanged in 1 ways only"),
    ],
)
def test_a_cohort_that_cannot_be_halved_gives_a_reason(n, columns, reason):
    found = agreement_of_halves(MeanDifference(), draw(n, 1.0, **columns), 1, 2, 9)
    assert set(found) == {"reason"}
    assert reason in found["reason"]


def test_a_model_without_weights_gives_a_reason():
    assert "no weight" in agreement_of_halves(Dummy(), draw(24), 1, 2, 9)["reason"]


def learn_differences(self, data, fold, labelings):
    return MeanDifference().weights_of_labelings(data, fold, labelings)


@pytest.mark.parametrize(("n_trained", "null_from"), [(0, "spatial"), (9, "labels")])
def test_networks_trained_by_gradients_are_halved_once(monkeypatch, n_trained, null_from):
    monkeypatch.setattr(TrainedNetwork, "weights_of_labelings", learn_differences)
    monkeypatch.setattr(agreement, "N_FIELDS", 99)
    network = TrainedNetwork(Trainable(partial(Dummy), max_epochs=2), 0)
    data = draw(40, 3.0, n_contrasts=2)
    found = agreement_of_halves(network, data, 1, 10, 99, n_trained=n_trained)
    assert (found["n_splits"], found["null_from"]) == (1, null_from)
    assert found["n_permutations"] == n_trained
    n_drawn, n_tests = (n_trained, 1) if n_trained else (99, 2)
    assert len(found["voxel_r"]["null"]) == n_drawn
    assert found["voxel_r"]["p"] == pytest.approx(n_tests / (1 + n_drawn))
    assert (found["dice"]["p"] is None) == (n_trained == 0)


def test_halves_of_null_cohorts_agree_beyond_their_null_as_rarely_as_promised():
    """Scans are drawn anew for the same labels, sites and families; sources make voxels alike.

    A count of independent cohorts that a test of 5 % exceeds once in a thousand times. By the
    voxels, as if they were independent, more than a quarter of these cohorts would agree.
    """
    rng, n_cohorts = np.random.default_rng(8), 100
    data = draw(24, site=sites(24, 2), family=[str(k // 2) if k < 6 else "" for k in range(24)])
    halving = halve(data.cohort, 2, 2, 19)
    assert not halving.is_moving
    p, beyond_naive = [], 0
    for _ in range(n_cohorts):
        scans = data.replace(data.cohort, draw_values(rng, data.labels))
        found = agreement.compare_halves(MeanDifference(), scans, halving)
        p.append(found["voxel_r"]["p"])
        beyond_naive += np.abs(found["per_split"][0]) > 1.98 / np.sqrt(120)
    assert sum(one <= 0.05 for one in p) <= binom.ppf(0.999, n_cohorts, 0.05)
    assert 0.4 < np.mean(p) < 0.65
    assert beyond_naive > n_cohorts / 4
