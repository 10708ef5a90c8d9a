import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_folds import Cohorts

from fmnet.evaluation.comparison import compare_models
from fmnet.evaluation.intervals import (
    auc_interval,
    auc_variance,
    expected_logit_se,
    is_below_chance,
    training_share,
    widen_figures,
    wilson,
)
from fmnet.evaluation.metrics import PairCounts

#: Enough to tell .95 from .82, and .05 from .14.
N_COHORTS = 160


def test_interval_is_symmetric_in_log_odds():
    low, high = auc_interval(0.7, 0.4, 12, 20)
    odds = [np.log(edge / (1 - edge)) for edge in (low, 0.7, high)]
    assert odds[1] - odds[0] == pytest.approx(odds[2] - odds[1])
    assert odds[2] - odds[1] == pytest.approx(2.042 * 0.4, rel=1e-3)  # t with 30 df


@given(st.integers(0, 24), st.floats(0.0, 3.0), st.integers(1, 40), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_every_auc_lies_in_its_interval(won, se, n_positive, n_negative):
    auc = won / 24
    low, high = auc_interval(auc, se, n_positive, n_negative)
    assert 0 <= low <= auc + 1e-9
    assert auc - 1e-9 <= high <= 1
    mirrored = auc_interval(1 - auc, se, n_positive, n_negative)
    assert mirrored == pytest.approx([1 - high, 1 - low], abs=1e-6)


@pytest.mark.parametrize(("auc", "se"), [(None, 0.3), (0.6, None)])
def test_what_is_unknown_has_no_interval(auc, se):
    assert auc_interval(auc, se, 7, 8) == [None, None]


def test_perfect_auc_of_few_people_is_no_certainty():
    low, high = auc_interval(1.0, 0.3, 7, 9)
    assert high == 1.0
    assert low == pytest.approx(wilson(1.0, 7)[0])


def test_interval_below_chance_is_recognised():
    assert is_below_chance({"auc_ci": [0.16, 0.47]})
    assert not is_below_chance({"auc_ci": [0.16, 0.51]})
    assert not is_below_chance({"auc_ci": [None, None]})


def test_training_adds_as_much_as_testing_at_chance_and_nothing_to_a_perfect_auc():
    assert training_share(0.5) == 1.0
    assert training_share(1.0) == training_share(0.0) == 0.0
    new, few, many = (expected_logit_se(0.5, 20, 25, repeats) for repeats in (None, 1, 10))
    assert new == pytest.approx(4 * np.sqrt(auc_variance(0.5, 20, 25)))
    assert new < many < few < 1.5 * new


def counted(won, units=None) -> PairCounts:
    """Let each positive, in a row, meet each negative once in one fold."""
    n_positive, n_negative = won.shape
    n = n_positive + n_negative
    full, met = np.zeros((2, n, n))
    full[:n_positive, n_positive:], met[:n_positive, n_positive:] = won, 1
    return PairCounts(full, met, np.arange(n) if units is None else np.asarray(units))


def test_people_twice_are_no_more_people():
    rng = np.random.default_rng(0)
    score = rng.normal(size=30) + np.repeat([0.8, 0.0], 15)
    won = (score[:15, None] > score[None, 15:]).astype(float)
    once = counted(won).logit_se(10)
    twice = counted(np.tile(won, (2, 2)), [*range(15), *range(15), *range(15, 30), *range(15, 30)])
    assert twice.logit_se(10) == pytest.approx(once)
    assert counted(np.tile(won, (2, 2))).logit_se(10) < 0.8 * once


def test_model_tested_on_new_people_is_known_better():
    rng = np.random.default_rng(1)
    score = rng.normal(size=40) + np.repeat([0.3, 0.0], 20)
    pairs = counted((score[:20, None] > score[None, 20:]).astype(float))
    assert pairs.logit_se(None) < 0.8 * pairs.logit_se(10)


def test_scores_all_alike_have_no_spread_and_no_pairs_none():
    assert counted(np.full((4, 5), 0.5)).logit_se(1) == 0.0
    assert counted(np.zeros((0, 5))).logit_se(1) is None


@pytest.fixture(scope="module", params=[0.0, 3.0], ids=["no effect", "effect"])
def draws(request):
    cohorts = Cohorts(20, request.param, n_repeats=10)
    return [cohorts.draw(seed) for seed in range(N_COHORTS)]


def test_intervals_of_ten_repeats_hold_the_truth(draws):
    """A bootstrap of people held it in .80 and .83."""
    aucs = [draw.pairs.auc(np.ones(40)) for draw in draws]
    truth, hits = np.mean(aucs), 0
    for auc, draw in zip(aucs, draws, strict=True):
        low, high = auc_interval(auc, draw.pairs.logit_se(10), 20, 20)
        hits += low <= truth <= high
    assert 0.9 <= hits / N_COHORTS <= 0.99


def test_equal_models_differ_as_rarely_as_is_said(draws):
    """Over all 50 folds as if they were independent, .11 and .09 did."""
    rows = [compare_models(draw.fold_aucs, "network")[0] for draw in draws]
    assert np.mean([row["p"] < 0.05 for row in rows]) <= 0.08
    assert rows[0]["df"] == pytest.approx(100 / 7)  # four a repeat, worth 25 / 7 repeats


def test_balanced_accuracy_is_widened_for_training_alone():
    found = {
        "balanced_accuracy": 0.5, "balanced_accuracy_ci": [0.4, 0.6],
        "mcc": 0.0, "mcc_ci": [-0.2, 0.9],
        "sensitivity": None, "sensitivity_ci": [None, None],
        "specificity": None, "specificity_ci": [None, None],
    }  # fmt: skip
    assert widen_figures(found, 0, 9, False) == found
    wider = widen_figures(found, 0, 9, True)
    assert wider["balanced_accuracy_ci"] == pytest.approx([0.5 - 0.1 * 2**0.5, 0.5 + 0.1 * 2**0.5])
    assert wider["mcc_ci"] == pytest.approx([-0.2 * 2**0.5, 1.0])
