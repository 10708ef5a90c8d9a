import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from simulated_folds import Cohorts
from sklearn.metrics import roc_auc_score

from fmnet.evaluation.analysis import power_of
from fmnet.evaluation.comparison import corrected_t_test
from fmnet.evaluation.intervals import auc_interval, auc_variance
from fmnet.evaluation.power import (
    Evidence,
    inflation,
    interval_width,
    smallest_accuracy,
    smallest_auc,
    smallest_difference,
    study_power,
)


def test_variance_at_chance_is_about_that_of_the_rank_sum_test():
    assert auc_variance(0.5, 30, 40) == pytest.approx((30 + 40 + 1) / (12 * 30 * 40), rel=1e-6)


def test_smallest_auc_has_the_power_it_says():
    auc = smallest_auc(35, 35)
    rng = np.random.default_rng(0)
    shift = 2**0.5 * norm.ppf(auc)  # of two normals with that AUC
    labels = np.repeat([0, 1], 35)
    limit = 0.5 + 1.645 * auc_variance(0.5, 35, 35) ** 0.5
    hits = [roc_auc_score(labels, rng.normal(size=70) + shift * labels) > limit for _ in range(400)]
    assert np.mean(hits) == pytest.approx(0.80, abs=0.07)


@given(st.integers(10, 200), st.integers(10, 200))
def test_more_people_show_smaller_effects(n_positive, n_negative):
    few, many = smallest_auc(n_positive, n_negative), smallest_auc(2 * n_positive, 2 * n_negative)
    assert many < few


def test_wider_spread_asks_for_more():
    plain, wide = smallest_auc(35, 35), smallest_auc(35, 35, wider=1.5)
    assert wide - 0.5 == pytest.approx(1.45 * (plain - 0.5), abs=0.03)
    assert smallest_auc(3, 3, wider=2.5) is None


@pytest.mark.parametrize("n_repeats", [1, 10])
def test_width_is_that_of_the_interval_of_such_a_study(n_repeats):
    cohorts = Cohorts(20, 2.1, n_repeats)
    widths = []
    for seed in range(60):
        pairs = cohorts.draw(seed).pairs
        auc = pairs.auc(np.ones(40))
        if 0.65 < auc < 0.75:
            low, high = auc_interval(auc, pairs.logit_se(n_repeats), 20, 20)
            widths.append(high - low)
    assert len(widths) > 10
    assert np.mean(widths) == pytest.approx(interval_width(0.7, 20, 20, n_repeats), rel=0.06)


def test_what_is_said_holds_whatever_permutations_there_are():
    one, ten = (inflation(35, 35, n_repeats) for n_repeats in (1, 10))
    assert one == pytest.approx(2.1**0.5)
    assert ten == pytest.approx(1.65**0.5)


def test_smallest_difference_has_the_power_it_says():
    k, sd, level = 50, 0.12, 0.05 / 4
    share = 0.25
    se = sd * np.sqrt(1 / k + share)
    gain = smallest_difference(se, k - 1, 4)
    # The mean over folds that share training people varies as the correction has it.
    rng = np.random.default_rng(0)
    shared = np.sqrt(share) * sd
    hits = []
    for _ in range(400):
        folds = gain + shared * rng.normal() + sd * rng.normal(size=k)
        hits.append(corrected_t_test(folds, share)["p"] < level)
    assert np.mean(hits) == pytest.approx(0.80, abs=0.07)


def test_smallest_accuracy_by_the_binomial():
    # P(X >= 43 | 70, 1/2) = 0.036, P(X >= 42) = 0.060
    assert smallest_accuracy(70) == pytest.approx(43 / 70)


def evidence(**changes) -> Evidence:
    known = {"difference_se": 0.05, "df": 49, "n_comparisons": 8, "n_repeats": 10}
    return Evidence("linear SVM", 0.7, **(known | changes))


def test_sentences_hold_the_figures():
    found = study_power(35, 35, evidence())
    text = " ".join(found["lines"])
    assert f"{found['auc_above_chance']:.2f}" in text
    assert f"better by {found['difference']:.2f}" in text
    assert "linear SVM (AUC 0.70)" in text
    assert "about 1.3 times" in text


def test_says_what_it_can_not_know():
    found = study_power(35, 35, evidence(difference_se=None, df=None))
    text = " ".join(found["lines"])
    assert found["difference"] is None
    assert text.endswith("not tested.")


def test_accuracy_is_held_against_a_coin_only_where_classes_are_alike():
    assert study_power(35, 35, evidence())["accuracy_above_chance"] is not None
    assert study_power(20, 50, evidence())["accuracy_above_chance"] is None


def test_impossible_gain_is_said_to_be_one():
    text = " ".join(study_power(10, 10, evidence(difference_se=0.2))["lines"])
    assert "no gain that there is room for" in text


@pytest.mark.parametrize(
    ("family_of", "counted", "n_each"),
    [(lambda k: k, "28 people", 14), (lambda k: k // 4 * 2 + k % 2, "14 families", 7)],
)
def test_families_count_once(family_of, counted, n_each):
    people = np.arange(28)
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{k:02}" for k in people],
            "scan_id": [f"sub-{k:02}" for k in people],
            "repeat": 0,
            "fold": people // 4 % 2,
            "label": people % 2,
            "unit": [f"family-{family_of(k):02}" for k in people],
        }
    )
    models = ("network", "linear_svm")
    table = pd.concat([table.assign(model=name, score=people * 0.7 % 3) for name in models])
    metrics = {"models": {name: {"auc": 0.6} for name in models}, "comparisons": []}
    found = power_of(table, metrics)
    assert any(f"on {counted} a coin" in line for line in found["lines"])
    assert found["auc_above_chance"] == smallest_auc(n_each, n_each, found["inflation"])
