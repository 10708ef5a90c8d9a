import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from simulated_folds import Cohorts
from sklearn.metrics import roc_auc_score
from test_metrics import one_fold

from fmnet.evaluation.comparison import corrected_t_test
from fmnet.evaluation.metrics import auc_interval, auc_variance
from fmnet.evaluation.power import (
    Curve,
    Precision,
    fit_curve,
    inflation,
    interval_width,
    learning_curve,
    participants_needed,
    seed_variance,
    smallest_accuracy,
    smallest_auc,
    smallest_difference,
    study_power,
)
from fmnet.report.sentences import curve_lines, power_lines


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


def power(n_positive=35, n_negative=35, se=0.05, df=49, n_comparisons=8) -> dict:
    """What a study of ten repeats can show, and ``text``, the same in sentences."""
    label = np.repeat([1, 0], [n_positive, n_negative])
    people = [f"sub-{k:03}" for k in range(len(label))]
    rows = {"participant_id": people, "scan_id": people, "model": "network", "score": 0.0}
    rows |= {"fold": np.arange(len(label)) % 5, "label": label}
    table = pd.concat([pd.DataFrame(rows | {"repeat": repeat}) for repeat in range(10)])
    others = [f"other-{k}" for k in range(n_comparisons - (se is not None))]
    comparisons = [{"one": "network", "other": name, "p_holm_first": 1.0} for name in others]
    tested = {"se": se, "df": df, "p_holm_first": None if se is None else 0.5}
    comparisons.append({"one": "linear_svm", "other": "network"} | tested)
    metrics = {"models": {"linear_svm": {"auc": 0.7}}, "comparisons": comparisons}
    found = study_power(table, metrics, "network", "linear_svm")
    return found | {"text": " ".join(power_lines(found, {"linear_svm": "linear SVM"}))}


def test_sentences_hold_the_figures():
    found = power()
    assert f"{found['auc_above_chance']:.2f}" in found["text"]
    assert f"better by {found['difference']:.2f}" in found["text"]
    assert found["difference"] == smallest_difference(0.05, 49, 8)
    assert "corrected for 8 comparisons, the network" in found["text"]
    assert "linear SVM (AUC 0.70)" in found["text"]
    assert "about 1.3 times" in found["text"]


def test_says_what_it_can_not_know():
    found = power(se=None, df=None)
    assert found["difference"] is None
    assert found["text"].endswith("not tested.")


def test_accuracy_is_held_against_a_coin_only_where_classes_are_alike():
    assert power()["accuracy_above_chance"] is not None
    assert power(20, 50)["accuracy_above_chance"] is None


def test_impossible_gain_is_said_to_be_one():
    assert "no gain that there is room for" in power(10, 10, se=0.2)["text"]


def test_nothing_is_worked_out_for_people_with_scans_of_both_groups_or_without_a_rival():
    rows = {"participant_id": list("aabb"), "label": [0, 1, 0, 1], "model": "network"}
    table = pd.DataFrame(rows)
    found = study_power(table, {}, "network", "linear_svm")
    assert power_lines(found, {}) == ["Not worked out: there are people with scans of both groups."]
    assert study_power(table.assign(label=[0, 0, 1, 1]), {}, "network", "") == {}


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
    found = study_power(table, metrics, "network", "linear_svm")
    assert any(f"on {counted} a coin" in line for line in power_lines(found, {}))
    assert found["auc_above_chance"] == smallest_auc(n_each, n_each, found["inflation"])


def test_known_curve_is_found_again():
    truth = Curve(0.85, 1.2, 0.6)
    sizes = np.array([15.0, 25, 40, 56])
    found = fit_curve(sizes, truth.auc(sizes))
    np.testing.assert_allclose(found.auc([56, 112, 224]), truth.auc([56, 112, 224]), atol=0.005)


def test_flat_curve_promises_nothing():
    found = fit_curve(np.array([15.0, 25, 40, 56]), np.full(4, 0.5))
    assert found.auc(10_000) == pytest.approx(0.5, abs=0.01)


def test_more_is_asked_of_a_small_difference_than_of_a_large_effect():
    curves = {"network": Curve(0.85, 0.5, 0.5), "linear_svm": Curve(0.80, 0.5, 0.5)}
    needed = participants_needed(curves, list(curves), 0.5, Precision(70, 1.0, 0.15))
    # 0.05 is a third of what 70 people show: nine times as many.
    assert needed["above_rival"] == pytest.approx(630, rel=0.02)
    assert needed["above_chance"] < 60


def test_no_study_shows_a_difference_that_is_not_there():
    curves = {"network": Curve(0.5, 0.0, 0.5), "linear_svm": Curve(0.7, 0.1, 0.5)}
    needed = participants_needed(curves, list(curves), 0.5, Precision(70, 1.0, 0.15))
    assert needed == {"above_chance": None, "above_rival": None}


def test_untested_rival_is_left_out_of_the_look_ahead():
    curves = {"network": Curve(0.8, 0.5, 0.5), "linear_svm": Curve(0.7, 0.1, 0.5)}
    assert set(participants_needed(curves, list(curves), 0.5, Precision(70))) == {"above_chance"}


def test_spread_over_splits_and_seeds_are_told_apart():
    scores = {0: [0.0, 1, 2, 3], 1: [2.0, 1, 1.5, 3]}
    table = pd.concat([one_fold([0, 0, 1, 1], scores[k], repeat=k) for k in (0, 1)])
    again = pd.concat([one_fold([0, 0, 1, 1], scores[k]).assign(seed=1 + k) for k in (0, 1)])
    found = seed_variance(table, again, "m")
    assert found["splits_sd"] == pytest.approx(np.std([1.0, 0.75], ddof=1))
    assert found["seeds_sd"] == pytest.approx(np.std([1.0, 1.0, 0.75], ddof=1))
    assert (found["n_splits"], found["n_seeds"]) == (2, 3)


def test_one_of_each_has_no_spread():
    found = seed_variance(one_fold([0, 1], [0.0, 1.0]), pd.DataFrame(), "m")
    assert found == {"n_splits": 1, "splits_sd": None, "n_seeds": 1, "seeds_sd": None}


def table_of(auc_shift, seed):
    rng = np.random.default_rng(seed)
    label = np.arange(40) % 2
    parts = []
    for model, gain in (("network", 0.8), ("linear_svm", 1.2)):
        score = rng.normal(size=40) + gain * auc_shift * label
        parts.append(
            pd.DataFrame(
                {
                    "participant_id": [f"sub-{k:02}" for k in range(40)],
                    "scan_id": [f"sub-{k:02}" for k in range(40)],
                    "repeat": 0,
                    "fold": np.arange(40) // 8,
                    "model": model,
                    "label": label,
                    "score": score,
                    "probability": 1 / (1 + np.exp(-score)),
                }
            )
        )
    return pd.concat(parts)


def test_every_size_is_described_and_looked_beyond():
    tables = {16.0: table_of(0.4, 0), 24.0: table_of(0.8, 0), 32.0: table_of(1.2, 0)}
    models = ["network", "linear_svm"]
    found = learning_curve(tables, models, 0.5, Precision(40, 1.0, 0.2), 0)
    assert [row["n_train"] for row in found["points"]] == [16, 24, 32] * 2
    assert {row["n_train"] for row in found["ahead"]} == {64, 128}
    for row in found["ahead"]:
        assert 0.5 <= row["auc_ci"][0] <= row["auc_ci"][1] <= 1
    lines = curve_lines(found, {"network": "small CNN", "linear_svm": "linear SVM"})
    assert len(lines) == 4
    assert "by extrapolation" in lines[0]
    assert [line.split(":")[0] for line in lines[:2]] == ["small CNN", "linear SVM"]


def test_too_few_sizes_give_no_curve():
    found = learning_curve({32.0: table_of(1.0, 0)}, ["network"], 0.5, Precision(40), 0)
    assert found["points"] == []
    assert "fewer than three sizes" in curve_lines(found, {})[0]
