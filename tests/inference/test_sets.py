import re
import warnings

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import beta, norm
from sklearn.base import BaseEstimator, ClassifierMixin

from fmnet.inference.sets import (
    DELTA,
    STRANGE,
    count_outside,
    fit_sets,
    level_of,
    level_sentence,
    predictive_values,
    promised_level,
)
from fmnet.inference.unseen_scores import DEPENDENCE, UnseenScores

NAMES = ("FM", "HC")


def drawn(rng, n_positive=35, n_negative=50, apart=1.5):
    return UnseenScores(
        np.sort(rng.normal(apart / 2, 1, n_positive)),
        np.sort(rng.normal(-apart / 2, 1, n_negative)),
    )


@pytest.mark.parametrize(("n", "level"), [(15, 0.830), (35, 0.925), (50, 0.947)])
def test_promise_is_what_all_people_together_can_keep(n, level):
    assert promised_level(n) == pytest.approx(level, abs=0.002)
    assert count_outside(n, promised_level(n) - 1e-9) == 1
    assert count_outside(n, promised_level(n) + 1e-6) == 0


def test_ninety_percent_is_not_promised_to_fifteen_people(rng):
    unseen = drawn(rng, 15, 40)
    assert level_of(unseen, 0.9) == promised_level(15) < 0.9
    assert level_of(unseen, 0.8) == 0.8
    assert "15 people of a group can't promise" in level_sentence(unseen, 0.9)
    assert "at least 82.8 % of the people" in level_sentence(unseen, 0.9)
    assert "can't" not in level_sentence(unseen, 0.8)


@pytest.mark.parametrize("n", range(11, 60))
def test_level_is_never_rounded_up(rng, n):
    unseen = drawn(rng, n, n)
    (said,) = re.findall(r"at least (\S+) %", level_sentence(unseen, 0.99))
    assert 0.001 > level_of(unseen, 0.99) - float(said) / 100 >= 0


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("n", [11, 20, 35, 90])
def test_as_many_are_left_outside_as_the_beta_distribution_allows(n, level):
    k = count_outside(n, level)
    assert level <= promised_level(n) or k == 0
    if k:
        assert beta.cdf(level, (n + 1 - k) / DEPENDENCE, k / DEPENDENCE) <= DELTA
        assert beta.cdf(level, n + 1 - k, k) <= DELTA  # were they independent
    assert beta.cdf(level + STRANGE, (n - k) / DEPENDENCE, (k + 1) / DEPENDENCE) > DELTA


def test_sets_say_one_group_both_or_neither():
    unseen = UnseenScores(np.linspace(-1.0, 3.0, 35), np.linspace(-3.0, 1.0, 35))
    rule = fit_sets(unseen, 0.8)
    assert rule.groups(3.0, NAMES) == ("FM",)
    assert rule.groups(-2.5, NAMES) == ("HC",)
    assert rule.groups(0.0, NAMES) == NAMES
    assert rule.groups(9.0, NAMES) == rule.groups(-9.0, NAMES) == ()


def test_clearest_people_of_a_group_are_not_strange(rng):
    unseen = drawn(rng, 20, 23)
    rule = fit_sets(unseen, 0.8)
    assert rule.groups(unseen.positive[-1], NAMES) == ("FM",)
    assert rule.groups(unseen.negative[0], NAMES) == ("HC",)


def test_nobody_is_lost_between_groups_that_are_told_apart_surely():
    # at 80 % alone, scores from -0.1 to 0.1 would be those of neither
    unseen = UnseenScores(np.linspace(-0.5, 3.0, 35), np.linspace(-3.0, 0.4, 35))
    low, high = fit_sets(unseen, 0.8).positive[0], fit_sets(unseen, 0.8).negative[1]
    assert low <= high
    assert fit_sets(unseen, 0.8).level == 0.8
    # where there is a gap that nobody lay in, a score in it is like nobody's
    far = UnseenScores(np.linspace(2.0, 4.0, 35), np.linspace(-4.0, -2.0, 35))
    assert fit_sets(far, 0.8).groups(0.0, NAMES) == ()
    assert fit_sets(far, 0.8).groups(2.1, NAMES) == ("FM",)


def test_few_people_and_equal_scores_make_sets_too():
    for unseen in (
        UnseenScores(np.array([1.0]), np.array([-1.0, 0.0])),
        UnseenScores(np.zeros(12), np.zeros(13)),
    ):
        assert fit_sets(unseen, 0.8).groups(0.0, NAMES)


def test_level_is_kept_in_nine_of_ten_studies():
    rng = np.random.default_rng(1)
    short = {"ours": 0, "plain": 0}
    for _ in range(400):
        unseen = drawn(rng, apart=0.0)
        low, high = fit_sets(unseen, 0.8).positive
        short["ours"] += norm.cdf(high) - norm.cdf(low) < 0.8
        plain = unseen.positive[int(0.2 * 36) - 1]  # without the correction
        short["plain"] += norm.sf(plain) < 0.8
    assert short["ours"] / 400 < 0.1
    assert short["plain"] / 400 > 0.3


def test_predictive_values_follow_the_prevalence(rng):
    unseen = drawn(rng, 40, 60, apart=2.5)
    common, rare = (predictive_values(unseen, 0.8, rate) for rate in (0.5, 0.05))
    assert common.positive.low < common.positive.value < common.positive.high
    assert rare.positive.value < common.positive.value
    assert rare.negative.value > common.negative.value
    shares = [
        np.mean([fit_sets(unseen, 0.8).groups(score, NAMES) == ("FM",) for score in own])
        for own in (unseen.positive, unseen.negative)
    ]
    expected = shares[0] / (shares[0] + shares[1])
    assert common.positive.value == pytest.approx(expected, abs=0.05)


def test_there_is_no_predictive_value_of_a_set_that_no_score_has():
    inside_out = UnseenScores(np.linspace(-9.0, -2.0, 12), np.linspace(2.0, 9.0, 13))
    found = predictive_values(inside_out, 0.5, 0.1)
    assert found.positive is None
    assert found.negative is None


@pytest.mark.parametrize(
    "unseen",
    [
        UnseenScores(np.zeros(9), np.zeros(8)),
        UnseenScores(np.array([1.0]), np.array([-1.0])),
        UnseenScores(np.array([-1e6, 1e6]), np.array([-1e6, 0.0, 1e6])),
    ],
)
def test_odd_scores_have_predictive_values_within_bounds(unseen):
    found = predictive_values(unseen, 0.8, 0.01)
    for rate in filter(None, (found.positive, found.negative)):
        assert 0 <= rate.low <= rate.value <= rate.high <= 1


def test_worth_of_sets_in_new_people_lies_within_its_interval():
    rng, within = np.random.default_rng(2), []
    for _ in range(40):
        unseen = drawn(rng, 35, 35)
        rule, stated = fit_sets(unseen, 0.8), predictive_values(unseen, 0.8, 0.3)
        low, high = rule.negative[1], rule.positive[1]
        right, wrong = (norm.cdf(high, mean) - norm.cdf(low, mean) for mean in (0.75, -0.75))
        true = 0.3 * right / (0.3 * right + 0.7 * wrong)
        within.append(stated.positive.low <= true <= stated.positive.high)
    assert np.mean(within) > 0.9


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose one feature is the score."""

    def fit(self, x, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, x):
        p = expit(np.asarray(x)[:, 0])
        return np.stack([1 - p, p], axis=1)

    def predict(self, x):
        return (np.asarray(x)[:, 0] > 0).astype(int)


@pytest.mark.parametrize("level", [0.7, 0.8])
def test_limits_are_those_of_crepes_and_mapie_at_the_corrected_level(rng, level):
    crepes = pytest.importorskip("crepes")
    mapie = pytest.importorskip("mapie.classification")
    unseen = drawn(rng, apart=0.5)  # without a gap between the limits
    rule, new = fit_sets(unseen, level), rng.normal(0, 1.2, 300)
    held = np.array([rule.holds(score) for score in new])
    is_usual = np.abs(new) < 3
    for number, (scores, sign) in enumerate([(unseen.positive, 1.0), (unseen.negative, -1.0)]):
        n, k = len(scores), count_outside(len(scores), level)
        other = crepes.ConformalClassifier().fit(-sign * scores)
        p = other.predict_p(-sign * new[:, None], smoothing=False)[:, 0]
        np.testing.assert_array_equal((p > k / (n + 1) + 1e-9)[is_usual], held[is_usual, number])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            split = mapie.SplitConformalClassifier(
                Given().fit(None, None), 1 - k / (n + 1) - 1e-9, "lac", prefit=True
            )
            split.conformalize(scores[:, None], np.full(n, 1 - number))
            found = split.predict_set(new[:, None])[1][:, 1 - number, 0]
        np.testing.assert_array_equal(found[is_usual], held[is_usual, number])
