import numpy as np
import pytest

from fmnet.evaluation.moderation import ScoredTrial, gain_left, ranked_within
from fmnet.evaluation.rank_effects import (
    arm_concordance,
    pseudo_effects,
    rank_weighted_effects,
    rate_curves,
)

ONE = np.array([0])


def brute_force(effects, rank):
    ordered = effects[np.argsort(-rank)]
    n = len(ordered)
    toc = [ordered[:k].mean() - ordered.mean() for k in range(1, n + 1)]
    return np.mean(toc), np.mean([k / n * one for k, one in enumerate(toc, 1)])


def trial(n, seed=0, moderates=0.0, n_repeats=1):
    rng = np.random.default_rng(seed)
    baseline, score = rng.normal(size=(2, n))
    arm = (rng.permutation(n) < n // 3).astype(float)
    gain = baseline + arm * (1 + moderates * score) + rng.normal(size=n)
    fold = np.concatenate([rng.permutation(n) % 3 + 3 * k for k in range(n_repeats)])
    gain, arm, baseline, score = (np.tile(one, n_repeats) for one in (gain, arm, baseline, score))
    repeat, unit = np.repeat(np.arange(n_repeats), n), np.tile(np.arange(n), n_repeats)
    share = np.full(len(arm), 1 / 3)
    return ScoredTrial(gain, arm, share, baseline[:, None], score, repeat, fold, unit)


def test_rates_are_those_of_their_definition():
    rng = np.random.default_rng(0)
    effects, rank = rng.normal(size=(2, 37))
    found = rank_weighted_effects(effects, rank, ONE)
    assert found == pytest.approx(brute_force(effects, rank))
    both = rank_weighted_effects(np.r_[effects, effects], np.r_[rank, -rank], np.array([0, 37]))
    other = brute_force(effects, -rank)
    assert both == pytest.approx([(a + b) / 2 for a, b in zip(found, other, strict=True)])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("metric", ["toc", "qini"])
def test_rates_agree_with_econml(metric):
    validate = pytest.importorskip("econml.validate.utils")
    rng = np.random.default_rng(4)
    n = 61
    effects, rank = rng.normal(size=(2, n))
    percentiles = 100 * np.arange(n + 1) / n
    coefficient, _, _ = validate.calc_uplift(rank, rank, effects, percentiles, metric, 10)
    own = rank_weighted_effects(effects, rank, ONE)[metric == "qini"]
    assert own == pytest.approx(coefficient)


def test_pseudo_effects_agree_with_econml():
    validate = pytest.importorskip("econml.validate.utils")
    own = trial(53, 1, 0.5)
    left, effect = gain_left(own, has_score=True)
    expected = np.stack([own.gain - left, own.gain - left + effect], axis=1)
    shares = np.stack([1 - own.propensity, own.propensity], axis=1)
    theirs = validate.calculate_dr_outcomes(own.arm.astype(int), own.gain, expected, shares)
    np.testing.assert_allclose(pseudo_effects(own), theirs[:, 0])


def test_tied_ranks_share_their_effects():
    effects = np.array([5.0, -1.0, 0.0, 2.0, 9.0])
    flat = rank_weighted_effects(effects, np.zeros(5), ONE)
    assert flat == pytest.approx((0, 0))
    tied = rank_weighted_effects(effects, np.array([1.0, 1, 0, 0, 0]), ONE)
    assert tied == pytest.approx(
        brute_force(np.array([2, 2, 11 / 3, 11 / 3, 11 / 3]), -np.arange(5))
    )


def test_intervals_hold_what_a_moderator_is_worth():
    found = rate_curves(trial(240, 2, moderates=1.0, n_repeats=2), n_draws=150)
    low, high = found["autoc_ci"]
    assert 0 < low < found["autoc"] < high
    assert low < 1 < high  # the mean of a normal score's TOC
    curve = found["curve"]
    assert curve["toc"][-1] == pytest.approx(0, abs=1e-9)
    assert np.all(np.array(curve["toc_low"]) <= np.array(curve["toc_high"]))
    np.testing.assert_allclose(curve["qini"], np.multiply(curve["toc"], curve["fraction"]))


def test_intervals_of_chance_hold_0():
    held = []
    for seed in range(30):
        low, high = rate_curves(trial(70, seed), n_draws=80)["autoc_ci"]
        held.append(low <= 0 <= high)
    assert np.mean(held) > 0.8


def test_concordance_counts_pairs_of_one_arm():
    left, rank = np.array([1.0, 2.0, 3.0, 9.0, 3.0]), np.array([0.1, 0.2, 0.2, 0.0, 0.9])
    chosen = np.array([1.0, 1, 1, 0, 1])
    # of pairs of different gains: 1-2, 1-3, 1-5, 2-5 agree, 2-3 is tied
    assert arm_concordance(left, rank, chosen, ONE) == pytest.approx(4.5 / 5)
    assert np.isnan(arm_concordance(left, rank, np.eye(5)[0], ONE))
    assert ranked_within(rank, np.zeros(5, dtype=int)).mean() == pytest.approx(0.5)
