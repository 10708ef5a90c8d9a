from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from outcome_fixtures import scans_with, severity_with_signal
from scipy.stats import binom

from fmnet.baselines.outcomes import OutcomeDummy, VoxelRidge
from fmnet.crossval import outcome_permutation
from fmnet.crossval.exchange import cells_of, moved
from fmnet.crossval.fold_loop import Pipeline, fold_rows
from fmnet.crossval.outcome_permutation import (
    check_outcomes_exchangeable,
    find_outcome_cells,
    find_places,
    observed_statistics,
    permuted_statistics,
    run_outcome_permutations,
    run_outcomes_together,
)
from fmnet.crossval.permutation import PermutationPlan
from fmnet.data.folds import build_folds
from fmnet.errors import CohortError
from fmnet.evaluation.comparison import p_value
from fmnet.networks.closed_form import build_scale_space
from fmnet.training.fit import Trainable

ONE_CHOICE = VoxelRidge(fwhm_mm=(0.0,), penalty=(1.0,))
DEAL = partial(build_folds, n_splits=4, n_repeats=1, inner_splits=2)


@dataclass(frozen=True)
class Quiet:
    """In the place of a network that is fitted in closed form."""

    longest: int = 0
    n_stacked: int = 1

    def quiet(self):
        return self


def pipeline_of(model=ONE_CHOICE, **baselines):
    """A pipeline whose network is a ridge, see `ridge_for_network`."""
    return Pipeline(Quiet(), {"ridge": model, **baselines}, DEAL, seed=3)


@pytest.fixture
def ridge_for_network(monkeypatch):
    monkeypatch.setattr(outcome_permutation, "TrainedNetwork", lambda *_: ONE_CHOICE)


def table_of(data, folds, **models):
    rows = [
        fold_rows(data.cohort, fold, name, scored, data.target)
        for name, model in models.items()
        for fold, scored in zip(
            folds, model.score_folds([(data, fold) for fold in folds], False), strict=True
        )
    ]
    return pd.concat(rows, ignore_index=True)


def test_people_stay_in_their_site_and_families_together():
    people = [f"sub-{k:03}" for k in range(24)]
    family = ["" if k >= 8 else f"f{k // 2}" for k in range(24)]
    site = ["A" if k < 4 or k >= 14 else "B" for k in range(24)]
    data = scans_with({"value": np.arange(24.0)}, family=family, site=site)
    seen = set()
    for seed in range(20):
        found = find_places(data.target, data.outcomes).draw(np.random.default_rng(seed))
        assert sorted(found.order) == list(range(24))
        assert [site[k] for k in found.order] == site
        pairs = [frozenset(found.order[2 * k : 2 * k + 2] // 2) for k in range(4)]
        assert all(len(pair) == 1 for pair in pairs)
        assert (found.order[8:] >= 8).all()
        assert [people[k] for k in found.order] == [found.place_of[one] for one in people]
        seen.add(found.order.tobytes())
    assert len(seen) == 20


def test_people_of_several_scans_take_places_of_others_whole():
    """With one outcome each, of anybody; else of those with as many scans, in any order of them."""
    people = [f"sub-{k // 2:02}" for k in range(12)] + ["sub-10", "sub-11", "sub-12"]
    same = np.repeat(np.arange(9.0), [2] * 6 + [1] * 3)
    alike = scans_with({"value": same}, people=people)
    for seed in range(10):
        order = find_places(alike.target, alike.outcomes).draw(np.random.default_rng(seed)).order
        given = same[order]
        assert (given[0:12:2] == given[1:12:2]).all()
        assert len(set(given)) == 9
    varying = scans_with({"value": np.arange(15.0)}, people=people)
    turned = Counter()
    for seed in range(20):
        order = (
            find_places(varying.target, varying.outcomes).draw(np.random.default_rng(seed)).order
        )
        assert sorted(order) == list(range(15))
        assert (order[12:] >= 12).all()
        assert (order[0:12:2] // 2 == order[1:12:2] // 2).all()
        turned.update(order[0:12:2] < order[1:12:2])
    assert min(turned.values()) > 30


def test_within_cells_all_folds_stay_as_they_are():
    data = severity_with_signal(n=60)
    folds = DEAL(data.cohort)
    cells = find_outcome_cells(data, folds, 0)
    assert cells == cells_of(data.participant_ids, folds)
    found = find_places(data.target, data.outcomes, cells).draw(np.random.default_rng(1))
    assert (found.order != np.arange(60)).mean() > 0.6
    for fold in folds:
        assert moved(fold, found.place_of) == fold
    free = find_places(data.target, data.outcomes).draw(np.random.default_rng(1))
    assert all(moved(fold, free.place_of) != fold for fold in folds)


def test_few_people_in_each_cell_have_no_cells():
    """At many sites, and in folds of several repeats; who stands in whose place moves folds."""
    sites = [f"s{k % 10}" for k in range(40)]
    data = scans_with({"value": np.random.default_rng(0).normal(size=40)}, site=sites)
    assert find_outcome_cells(data, DEAL(data.cohort), 0) is None
    plain = severity_with_signal(n=40)
    assert find_outcome_cells(plain, build_folds(plain.cohort, n_repeats=4), 0) is None


def test_both_ways_of_computing_are_one():
    data = severity_with_signal(n=40)
    folds = DEAL(data.cohort)
    cells = cells_of(data.participant_ids, folds)
    drawn = [
        find_places(data.target, data.outcomes, cells).draw(np.random.default_rng(k))
        for k in range(4)
    ]
    orders = [data.outcomes.take(one.order) for one in drawn]
    given = (VoxelRidge(fwhm_mm=(0.0, 8.0)), data, folds, orders)
    together = permuted_statistics(*given, [None] * 4)
    alone = permuted_statistics(*given, [one.place_of for one in drawn])
    assert together == pytest.approx(alone, abs=1e-6)
    assert len(set(together)) == 4


def test_what_is_observed_is_the_statistic_of_the_order_as_it_is():
    data = severity_with_signal(n=40, effect=0.5)
    folds = build_folds(data.cohort, n_splits=4, n_repeats=2, inner_splits=2)
    model = VoxelRidge(fwhm_mm=(0.0, 8.0))
    table = table_of(data, folds, ridge=model, dummy=OutcomeDummy())
    for n_repeats in (1, 2):
        own = [fold for fold in folds if fold.repeat < n_repeats]
        (as_is,) = permuted_statistics(model, data, own, [data.outcomes], [None])
        found = observed_statistics(data, table.sample(frac=1, random_state=0), n_repeats)
        assert found == pytest.approx({"ridge": as_is, "dummy": 0.0}, abs=1e-6)
    assert as_is > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("n_sites", [1, 6])
def test_p_values_are_exact(ridge_for_network, n_sites):
    """Of null cohorts as many have p <= 0.1 as should, with folds as they are and with moved ones.

    Outcomes differ between sites, and so do scans, which tells nothing within them.
    """
    n_trials, n_permutations, n_reached = 150, 9, 0
    model = VoxelRidge(fwhm_mm=(0.0,), penalty=(0.1, 10.0))
    for trial in range(n_trials):
        rng = np.random.default_rng([trial, n_sites])
        site = rng.permutation(np.arange(24) % n_sites)
        values = rng.normal(size=(24, 1, 210))
        values[:, 0, :20] += site[:, None]
        data = scans_with(
            {"value": np.exp(rng.normal(size=24)) + site}, values, site=[f"s{k}" for k in site]
        )
        pipeline = replace(pipeline_of(model), seed=trial)
        folds = DEAL(data.cohort)
        assert (find_outcome_cells(data, folds, trial) is None) == (n_sites == 6)
        observed = observed_statistics(data, table_of(data, folds, ridge=model), 1)
        null = run_outcomes_together((pipeline, data, 1), list(range(n_permutations)))
        p = p_value([one["ridge"] for one in null], observed["ridge"])
        n_reached += p <= 0.1
    low, high = binom(n_trials, 0.1).interval(0.999)
    assert low <= n_reached <= high


def test_what_maps_show_is_found(ridge_for_network, tmp_path):
    data = severity_with_signal(n=40)
    pipeline = pipeline_of(dummy=OutcomeDummy())
    table = table_of(data, DEAL(data.cohort), network=ONE_CHOICE, ridge=ONE_CHOICE)
    observed = observed_statistics(data, table, 1)
    null = run_outcome_permutations(pipeline, data, PermutationPlan(19), tmp_path)
    assert list(null) == ["network", "ridge"]
    assert null.shape == (19, 2)
    assert p_value(null["ridge"], observed["ridge"]) == 0.05


def test_a_killed_run_goes_on(ridge_for_network, tmp_path, monkeypatch):
    data, pipeline = severity_with_signal(n=32), pipeline_of()
    plan, done = PermutationPlan(7), []
    first = run_outcome_permutations(pipeline, data, plan, tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "00002.json").unlink()
    (folder / "00005.json").write_text("{}")

    def note(given, indices):
        done.extend(indices)
        return run_outcomes_together(given, indices)

    monkeypatch.setattr(outcome_permutation, "run_outcomes_together", note)
    again = run_outcome_permutations(pipeline, data, plan, tmp_path)
    assert done == [2, 5]
    pd.testing.assert_frame_equal(first, again)


def test_it_stops_where_more_permutations_would_tell_nothing(ridge_for_network, tmp_path):
    data = severity_with_signal(n=32, effect=0.0)
    observed = {"network": -0.9, "ridge": -0.9}
    plan = PermutationPlan(400, stop_after=5)
    null = run_outcome_permutations(pipeline_of(), data, plan, tmp_path, observed=observed)
    assert len(null) == 20


def test_too_few_orders_are_refused():
    data = scans_with({"value": [1.0] * 20 + [2.0]}, site=["a"] * 3 + ["b"] * 15 + ["c"] * 3)
    with pytest.raises(CohortError, match="exchanged in 3 ways only"):
        check_outcomes_exchangeable(data, 0)


def test_a_network_in_closed_form_is_fitted_to_all_orders_at_once(tmp_path):
    data = severity_with_signal(n=32, effect=1.0)
    build = partial(build_scale_space, paths=["distributed"], head=data.target.head())
    pipeline = Pipeline(Trainable(build, max_epochs=0), {"dummy": OutcomeDummy()}, DEAL, 3)
    (null,) = run_outcomes_together((pipeline, data, 1), [4])
    cells = find_outcome_cells(data, DEAL(data.cohort), 3)
    assert cells is not None
    rng = np.random.default_rng([3, outcome_permutation.PERMUTATION, 5])
    drawn = find_places(data.target, data.outcomes, cells).draw(rng)
    network = outcome_permutation.TrainedNetwork(pipeline.trainable, 3)
    orders = [data.outcomes.take(drawn.order)]
    (alone,) = permuted_statistics(network, data, DEAL(data.cohort), orders, [drawn.place_of])
    assert null["network"] == pytest.approx(alone, abs=1e-4)
