import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.power.summary import Interval, best_linear, summarise, t_interval


@pytest.fixture
def units():
    """Two regimes on three draws; the SVM is the better linear baseline in the first alone."""
    aucs = {
        ("aligned", "oracle"): [0.9, 0.95, 1.0],
        ("aligned", "linear_svm"): [0.6, 0.7, 0.8],
        ("aligned", "logistic_ridge"): [0.9, 0.5, 0.5],
        ("aligned", "shrinkage_lda"): [0.6, 0.6, 0.65],
        ("aligned", "plain"): [0.7, 0.7, 0.9],
        ("null", "oracle"): [0.5, 0.5, 0.5],
        ("null", "linear_svm"): [0.3, 0.4, 0.5],
        ("null", "logistic_ridge"): [0.4, 0.4, 0.6],
        ("null", "plain"): [0.5, 0.6, 0.4],
    }
    rows = [
        {"regime": regime, "n": 40, "draw": k, "model": model, "auc": auc, "seconds": k + 1.0}
        for (regime, model), values in aucs.items()
        for k, auc in enumerate(values)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


def row_of(summary, regime, model):
    (row,) = summary[(summary["regime"] == regime) & (summary["model"] == model)].to_dict("records")
    return row


def test_interval_is_students():
    found = t_interval([0.6, 0.7, 0.8])
    half = 4.302652730 * 0.1 / math.sqrt(3)
    assert found == pytest.approx((0.7, 0.7 - half, 0.7 + half))
    assert t_interval([0.6, np.nan, 0.8]).mean == pytest.approx(0.7)
    one, none = t_interval([0.6]), t_interval([])
    assert one.mean == 0.6
    assert np.isnan([one.low, one.high, *none]).all()


def test_intervals_are_said_as_far_as_they_are_known():
    nan = float("nan")
    assert Interval(0.714, 0.6, 0.856).say() == "0.71 [0.60, 0.86]"
    assert Interval(0.1, -0.05, 0.25).say("+") == "+0.10 [-0.05, +0.25]"
    assert Interval(0.7, nan, nan).say() == "0.70"
    assert Interval(nan, nan, nan).say() == "n/a"


def test_figures_of_a_model(units):
    row = row_of(summarise(units), "aligned", "plain")
    half = 4.302652730 * np.std([0.7, 0.7, 0.9], ddof=1) / math.sqrt(3)
    assert row["mean_auc"] == pytest.approx(23 / 30)
    assert 23 / 30 + half > 1  # which no AUC is
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((23 / 30 - half, 1))
    assert (row["n"], row["n_draws"], row["seconds"]) == (40, 3, 2.0)


def test_difference_is_paired_by_draw(units):
    row = row_of(summarise(units), "aligned", "plain")
    half = 4.302652730 * np.std([0.1, 0.0, 0.1], ddof=1) / math.sqrt(3)
    assert row["best_linear"] == "linear_svm"
    assert row["difference"] == pytest.approx(0.2 / 3)
    assert row["difference_low"] == pytest.approx(0.2 / 3 - half)
    assert row["difference_high"] == pytest.approx(0.2 / 3 + half)
    assert row["closed"] == pytest.approx((0.2 / 3) / 0.25)


def test_best_linear_baseline_is_chosen_for_each_regime(units):
    summary = summarise(units)
    assert row_of(summary, "null", "plain")["best_linear"] == "logistic_ridge"
    assert row_of(summary, "aligned", "oracle")["closed"] == pytest.approx(1)
    assert row_of(summary, "aligned", "linear_svm")["difference"] == 0


def test_difference_to_lda_is_paired_by_draw(units):
    summary = summarise(units)
    row = row_of(summary, "aligned", "plain")
    half = 4.302652730 * np.std([0.1, 0.1, 0.25], ddof=1) / math.sqrt(3)
    found = row["minus_lda"], row["minus_lda_low"], row["minus_lda_high"]
    assert found == pytest.approx((0.15, 0.15 - half, 0.15 + half))
    assert math.isnan(row_of(summary, "null", "plain")["minus_lda"])  # where it did not race


def test_lda_may_be_the_best_linear_baseline(units):
    units.loc[units["model"] == "shrinkage_lda", "auc"] += 0.1
    assert row_of(summarise(units), "aligned", "plain")["best_linear"] == "shrinkage_lda"


def test_share_is_not_stated_where_nothing_is_planted(units):
    assert math.isnan(row_of(summarise(units), "null", "plain")["closed"])
    units.loc[units["model"] == "oracle", "auc"] = 0.71
    assert math.isnan(row_of(summarise(units), "aligned", "plain")["closed"])


def test_model_that_could_not_take_part_has_no_figures(units):
    units.loc[(units["model"] == "linear_svm") & (units["regime"] == "aligned"), "auc"] = np.nan
    summary = summarise(units)
    assert math.isnan(row_of(summary, "aligned", "linear_svm")["mean_auc"])
    assert row_of(summary, "aligned", "linear_svm")["n_draws"] == 0
    assert row_of(summary, "aligned", "plain")["best_linear"] == "logistic_ridge"
    assert best_linear(pd.DataFrame({"plain": [0.7]})) == ""
