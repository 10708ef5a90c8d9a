import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.power.summary import Interval, best_linear, compare_pairs, t_interval
from benchmarks.power.summary import summarise as summarise_units

LINEAR = ("linear_svm", "logistic_ridge", "shrinkage_lda")


def summarise(units):
    return summarise_units(units, LINEAR)


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
    assert Interval(0.1, -0.0512, 0.25).say("+", 3) == "+0.100 [-0.051, +0.250]"
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
    assert row["to_oracle"] == pytest.approx((0.2 / 3) / 0.25)
    assert math.isnan(row["to_ceiling"])


def test_best_linear_baseline_is_chosen_for_each_regime(units):
    summary = summarise(units)
    assert row_of(summary, "null", "plain")["best_linear"] == "logistic_ridge"
    assert math.isnan(row_of(summary, "aligned", "oracle")["to_oracle"])
    assert row_of(summary, "aligned", "linear_svm")["difference"] == 0


def pair(units, model, rival, regime="aligned"):
    rows = compare_pairs(units, LINEAR)
    at = (rows["regime"] == regime) & (rows["model"] == model) & (rows["rival"] == rival)
    (row,) = rows[at].to_dict("records")
    return row


def test_difference_to_each_rival_is_paired_by_draw(units):
    row = pair(units, "plain", "shrinkage_lda")
    half = 4.302652730 * np.std([0.1, 0.1, 0.25], ddof=1) / math.sqrt(3)
    found = row["difference"], row["low"], row["high"]
    assert found == pytest.approx((0.15, 0.15 - half, 0.15 + half))
    assert row["n_draws"] == 3
    assert pair(units, "plain", "best linear")["difference"] == pytest.approx(0.2 / 3)
    rivals = compare_pairs(units, LINEAR).query("model == 'plain'").groupby("regime")["rival"]
    assert set(rivals.get_group("null")) == {"linear_svm", "logistic_ridge", "best linear"}


def test_networks_are_compared_with_the_closed_form_on_the_draws_of_both(units):
    more = units[(units["model"] == "plain") & (units["draw"] < 2)]
    units = pd.concat([units, more.assign(model="closed_form", auc=more["auc"] - 0.05)])
    row = pair(units, "plain", "closed_form")
    assert (row["difference"], row["n_draws"]) == (pytest.approx(0.05), 2)
    rows = compare_pairs(units, LINEAR)
    assert not ((rows["model"] == "closed_form") & (rows["rival"] == "closed_form")).any()
    assert set(rows["model"]) == {"plain", "closed_form"}


def test_nothing_to_compare_with_is_an_empty_table(units):
    alone = units[units["model"].isin(["oracle", "plain"])]
    assert len(compare_pairs(alone, LINEAR)) == 0
    row = row_of(summarise(alone), "aligned", "plain")
    assert row["best_linear"] == ""
    assert math.isnan(row["difference"])


def test_share_of_the_way_to_a_ceiling_is_over_the_draws_that_have_one(units):
    raced = units.query("model == 'plain' and regime == 'aligned' and draw > 0")
    units = pd.concat([units, raced.assign(model="ceiling", auc=0.95)])
    row = row_of(summarise(units), "aligned", "plain")
    # the SVM has 0.7 and 0.8 there, so that the ceiling is 0.2 above it on average
    assert row["to_ceiling"] == pytest.approx((0.0 + 0.1) / 2 / 0.2)
    assert row["to_oracle"] == pytest.approx((0.2 / 3) / 0.25)
    assert math.isnan(row_of(summarise(units), "null", "plain")["to_ceiling"])
    own = row_of(summarise(units), "aligned", "ceiling")
    assert math.isnan(own["to_ceiling"])
    assert own["to_oracle"] == pytest.approx(0.2 / (0.975 - 0.75))


def test_templates_have_rows_of_their_own(units):
    units["template"] = np.where(units["draw"] == 1, "loud", "hot")
    units.loc[units["regime"] == "null", "template"] = "n/a"
    summary = summarise(units)
    assert summary.groupby("regime")["template"].unique().map(list).to_dict() == {
        "aligned": ["", *units.loc[units["regime"] == "aligned", "template"].unique()],
        "null": [""],
    }
    (loud,) = summary.query("template == 'loud' and model == 'plain'").to_dict("records")
    assert (loud["mean_auc"], loud["n_draws"]) == (0.7, 1)
    assert math.isnan(loud["ci_low"])


def test_lda_may_be_the_best_linear_baseline(units):
    units.loc[units["model"] == "shrinkage_lda", "auc"] += 0.1
    assert row_of(summarise(units), "aligned", "plain")["best_linear"] == "shrinkage_lda"


def test_share_is_not_stated_where_nothing_is_planted(units):
    assert math.isnan(row_of(summarise(units), "null", "plain")["to_oracle"])
    units.loc[units["model"] == "oracle", "auc"] = 0.71
    assert math.isnan(row_of(summarise(units), "aligned", "plain")["to_oracle"])


def test_model_that_could_not_take_part_has_no_figures(units):
    units.loc[(units["model"] == "linear_svm") & (units["regime"] == "aligned"), "auc"] = np.nan
    summary = summarise(units)
    assert math.isnan(row_of(summary, "aligned", "linear_svm")["mean_auc"])
    assert row_of(summary, "aligned", "linear_svm")["n_draws"] == 0
    assert row_of(summary, "aligned", "plain")["best_linear"] == "logistic_ridge"
    assert best_linear(pd.DataFrame({"plain": [0.7]}), LINEAR) == ""
