import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from fmnet.evaluation.partial_confounder import (
    conditional_logs,
    explained_shares,
    full_confounder_test,
    partial_confounder_test,
)


def draw(seed, n=70, through_label=1.0, direct=0.0, is_category=False):
    """A score that follows the label, and a covariate that follows the label too."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n // 2)
    value = through_label * label + rng.normal(size=n)
    score = label + direct * value + rng.normal(size=n)
    covariate = pd.Series(value)
    if is_category:
        covariate = pd.Series(np.where(value > 0.5, "high", "low"))
    return score, covariate, label


@pytest.mark.slow
@pytest.mark.parametrize("is_category", [False, True])
def test_keeps_its_level_where_only_the_label_connects_them(is_category):
    hits = [
        partial_confounder_test(*draw(seed, is_category=is_category), 100, seed) <= 0.05
        for seed in range(100)
    ]
    assert 0 <= np.mean(hits) <= 0.12


@pytest.mark.slow
def test_keeps_its_level_for_skewed_numbers_such_as_motion():
    hits = []
    for seed in range(100):
        score, covariate, label = draw(seed, n=40)
        hits.append(
            partial_confounder_test(score, np.exp(1.2 * covariate), label, 100, seed) <= 0.05
        )
    assert 0 <= np.mean(hits) <= 0.10


def test_order_alone_counts():
    score, covariate, label = draw(1, direct=1.0)
    plain = partial_confounder_test(score, covariate, label, 100, 0)
    assert partial_confounder_test(score, np.exp(covariate), label, 100, 0) == plain


def test_plain_correlation_would_have_rejected_there():
    start = np.arange(70)[None]
    shares = [
        explained_shares(draw(seed)[0], draw(seed)[1].to_frame().to_numpy(), start)[0]
        for seed in range(20)
    ]
    assert np.mean(shares) > 0.03


def test_shares_are_those_of_a_regression_on_the_design_in_each_order():
    rng = np.random.default_rng(0)
    score, design = rng.normal(size=9), np.eye(3)[rng.integers(0, 3, 9)]  # sums to 1: no full rank
    orders = np.stack([rng.permutation(9) for _ in range(4)])

    shares = explained_shares(score, design, orders)

    expected = [
        LinearRegression().fit(design[one], score).score(design[one], score) for one in orders
    ]
    np.testing.assert_allclose(shares, expected)
    assert explained_shares(np.ones(9), design, orders).tolist() == [0.0] * 4


@pytest.mark.parametrize("is_category", [False, True])
def test_direct_dependence_is_found(is_category):
    found = [
        partial_confounder_test(*draw(seed, direct=1.5, is_category=is_category), 100, seed)
        for seed in range(5)
    ]
    assert np.median(found) < 0.05


def moved(seed, direct, n=60):
    """A score that follows motion, and the label itself as strongly as asked for."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n // 2)
    motion = label + rng.normal(size=n)
    return motion + direct * label + rng.normal(size=n), pd.Series(motion), label


@pytest.mark.slow
def test_nothing_is_left_where_the_covariate_is_all_there_is():
    hits = [full_confounder_test(*moved(seed, 0.0), 100, seed) <= 0.05 for seed in range(100)]
    assert 0 <= np.mean(hits) <= 0.12


def test_what_the_covariate_does_not_explain_is_left():
    found = [full_confounder_test(*moved(seed, 2.0), 100, seed) for seed in range(5)]
    assert np.median(found) < 0.05
    score, motion, label = moved(0, 2.0)
    assert full_confounder_test(-score, motion, label, 100, 0) > 0.9


def test_densities_of_categories_are_their_shares():
    covariate, label = pd.Series(["a", "a", "b", "b"]), np.array([0, 0, 0, 1])
    shares = np.exp(conditional_logs(covariate, label))
    np.testing.assert_allclose(shares[0], [2.5 / 4, 0.5 / 2])
    np.testing.assert_allclose(shares[3], [1.5 / 4, 1.5 / 2])
