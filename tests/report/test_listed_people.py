import numpy as np
import pandas as pd
import pytest

from fmnet.report import people
from fmnet.report.people import (
    count_calls,
    listed_people,
    misjudged,
    people_table,
    robust_distances,
)


def scored(**columns):
    table = pd.DataFrame({"model": "network", "repeat": 0, "fold": 0} | columns)
    return table.assign(participant_id=table["scan_id"])


def test_calls_are_counted_by_group_and_averaged_over_repeats():
    rows = scored(
        scan_id=list("abcde") * 2, repeat=[0] * 5 + [1] * 5, label=[1, 1, 1, 0, 0] * 2,
        probability=[0.9, 0.6, 0.5, 0.7, 0.1, 0.9, 0.6, 0.6, 0.2, 0.1],
    )  # fmt: skip
    calls = count_calls(pd.concat([rows, rows.assign(model="other", probability=0.0)]), "network")
    assert calls.counts.tolist() == [[2.5, 0.5], [0.5, 1.5]]
    assert calls.fractions.tolist() == [pytest.approx([5 / 6, 1 / 6]), [0.25, 0.75]]
    assert calls.n_repeats == 2


def test_group_that_nobody_is_of_has_no_fractions():
    calls = count_calls(scored(scan_id=["a"], label=1, probability=0.9), "network")
    assert calls.fractions[0].tolist() == [1, 0]
    assert np.isnan(calls.fractions[1]).all()


def test_people_are_tabulated_once_whatever_the_repeats():
    rows = scored(
        scan_id=list("baab"), repeat=[1, 1, 0, 0], fold=[2, 1, 0, 3], label=[0, 1, 1, 0],
        score=[1.0, 2, 0, -2], probability=[0.6, 0.9, 0.4, 0.2],
    )  # fmt: skip
    table = people_table(rows, "network")
    assert table["scan_id"].tolist() == ["a", "b"]
    assert table["label"].tolist() == [1, 0]
    assert table["score"].tolist() == [1, -0.5]
    assert table["folds"].tolist() == ["0 1", "3 2"]  # in the order of repeats
    assert table["called"].tolist() == [1, 0]
    assert table["wrong"].tolist() == [0.5, 0.5]
    assert table["distance"].isna().all()  # of two people no spread is known
    assert not table["is_far"].any()


def test_score_far_from_its_own_group_is_flagged_and_no_other():
    rng = np.random.default_rng(0)
    n = 24
    score = rng.normal(size=2 * n) + np.repeat([3.0, 0], n)
    score[5] = -4  # of the positive class, and nothing unusual for the range of both
    rows = scored(
        scan_id=[f"{k:02}" for k in range(2 * n)], label=np.repeat([1, 0], n), score=score,
        probability=0.5,
    )  # fmt: skip
    table = people_table(rows, "network")
    assert table.loc[table["is_far"], "scan_id"].tolist() == ["05"]
    assert table.loc[5, "distance"] < -people.FAR


def test_robust_distances_are_in_standard_deviations():
    values = pd.Series(np.random.default_rng(1).normal(5, 2, 20_000))
    assert robust_distances(values).std() == pytest.approx(1, rel=0.03)
    assert robust_distances(pd.Series([1.0] * 9 + [7])).isna().all()  # most are alike


def test_few_scores_are_far_among_normal_ones():
    rng = np.random.default_rng(2)
    cohorts = [robust_distances(pd.Series(rng.normal(size=35))) for _ in range(200)]
    assert np.mean([distances.abs() > people.FAR for distances in cohorts]) < 0.005


def test_long_lists_are_cut_from_those_that_nothing_is_wrong_with(monkeypatch):
    monkeypatch.setattr(people, "LISTED", 3)
    table = pd.DataFrame(
        {"scan_id": list("abcdef"), "wrong": [0, 0.2, 0, 1, 0, 0], "is_far": [False] * 5 + [True]}
    )
    assert listed_people(table)["scan_id"].tolist() == ["b", "d", "f"]
    assert listed_people(table[:3]) is not table
    assert listed_people(table[:3])["scan_id"].tolist() == ["a", "b", "c"]


def test_surest_mistakes_come_first_and_lucky_scans_are_left_out():
    table = scored(
        scan_id=list("aabbcc"), repeat=[0, 1] * 3, label=[1, 1, 0, 0, 0, 0],
        score=[-1.0, -2, 3, 2, 1, -1], probability=[0.3, 0.2, 0.9, 0.8, 0.6, 0.4],
    )  # fmt: skip
    assert misjudged(people_table(table, "network"))["scan_id"].tolist() == ["b", "a"]
