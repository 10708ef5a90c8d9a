import numpy as np
import pandas as pd
import pytest
from survival_fixtures import draw_people

from fmnet.evaluation.survival import FollowUp, kaplan_meier
from fmnet.evaluation.survival_groups import (
    curve_interval,
    log_rank,
    people_by_risk,
    risk_of_others,
    thirds_of,
)

AT = np.array([1.0, 2.5])


def table_of(score, time, event, n_repeats=2):
    parts = []
    for repeat in range(n_repeats):
        fold = np.random.default_rng(repeat).permutation(len(score)) % 4
        known = {"outcome_time": time, "outcome_event": event.astype(float)}
        names = [f"sub-{row}" for row in range(len(score))]
        table = {"participant_id": names, "repeat": repeat, "fold": fold, "score": score + 9 * fold}
        parts.append(pd.DataFrame(table | known | {"risk_1": 0.3, "risk_2.5": 0.5}))
    return pd.concat(parts, ignore_index=True)


def test_others_are_the_training_people():
    _, time, event = draw_people(4, n=50, is_tied=True)
    time, event = np.tile(time, 2), np.tile(event, 2)
    repeat = np.repeat([0, 1], 50)
    fold = np.concatenate([np.arange(50) % 5, np.arange(50)[::-1] % 3 + 5])
    risk = risk_of_others(FollowUp(time, event, fold), repeat, AT)
    for row in (3, 77):
        others = (repeat == repeat[row]) & (fold != fold[row])
        expected = 1 - kaplan_meier(time[others], event[others], AT)
        np.testing.assert_allclose(risk[row], expected)


def test_people_of_one_fold_have_their_own_curve():
    _, time, event = draw_people(4, n=30)
    follow = FollowUp(time, event, np.zeros(30, int))
    risk = risk_of_others(follow, np.zeros(30, int), AT)
    np.testing.assert_allclose(risk, np.tile(1 - kaplan_meier(time, event, AT), (30, 1)))


@pytest.mark.parametrize("n_groups", [2, 3])
def test_log_rank_agrees_with_another_package(n_groups):
    compare = pytest.importorskip("sksurv.compare").compare_survival
    from sksurv.util import Surv

    _, time, event = draw_people(6, is_tied=True)
    group = np.random.default_rng(0).integers(0, n_groups, len(time))
    ours = log_rank(time, event, group)
    chi2, p = compare(Surv.from_arrays(event, time), group)
    assert (ours["chi2"], ours["p"]) == (pytest.approx(chi2), pytest.approx(p))


def test_intervals_agree_with_another_package():
    estimate = pytest.importorskip("sksurv.nonparametric").kaplan_meier_estimator
    _, time, event = draw_people(8, is_tied=True)
    at, _, (low, high) = estimate(event, time, conf_type="log-log")
    ours = curve_interval(time, event, at[:-1])
    np.testing.assert_allclose(ours[0], low[:-1], atol=1e-9)
    np.testing.assert_allclose(ours[1], high[:-1], atol=1e-9)


def test_thirds_are_of_ranks_within_folds():
    covariates, time, event = draw_people(9, n=60, effect=1.5)
    people = people_by_risk(table_of(covariates[:, 0], time, event), ["risk_1", "risk_2.5"])
    curves = people.curves()
    assert [group["n"] for group in curves["groups"]] == [20, 20, 20]
    low, high = (curves["groups"][third] for third in (0, 2))
    assert low["n_events"] < high["n_events"]
    assert low["at_risk"][0] == 20
    assert low["free"][0] == 1
    test = people.log_rank()
    assert test["p_plain"] < test["p"] < 0.02
    points = people.calibration((1.0, 2.5))["2.5"]
    assert [point["predicted"] for point in points] == pytest.approx([0.5] * 3)
    assert points[0]["observed"] < points[2]["observed"]
    assert all(point["low"] <= point["observed"] <= point["high"] for point in points)


def test_scores_that_are_alike_make_no_thirds():
    _, time, event = draw_people(9, n=40)
    people = people_by_risk(table_of(np.zeros(40), time, event), ["risk_1", "risk_2.5"])
    assert people.curves() is None
    assert people.log_rank() is None
    (point,) = people.calibration((1.0, 2.5))["1"]
    assert point["n"] == 40


def test_thirds_hold_as_many_each():
    found = thirds_of(np.array([3.0, 1.0, 1.0, 5.0, 4.0, 2.0, 0.0]))
    assert np.bincount(found).tolist() == [3, 2, 2]
    assert found[6] == 0
    assert found[3] == 2
