import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from fmnet.evaluation.comparison import (
    best_rival,
    bootstrap_corrected_auc,
    chosen_auc,
    compare_models,
    corrected_t_test,
    holm,
    p_value,
    summarise_choice,
    summarise_permutations,
)
from fmnet.evaluation.metrics import count_pairs, model_metrics


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_raises_p_values_and_keeps_their_order(p_values):
    corrected = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


def test_without_shared_training_it_is_the_plain_t_test():
    differences = np.random.default_rng(0).normal(0.05, 0.1, 20)
    found, plain = corrected_t_test(differences, 0.0), ttest_1samp(differences, 0)
    assert found["t"] == pytest.approx(plain.statistic)
    assert found["p"] == pytest.approx(plain.pvalue)
    assert found["ci"] == pytest.approx(list(plain.confidence_interval()))


def test_shared_training_widens_the_interval_as_published():
    differences = np.random.default_rng(0).normal(0.05, 0.1, 50)
    plain, corrected = corrected_t_test(differences, 0.0), corrected_t_test(differences, 0.25)
    widths = [found["ci"][1] - found["ci"][0] for found in (plain, corrected)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt((1 / 50 + 0.25) / (1 / 50)))
    assert corrected["p"] > plain["p"]


def test_folds_count_by_their_pairs():
    differences, pairs = np.array([0.4, 0.1, -0.2]), np.array([10.0, 40, 50])
    found = corrected_t_test(differences, 0.0, pairs)
    weights, mean = pairs / 100, 0.04 + 0.04 - 0.1
    variance = weights @ (differences - mean) ** 2 / (1 - weights @ weights) * (weights @ weights)
    assert found["difference"] == pytest.approx(mean)
    assert found["se"] == pytest.approx(np.sqrt(variance))
    assert found["df"] == 2
    alike, plain = (corrected_t_test(differences, 0.25, n) for n in (np.full(3, 16.0), None))
    assert [alike["p"], *alike["ci"]] == pytest.approx([plain["p"], *plain["ci"]])


def test_variance_is_that_within_repeats():
    rng = np.random.default_rng(3)
    folds = rng.normal(size=(3, 4))  # repeats, folds
    repeats = np.repeat([0, 1, 2], 4)
    found = corrected_t_test(folds.ravel(), 1 / 3, repeats=repeats, auc=0.8)
    variance = folds.var(axis=1, ddof=1).mean()
    factor = 1 / 4 * (1 + 1 / 3) / 2 + 1 / 3 * np.sqrt(4 * 0.8 * 0.2)
    assert found["se"] == pytest.approx(np.sqrt(variance * factor))
    assert found["df"] == pytest.approx(3 * 3 / (1 + 2 / 4))
    moved = folds + np.array([[0.0], [1.0], [-1.0]])
    moved = corrected_t_test(moved.ravel(), 1 / 3, None, repeats, 0.8)
    assert moved["se"] == pytest.approx(found["se"])


def test_random_splits_are_tested_as_published():
    differences = np.random.default_rng(4).normal(0.1, 0.1, 9)
    single = corrected_t_test(differences, 0.25, repeats=np.arange(9))
    assert single == corrected_t_test(differences, 0.25)
    assert single["df"] == 8


def test_test_of_folds_of_all_sizes_holds_its_level():
    rng, sizes, hits = np.random.default_rng(0), np.array([8, 12, 20, 40]), 0
    for _ in range(500):
        differences = rng.normal(size=4) / np.sqrt(sizes)  # large folds vary less
        found = corrected_t_test(differences, 0.0, sizes.astype(float) ** 2 / 4)
        hits += found["p"] < 0.05
    assert hits / 500 < 0.06


def test_interval_stays_where_differences_can_lie():
    low, high = corrected_t_test(np.array([-0.6, 0.3]), 1.0)["ci"]
    assert (low, high) == (-1.0, 1.0)


def test_identical_models_do_not_differ():
    assert corrected_t_test(np.zeros(10), 0.25)["p"] == 1.0


def test_one_fold_allows_no_test():
    assert corrected_t_test(np.array([0.3]), 0.25)["p"] is None


@pytest.mark.parametrize("differences", [[0.25] * 5, [0.1 + 0.2, 0.3, 0.3], [0.5, 0.5]])
def test_folds_that_all_differ_alike_are_no_proof(differences):
    found = corrected_t_test(np.array(differences), 0.25)
    assert found["difference"] == pytest.approx(differences[0])
    assert found["p"] is found["ci"] is None


@pytest.fixture
def table():
    rng = np.random.default_rng(2)
    names = ("network", "roughness", "linear_svm")
    return pd.DataFrame(
        {"repeat": 0, "fold": range(5), "n_test": 8, "n_train": 32, "n_pairs": 16}
        | {name: rng.uniform(size=5) for name in names}
    )


def test_every_pair_is_compared_once(table):
    rows = compare_models(table, "network")
    assert [(row["one"], row["other"]) for row in rows] == [
        ("network", "roughness"), ("network", "linear_svm"), ("roughness", "linear_svm"),
    ]  # fmt: skip
    assert rows[0]["difference"] == pytest.approx((table["network"] - table["roughness"]).mean())
    assert all(row["p_holm"] >= row["p"] for row in rows)


def test_pairs_with_the_first_model_are_also_corrected_among_themselves(table):
    rows = compare_models(table, "network")
    assert "p_holm_first" not in rows[2]
    own = holm([row["p"] for row in rows[:2]])
    assert [row["p_holm_first"] for row in rows[:2]] == pytest.approx(own)


def test_pairs_with_further_models_are_corrected_together(table):
    table = table.assign(cnn=table["roughness"] + [0.1, 0.2, 0.3, 0.1, 0.2], resnet=0.9)
    rows = compare_models(table, "network", ["cnn", "resnet"])
    asked = [row for row in rows if {"cnn", "resnet"} & {row["one"], row["other"]}]
    assert len(asked) == 7
    assert [row["p_holm_further"] for row in asked] == pytest.approx(holm([r["p"] for r in asked]))
    assert sum("p_holm_further" in row for row in rows) == 7
    # what is asked of the first is asked as before, with two pairs more
    first = [row for row in rows if "network" in (row["one"], row["other"])]
    assert [row["p_holm_first"] for row in first] == pytest.approx(holm([r["p"] for r in first]))


def test_model_that_scores_everybody_alike_is_not_tested_against(table):
    rows = compare_models(table.assign(dummy=0.5), "network")
    against = [row for row in rows if "dummy" in (row["one"], row["other"])]
    assert len(against) == 3
    assert all(row["p"] is row["p_holm"] is None for row in against)
    assert [row["p_holm_first"] for row in rows if row["one"] == "network"][2] is None
    assert rows[0]["p_holm"] == compare_models(table, "network")[0]["p_holm"]


def table_of(scores, label, fold, unit=None) -> pd.DataFrame:
    """Out-of-fold table of several models' scores, (models, N)."""
    people = [f"sub-{k:03}" for k in range(len(label))]
    rows = {"participant_id": people, "scan_id": people, "repeat": 0, "fold": fold, "label": label}
    rows |= {} if unit is None else {"unit": unit}
    models = [pd.DataFrame(rows | {"model": f"{k}", "score": s}) for k, s in enumerate(scores)]
    return pd.concat(models, ignore_index=True)


def study_of(rng, effects, n, shared=0.7) -> pd.DataFrame:
    """Scores of models that agree with each other; the groups differ by `effects` in them."""
    label = np.arange(n) % 2
    common = rng.normal(size=n)
    scores = [
        np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=n) + effect * label
        for effect in effects
    ]
    return table_of(scores, label, np.arange(n) // 2 % 5)


def auc_of(table, model) -> float:
    pairs = count_pairs(table[table["model"] == model])
    return pairs.auc(np.ones(len(pairs.units)))


@pytest.mark.parametrize(("effects", "expected"), [((0,) * 4, 0.5), ((1.0,) * 4, 0.760)])
def test_best_of_models_worth_the_same_comes_out_as_any_of_them(effects, expected):
    rng = np.random.default_rng(0)
    raw, corrected = [], []
    for _ in range(40):
        table = study_of(rng, effects, 40)
        raw.append(max(auc_of(table, name) for name in "0123"))
        corrected.append(bootstrap_corrected_auc(table, list("0123"), 0, n_draws=100))
    error = 3 * np.std(corrected) / np.sqrt(40)
    assert np.mean(corrected) == pytest.approx(expected, abs=error)
    assert np.mean(raw) > expected + 0.02


def test_model_that_is_best_by_far_keeps_its_auc():
    table = study_of(np.random.default_rng(1), (2.5, 0.0, 0.0), 60)
    raw = auc_of(table, "0")
    assert bootstrap_corrected_auc(table, list("012"), 0) == pytest.approx(raw, abs=0.01)


def test_families_are_drawn_whole():
    label = np.tile([0, 1], 8)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 16))
    unit = [f"family-{k // 2}" for k in range(16)]
    by_family = table_of(scores, label, 0, unit)
    assert bootstrap_corrected_auc(by_family, ["0", "1"], 0) != bootstrap_corrected_auc(
        table_of(scores, label, 0), ["0", "1"], 0
    )
    # one family has nobody to be judged by
    alone = table_of(scores, label, 0, ["family"] * 16)
    figures = {"auc": 0.6, "auc_ci": [0.5, 0.7], "auc_logit_se": 0.3}
    assert chosen_auc(alone, ["0", "1"], figures, 0)["auc_corrected"] == 0.6


def test_no_choice_corrects_nothing():
    table = study_of(np.random.default_rng(1), (0.5,), 20)
    figures = {"auc": 0.7, "auc_ci": [0.6, 0.8]}
    assert chosen_auc(table, ["0"], figures, 0) == {
        "auc_corrected": 0.7, "auc_corrected_ci": [0.6, 0.8],
    }  # fmt: skip


def test_correction_raises_no_end_of_an_interval():
    """That of an AUC of 1 is wide because nothing varies; a corrected one is below 1."""
    label = np.tile([0, 1], 12)
    scores = [label + 0.0, np.where(np.arange(24) < 3, 1 - label, label) + 0.0]
    table = table_of(scores, label, np.arange(24) // 2 % 3)
    figures = model_metrics(table[table["model"] == "0"].assign(probability=0.5), n_draws=20)
    found = chosen_auc(table, ["0", "1"], figures, 0)
    assert figures["auc"] == 1.0
    assert 0.98 < found["auc_corrected"] <= 1
    assert found["auc_corrected_ci"][0] <= figures["auc_ci"][0] < 0.8


@given(st.floats(0.3, 0.9), st.floats(0.1, 1.0))
@settings(max_examples=20)
def test_interval_holds_the_corrected_auc(auc, se):
    table = study_of(np.random.default_rng(1), (0.3, 0.3), 20)
    stated = {"auc": auc, "auc_ci": [1, 1], "auc_logit_se": se}
    found = chosen_auc(table, ["0", "1"], stated, 0)
    low, high = found["auc_corrected_ci"]
    assert 0 < low < found["auc_corrected"] < high < 1
    assert found["auc_corrected"] <= auc
    # as wide on the logit scale as that of an AUC that nobody chose
    half = student.ppf(0.975, 18) * se
    assert logit(high) - logit(low) == pytest.approx(2 * half)


def test_p_value_counts_ties_and_is_never_zero():
    predictions = pd.DataFrame(
        {
            "participant_id": list("abcd"), "scan_id": list("abcd"), "repeat": 0, "fold": 0,
            "model": "network", "label": [0, 0, 1, 1], "score": [0.0, 1.0, 2.0, 3.0],
        }
    )  # fmt: skip
    null = pd.DataFrame({"network": [1.0, 0.5, 0.25, 0.75]})
    found = summarise_permutations(null, predictions, 1)["models"]["network"]
    assert found["observed"] == 1.0
    assert found["p"] == pytest.approx(2 / 5)
    lower = summarise_permutations(null[1:], predictions, 1)["models"]["network"]
    assert lower["p"] == pytest.approx(1 / 4)


def test_largest_of_several_is_held_against_the_largest_of_each_permutation():
    models = {
        "a": {"observed": 0.6, "null": [0.5, 0.7, 0.4]},
        "b": {"observed": 0.8, "null": [0.9, 0.3, 0.4]},
    }
    found = summarise_choice(models, ["a", "b"])
    assert (found["observed"], found["null"]) == (0.8, [0.9, 0.7, 0.4])
    assert found["p"] == p_value([0.9, 0.7, 0.4], 0.8) == 0.5
    assert summarise_choice(models, ["a", "c"]) is None


def test_best_rival_is_the_best_of_the_linear_kinds_whatever_its_name():
    aucs = {"mine": 0.7, "frem": 0.9, "network": 0.95, "scale": 0.99, "connections": 0.8}
    models = {name: {"auc": auc} for name, auc in aucs.items()}
    kinds = {"mine": "linear", "scale": "shortcut", "connections": "connectivity"}
    assert best_rival(models, kinds) == "connections"
    assert best_rival(models, {"mine": "linear"}) == "mine"
    assert best_rival(models, {}) == ""


def test_a_sequential_test_ends_with_the_permutation_that_decides_it():
    """Besag and Clifford: h / l, whatever was run after it; and as usual where fewer reach it."""
    null = [0.5, 0.7, 0.4, 0.6, 0.9, 0.3, 0.8]
    assert p_value(null, 0.6, stop_after=3) == 3 / 5
    assert p_value(null[:5], 0.6, stop_after=3) == 3 / 5
    assert p_value(null, 0.6, stop_after=5) == p_value(null, 0.6) == 5 / 8
    assert p_value(null, 0.95, stop_after=1) == 1 / 8


def test_sequential_p_values_are_as_small_as_chance_allows():
    rng = np.random.default_rng(0)
    p = [p_value(own[1:], own[0], stop_after=4) for own in rng.normal(size=(4000, 60))]
    for level in (0.05, 0.1, 0.3):
        assert np.mean(np.array(p) <= level) < level + 3 * np.sqrt(level / 4000)
    assert np.mean(np.array(p) <= 0.1) > 0.07
