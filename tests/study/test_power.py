import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fmnet.study.power import (
    auc_correlation,
    auc_variance,
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


def test_correlated_models_are_told_apart_sooner():
    plain, paired = (smallest_difference(0.7, r, 35, 35) for r in (0.0, 0.8))
    assert paired < plain
    assert smallest_difference(0.97, 0.0, 10, 10) is None


def test_smallest_accuracy_by_the_binomial():
    # P(X >= 43 | 70, 1/2) = 0.036, P(X >= 42) = 0.060
    assert smallest_accuracy(70) == pytest.approx(43 / 70)


def test_correlation_of_equal_draws_is_one_and_of_constant_draws_none():
    draws = np.random.default_rng(0).uniform(size=50)
    assert auc_correlation(draws, draws) == pytest.approx(1.0)
    assert auc_correlation(draws, np.full(50, 0.5)) == 0.0


def test_sentences_hold_the_figures():
    found = study_power(35, 35, "linear SVM", 0.7, 0.5)
    text = " ".join(found["lines"])
    assert f"{found['auc_above_chance']:.2f}" in text
    assert f"{found['difference']:.2f}" in text
    assert "linear SVM (AUC 0.70)" in text
