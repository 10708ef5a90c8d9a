import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_folds import Cohorts
from sklearn.metrics import brier_score_loss, log_loss, matthews_corrcoef, roc_auc_score

from fmnet.evaluation.comparison import compare_models
from fmnet.evaluation.evaluate import study_metrics
from fmnet.evaluation.metrics import (
    PairCounts,
    add_units,
    auc_draws,
    auc_interval,
    auc_variance,
    count_pairs,
    expected_logit_se,
    fold_aucs,
    model_metrics,
    predictive_values,
    training_variance,
    widen_figures,
    wilson,
)


def one_fold(labels, scores, people=None, fold=0, repeat=0) -> pd.DataFrame:
    n = len(labels)
    people = people or [f"sub-{fold}-{row}" for row in range(n)]
    return pd.DataFrame(
        {
            "participant_id": people,
            "scan_id": [f"{person}_{row}" for row, person in enumerate(people)],
            "repeat": repeat,
            "fold": fold,
            "model": "m",
            "label": labels,
            "score": scores,
            "probability": 1 / (1 + np.exp(-np.asarray(scores, float))),
        }
    )


def auc(predictions) -> float:
    pairs = count_pairs(predictions)
    return pairs.auc(np.ones(len(pairs.units)))


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=4, max_size=30).filter(
        lambda rows: len({label for label, _ in rows}) == 2
    )
)
def test_agrees_with_scikit_learn_on_one_fold(rows):
    labels, scores = map(np.array, zip(*rows, strict=True))
    assert auc(one_fold(labels, scores)) == pytest.approx(roc_auc_score(labels, scores))


def test_a_shift_between_folds_changes_nothing():
    folds = [one_fold([0, 1, 1, 0], [1.0, 3, 2, 2.5], fold=k) for k in range(3)]
    shifted = [fold.assign(score=fold["score"] + 100 * k) for k, fold in enumerate(folds)]
    assert auc(pd.concat(folds)) == auc(pd.concat(shifted)) == 0.75


def test_dummy_is_exactly_at_chance_whatever_the_folds():
    folds = [one_fold([0] * (k + 1) + [1], [float(-k)] * (k + 2), fold=k) for k in range(4)]
    assert auc(pd.concat(folds)) == 0.5


def test_interval_draws_people_not_scans():
    labels = [0, 1] * 10
    scores = np.random.default_rng(0).normal(size=20) + labels
    people = [f"sub-{row // 2}" for row in range(20)]
    clustered = count_pairs(one_fold(labels, scores, people))
    assert len(set(clustered.units)) == 10
    single = count_pairs(one_fold(labels, scores))
    assert len(set(single.units)) == 20


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth, hits = 0.7602, 0  # of two normals one SD apart: Phi(1 / sqrt(2))
    for seed in range(200):
        labels = np.repeat([0, 1], 25)
        table = one_fold(labels, rng.normal(size=50) + labels)
        low, high = np.quantile(auc_draws(table, 200, seed), [0.025, 0.975])
        hits += low <= truth <= high
    assert 0.87 <= hits / 200 <= 0.99


def test_threshold_figures():
    metrics = model_metrics(one_fold([1, 1, 1, 0, 0], [1.0, -1, 2, -1, -3]), n_draws=50)
    assert metrics["sensitivity"] == pytest.approx(2 / 3)
    assert metrics["specificity"] == 1.0
    assert metrics["balanced_accuracy"] == pytest.approx(5 / 6)


def test_study_metrics_count_people_and_scans_once():
    repeats = [
        one_fold([0, 1, 1, 0], [0.0, 1, 2, 1], ["a", "a", "b", "b"], repeat=k) for k in range(3)
    ]
    both = pd.concat(
        [table.assign(model=name) for name in ("network", "dummy") for table in repeats]
    )
    metrics = study_metrics(both, seed=0)
    assert (metrics["n_subjects"], metrics["n_scans"], metrics["n_positive"]) == (2, 4, 2)
    assert list(metrics["models"]) == ["network", "dummy"]
    assert len(metrics["models"]["network"]["auc_by_repeat"]) == 3


def test_figures_agree_with_scikit_learn():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], [13, 17])
    table = one_fold(labels, rng.normal(size=30) + labels - 0.5)
    found = model_metrics(table, n_draws=20)
    called, probability = table["score"] > 0, table["probability"]
    alike = np.where(labels == 1, 1 / 17, 1 / 13)
    assert found["mcc"] == pytest.approx(matthews_corrcoef(labels, called))
    brier = brier_score_loss(labels, probability, sample_weight=alike)
    assert found["brier"] == pytest.approx(brier)
    assert found["log_loss"] == pytest.approx(log_loss(labels, probability, sample_weight=alike))


def test_calls_are_what_probabilities_say():
    labels = [0, 0, 1, 1, 1]
    table = one_fold(labels, [1.0, 2, 3, 4, 5]).assign(probability=[0.3, 0.5, 0.5, 0.51, 0.9])
    found = model_metrics(table, n_draws=5)
    assert (found["sensitivity"], found["specificity"]) == pytest.approx((2 / 3, 1.0))


def test_one_half_for_everybody_has_no_calibration_error_whatever_the_groups():
    table = one_fold([0] * 50 + [1] * 20, [0.0] * 70)
    found = model_metrics(table, n_draws=20)
    assert found["brier"] == pytest.approx(0.25)
    assert found["log_loss"] == pytest.approx(np.log(2))
    assert found["ece"] == pytest.approx(0, abs=1e-12)
    assert found["brier_ci"] == pytest.approx([0.25, 0.25])


def test_calibration_error_of_a_hand_made_case():
    table = one_fold([0, 1, 1, 1], [-1.0, 1, 1, 1]).assign(probability=[0.05, 0.95, 0.55, 0.58])
    # the one negative counts as much as the three positives
    expected = 0.05 / 2 + (0.05 + abs(0.55 - 1 + 0.58 - 1)) / 6
    assert model_metrics(table, n_draws=5)["ece"] == pytest.approx(expected)


def test_sure_and_wrong_probabilities_cost_a_finite_loss():
    table = one_fold([0, 1], [1.0, 2.0]).assign(probability=[1.0, 1.0])
    assert 0 < model_metrics(table, n_draws=20)["log_loss"] < 10


def test_predictive_values_follow_bayes():
    positive, negative = predictive_values(np.array([0.9]), np.array([0.8]), 0.1)
    assert positive[0] == pytest.approx(0.09 / (0.09 + 0.18))
    assert negative[0] == pytest.approx(0.72 / (0.72 + 0.01))


def test_predictive_value_without_a_positive_call_is_unknown():
    row = model_metrics(one_fold([0, 1, 0, 1], [-1.0] * 4), n_draws=30)["predictive_values"][1]
    assert row["prevalence"] == 0.1
    assert row["ppv"] is None
    assert row["npv"] == pytest.approx(0.9)


def test_every_figure_lies_in_its_interval():
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1], 20)
    found = model_metrics(one_fold(labels, rng.normal(size=40) + labels), n_draws=500)
    for name in ("auc", "balanced_accuracy", "sensitivity", "specificity", "brier", "mcc"):
        low, high = found[f"{name}_ci"]
        assert low <= found[name] <= high, name


def test_interval_of_the_auc_is_made_from_the_pairs():
    rng = np.random.default_rng(6)
    labels = np.repeat([0, 1], [8, 7])
    folds = [
        one_fold(labels, rng.normal(size=15) + labels, fold=fold, repeat=repeat)
        for repeat in range(2)
        for fold in range(3)
    ]
    table = pd.concat(folds)
    found, pairs = model_metrics(table, n_draws=20), count_pairs(table)
    assert pairs.n_units() == (21, 24)
    assert found["auc_logit_se"] == pairs.logit_se(2)
    assert found["auc_ci"] == auc_interval(found["auc"], pairs.logit_se(2), 21, 24)
    assert model_metrics(table, n_draws=30, seed=1)["auc_ci"] == found["auc_ci"]


def test_lock_box_owes_nothing_to_training():
    labels = np.arange(40) % 2
    table = one_fold(labels, np.random.default_rng(7).normal(size=40) + labels / 2)
    found = model_metrics(table, n_draws=20)
    assert found["auc_logit_se"] == count_pairs(table).logit_se(None)
    assert found["auc_logit_se"] < 0.8 * count_pairs(table).logit_se(1)


def test_people_with_scans_of_both_classes_are_paired():
    score = np.random.default_rng(8).normal(size=12)
    labels, people = np.repeat([0, 1], 12), [f"sub-{k}" for k in range(12)] * 2
    paired = one_fold(labels, np.concatenate([score, score + 0.5]), people)
    single = one_fold(labels, np.concatenate([score, score + 0.5]))
    assert count_pairs(paired).n_units() == (12, 12)
    assert count_pairs(paired).logit_se(None) < 0.6 * count_pairs(single).logit_se(None)


def test_families_are_drawn_together():
    labels = [0, 1] * 6
    table = one_fold(labels, np.arange(12.0))
    families = {person: f"family-{row // 4}" for row, person in enumerate(table["participant_id"])}
    assert len(set(count_pairs(add_units(table, families)).units)) == 3


@pytest.mark.parametrize("n", [4, 10, 40])
def test_faultless_calls_of_few_people_are_no_certainty(n):
    labels = np.arange(n) % 2
    found = model_metrics(one_fold(labels, 2.0 * labels - 1), n_draws=50)
    for name in ("auc", "sensitivity", "specificity", "balanced_accuracy", "mcc"):
        low, high = found[f"{name}_ci"]
        assert found[name] == high == 1.0
        assert low < 1 - 2 / n, name
    rare = found["predictive_values"][0]
    assert rare["ppv"] == 1.0
    assert rare["ppv_ci"][0] < 0.5


def test_constant_scores_stay_exactly_at_chance():
    found = model_metrics(one_fold([0, 1] * 6, [0.0] * 12), n_draws=50)
    assert found["auc"] == 0.5
    assert found["auc_ci"] == [0.5, 0.5]


@pytest.mark.slow
def test_specificity_interval_covers_the_truth():
    rng, hits = np.random.default_rng(0), 0
    labels = np.repeat([0, 1], 20)
    for seed in range(200):
        called = np.where(labels == 1, 1.0, np.where(rng.random(40) < 0.05, 1.0, -1.0))
        low, high = model_metrics(one_fold(labels, called), 200, seed)["specificity_ci"]
        hits += low <= 0.95 <= high
    assert hits / 200 >= 0.93


def test_fold_aucs_know_the_sizes_of_folds():
    folds = [one_fold([0, 1, 1, 0], [1.0, 3, 2, 2.5], fold=k) for k in range(3)]
    table = fold_aucs(pd.concat(folds))
    assert table["n_test"].tolist() == [4, 4, 4]
    assert table["n_train"].tolist() == [8, 8, 8]
    assert table["m"].tolist() == [0.75] * 3


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=9), min_size=2, max_size=5))
@settings(max_examples=15, deadline=None)
def test_difference_is_that_of_the_stated_aucs(labels):
    rng, tables = np.random.default_rng(0), []
    for fold, found in enumerate(labels):
        label = np.array([0, 1, *found], dtype=int)
        for model in ("network", "linear_svm"):
            one = one_fold(label, rng.normal(size=len(label)).tolist(), fold=fold)
            names = [f"{fold}-{k}" for k in range(len(label))]
            tables.append(one.assign(model=model, scan_id=names, participant_id=names))
    metrics = study_metrics(pd.concat(tables), seed=0)
    (row,) = metrics["comparisons"]
    one, other = (metrics["models"][name]["auc"] for name in ("network", "linear_svm"))
    assert row["difference"] == pytest.approx(one - other)


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


def test_training_adds_as_much_as_testing_at_chance_and_nothing_to_a_perfect_auc():
    assert training_variance(0.5) == 1.0
    assert training_variance(1.0) == training_variance(0.0) == 0.0
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
