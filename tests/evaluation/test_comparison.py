import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from fmnet.evaluation.comparison import compare_models, corrected_t_test, holm


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


def test_model_that_scores_everybody_alike_is_not_tested_against(table):
    rows = compare_models(table.assign(dummy=0.5), "network")
    against = [row for row in rows if "dummy" in (row["one"], row["other"])]
    assert len(against) == 3
    assert all(row["p"] is row["p_holm"] is None for row in against)
    assert [row["p_holm_first"] for row in rows if row["one"] == "network"][2] is None
    assert rows[0]["p_holm"] == compare_models(table, "network")[0]["p_holm"]
