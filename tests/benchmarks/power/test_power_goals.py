import pandas as pd
import pytest

from benchmarks.power.goals import LEAST_DIFFERENCE, judge_goals
from benchmarks.power.regimes import NAMES
from benchmarks.power.summary import compare_pairs, summarise

AUCS = {"oracle": 0.9, "linear_svm": 0.6, "closed_form": 0.7, "default": 0.735}


def goals_of(n=70, regimes=("shifted", "varied", "widespread"), **aucs):
    rows = [
        {"regime": regime, "n": n, "draw": k, "model": model, "auc": auc + k / 50, "seconds": 1.0}
        for regime in regimes
        for model, auc in (AUCS | aucs).items()
        for k in (0, 1)
    ]
    units, linear = pd.DataFrame(rows), ("linear_svm",)
    return judge_goals(summarise(units, linear), compare_pairs(units, linear))


def test_goals_are_told_as_far_as_they_were_measured():
    goals = {goal.what: goal for goal in goals_of()}
    assert list(goals) == [
        "varied, draws: 2, default minus closed_form",
        "shifted, draws: 2, default minus closed_form",
        "widespread, draws: 2, default minus best linear",
    ]
    varied, shifted, widespread = goals.values()
    assert varied.measured == shifted.measured == pytest.approx(0.035)
    assert (varied.is_reached, shifted.is_reached) == (False, True)
    assert widespread.measured == pytest.approx(0.135)
    assert goals_of(n=40) == []


def test_share_of_the_ceiling_is_a_mean_over_conditions():
    *_, goal = goals_of(ceiling=0.75)
    assert goal.what.startswith("mean share of the way from best linear to ceiling (shifted, va")
    assert goal.measured == pytest.approx(0.9)
    assert goal.is_reached
    assert not goals_of(ceiling=0.8)[-1].is_reached


def test_null_has_to_hold_one_half():
    (goal,) = goals_of(regimes=("null",), oracle=0.5)
    assert goal.measured == pytest.approx(max(0, 0.745 - 12.706204736 * 0.01 - 0.5))
    assert not goal.is_reached
    (goal,) = goals_of(regimes=("null",), oracle=0.5, default=0.49)
    assert (goal.measured, goal.is_reached) == (0, True)


def test_goals_are_about_conditions_that_there_are():
    assert {name.partition("_5mm")[0] for name in LEAST_DIFFERENCE} <= set(NAMES)
