import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata, somersd, spearmanr
from sklearn.metrics import roc_auc_score

from fmnet.evaluation.graded import (
    auc_within,
    by_tenths,
    concordance_within,
    correlation_within,
    explained_between_and_within,
    fold_numbers,
    held_out_means,
    held_out_medians,
    once_a_person,
    rank_correlation_within,
    ranks_within,
    slope_within,
    split_variance,
)

few_values = st.lists(st.integers(0, 4), min_size=2, max_size=30)


@given(few_values, st.integers(1, 4))
def test_ranks_are_those_of_each_group_alone(values, n_groups):
    values = np.array(values, float)
    group = np.arange(len(values)) % n_groups
    ranks = ranks_within(values, group)
    for number in np.unique(group):
        assert np.allclose(ranks[group == number], rankdata(values[group == number]))


def test_correlations_are_pooled_by_fishers_z(rng):
    group = np.repeat([0, 1, 2], [7, 12, 20])
    x = rng.normal(size=39) + group * 5  # folds have no common scale
    y = 0.5 * x + rng.normal(size=39) - group * 9
    rs = [pearsonr(x[group == k], y[group == k]).statistic for k in range(3)]
    expected = np.tanh(np.average(np.arctanh(rs), weights=[4, 9, 17]))
    assert correlation_within(x, y, group) == pytest.approx(expected)
    rs = [spearmanr(x[group == k], y[group == k]).statistic for k in range(3)]
    expected = np.tanh(np.average(np.arctanh(rs), weights=[4, 9, 17]))
    assert rank_correlation_within(x, y, group) == pytest.approx(expected)


def test_constant_scores_correlate_with_nothing_and_constant_outcomes_do_not_count(rng):
    group = np.repeat([0, 1], [8, 9])
    y = rng.normal(size=17)
    assert correlation_within(np.full(17, 0.1), y, group) == 0
    x = y + 0.1
    y[:8] = 3.0
    assert correlation_within(x, y, group) == pytest.approx(1, abs=1e-5)
    assert np.isnan(correlation_within(x, np.ones(17), group))


def test_folds_of_three_are_pooled_as_they_are(rng):
    group, x = np.repeat(np.arange(6), 3), rng.normal(size=18)
    y = x + 100 * group
    assert correlation_within(x, y, group) == pytest.approx(1, abs=1e-5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=25))
def test_concordance_is_somers_d(pairs):
    score, value = np.array(pairs, float).T
    got = concordance_within(score, value, np.zeros(len(score), int))
    if len(set(value)) < 2:
        assert np.isnan(got)
    elif len(set(score)) < 2:  # scipy leaves it open
        assert got == 0.5
    else:  # of the score on the value: ties of values are no pairs
        assert 2 * got - 1 == pytest.approx(somersd(value, score).statistic)


def test_pairs_of_different_folds_do_not_count(rng):
    group = np.repeat([0, 1], [8, 11])
    is_positive = rng.random(19) < 0.5
    score = rng.normal(size=19).round(1)
    shifted = score + 50 * group
    assert auc_within(shifted, is_positive, group) == auc_within(score, is_positive, group)
    sides = [is_positive[group == number] for number in (0, 1)]
    met = [own.sum() * (~own).sum() for own in sides]
    aucs = [roc_auc_score(own, score[group == number]) for number, own in enumerate(sides)]
    expected = np.average(aucs, weights=met)
    assert auc_within(score, is_positive, group) == pytest.approx(expected)
    got = concordance_within(score, is_positive.astype(float), group)
    assert got == pytest.approx(expected)
    assert np.isnan(auc_within(score, np.ones(19, bool), group))


def test_held_out_means_are_those_of_other_folds_of_the_repeat(rng):
    repeat = np.repeat([0, 1], 9)
    fold = np.concatenate([np.arange(9) % 3, np.arange(9) % 2])
    values, weights = rng.normal(size=(18, 2)), rng.random(18)
    got = held_out_means(values, repeat, fold, weights)
    for row in range(18):
        rest = (repeat == repeat[row]) & (fold != fold[row])
        assert np.allclose(got[row], np.average(values[rest], axis=0, weights=weights[rest]))
    medians = held_out_medians(values[:, 0], repeat, fold)
    assert medians[10] == np.median(values[9:][fold[9:] != fold[10]][:, 0])
    alone = np.zeros(18, int)  # a lock-box
    assert np.allclose(held_out_means(values[:, 0], alone, alone), values[:, 0].mean())
    assert np.allclose(held_out_medians(values[:, 0], alone, alone), np.median(values[:, 0]))


def table(n_people, n_scans, n_repeats=1):
    scans = [(f"sub-{i}", f"sub-{i}_ses-{j}") for i in range(n_people) for j in range(n_scans)]
    rows = pd.DataFrame(scans * n_repeats, columns=["participant_id", "scan_id"])
    repeat = np.repeat(np.arange(n_repeats), len(scans))
    return rows.assign(repeat=repeat, fold=np.tile(np.arange(len(scans)) % 4, n_repeats))


def test_folds_are_numbered_over_all_repeats():
    numbers = fold_numbers(table(8, 1, n_repeats=2))
    assert numbers.tolist() == [0, 1, 2, 3] * 2 + [4, 5, 6, 7] * 2


def test_people_count_once_however_many_scans_they_have():
    rows = pd.concat([table(2, 3), table(5, 1).iloc[2:]])
    assert once_a_person(rows).tolist() == pytest.approx([1 / 3] * 6 + [1] * 3)


def test_variances_of_a_random_intercept_are_recovered(rng):
    rows = table(3000, 3)
    person = np.repeat(np.arange(3000), 3)
    values = 2 * rng.normal(size=3000)[person] + rng.normal(size=9000)
    split = split_variance(values, person, np.arange(9000))
    assert split.between == pytest.approx(4, rel=0.1)
    assert split.within == pytest.approx(1, rel=0.1)
    assert len(rows) == 9000


def test_variances_do_not_change_with_repeats_or_copies(rng):
    person, scan = np.repeat(np.arange(7), [1, 2, 3, 2, 1, 4, 2]), np.arange(15)
    values = rng.normal(size=15) + person
    once = split_variance(values, person, scan)
    twice = split_variance(np.tile(values, 2), np.tile(person, 2), np.tile(scan, 2))
    assert (twice.between, twice.within) == pytest.approx((once.between, once.within))
    nobody = split_variance(values, scan, scan)
    assert np.isnan(nobody.within)


def test_what_is_told_between_people_is_told_apart_from_within(rng):
    rows, person = table(400, 3), np.repeat(np.arange(400), 3)
    between, within = rng.normal(size=400)[person], rng.normal(size=1200)
    y = between + within
    of_people = explained_between_and_within(rows, y, y - between)
    assert of_people["r2_between"] == pytest.approx(1, abs=0.1)
    assert of_people["r2_within"] == pytest.approx(0, abs=0.1)
    assert of_people["r2_from_within"] == pytest.approx(0, abs=0.05)
    of_scans = explained_between_and_within(rows, y, y - within)
    assert of_scans["r2_between"] == pytest.approx(0, abs=0.25)
    assert of_scans["r2_within"] == pytest.approx(1, abs=0.1)
    error = y - between
    parts = of_people["r2_from_between"] + of_people["r2_from_within"]
    assert parts == pytest.approx(1 - error @ error / (y @ y))
    assert of_people["share_between"] == pytest.approx(0.5, abs=0.1)
    single = explained_between_and_within(table(1200, 1), y, error)
    assert all(np.isnan(value) for value in single.values())


def test_slopes_are_those_within_folds(rng):
    group = np.repeat([0, 1, 2], [7, 8, 9])
    predicted = rng.normal(size=24)
    y = 1.7 * predicted + 30 * group
    assert slope_within(predicted, y, group) == pytest.approx(1.7)
    assert np.isnan(slope_within(np.full(24, 2.0), y, group))


def test_tenths_are_in_order_and_hold_five_at_least(rng):
    x = rng.normal(size=33)
    parts = by_tenths(x, x + 1)
    assert [part["n"] for part in parts] == [6, 6, 6, 5, 5, 5]
    assert np.all(np.diff([part["predicted"] for part in parts]) > 0)
    for part in parts:
        assert part["observed"] == pytest.approx(part["predicted"] + 1)
        assert part["low"] < part["observed"] < part["high"]
