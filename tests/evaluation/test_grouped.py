import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fmnet.evaluation.grouped import called_groups, nearest_groups, pairs_of_groups
from fmnet.evaluation.metrics import wilson

NAMES = ("FM", "OA", "pelvic", "HC")


def test_the_group_called_is_the_most_probable_beside_its_share():
    p = np.array([[0.6, 0.4, 0.0], [0.7, 0.2, 0.1], [0.5, 0.3, 0.2]])
    shares = np.array([[0.7, 0.2, 0.1]] * 3)
    called = called_groups(p, shares)
    assert called.tolist() == [[0, 1, 0], [1 / 3] * 3, [0, 0, 1]]


def test_pairs_are_told_apart_by_the_difference_of_their_scores(rng):
    group = np.arange(61) % 4
    scores = 1.5 * np.eye(4)[group] + rng.normal(size=(61, 4))
    one_fold, unit = np.zeros(61, int), np.arange(61)
    pairs = pairs_of_groups(scores, group, one_fold, unit, NAMES)
    assert [(pair["one"], pair["other"]) for pair in pairs][:3] == [
        ("FM", "OA"), ("FM", "pelvic"), ("FM", "HC"),
    ]  # fmt: skip
    own = np.isin(group, (1, 3))
    expected = roc_auc_score(group[own] == 1, (scores[:, 1] - scores[:, 3])[own])
    pair = next(one for one in pairs if (one["one"], one["other"]) == ("OA", "HC"))
    assert pair["auc"] == pytest.approx(expected)
    assert pair["ci"][0] < pair["auc"] < pair["ci"][1]
    apart = pairs_of_groups(scores, group, group, unit, NAMES)  # no two groups in a fold
    assert all(pair["auc"] is None and pair["ci"] is None for pair in apart)


def test_the_nearest_group_is_found_and_equal_ones_are_not_told(rng):
    group = np.arange(120) % 4
    odds = np.exp(rng.normal(0, 0.3, size=(120, 4)))
    odds[group == 0, 1] *= 2  # FM is near OA
    rows = nearest_groups(odds, group, np.arange(120), NAMES, 0.75)
    told = {row["group"]: row for row in rows}
    assert told["FM"]["nearest"] == "OA"
    assert told["FM"]["is_told"]
    assert told["FM"]["part"] > 0.99
    assert sum(told["FM"]["closeness"].values()) == pytest.approx(1)
    assert told["FM"]["ci"]["OA"][0] > 1 / 3
    assert not any(told[name]["is_told"] for name in ("OA", "HC"))
    alike = nearest_groups(np.ones((120, 4)), group, np.arange(120), NAMES, 0.5)
    assert not any(row["is_told"] for row in alike)
    assert alike[2]["closeness"] == pytest.approx(dict.fromkeys(("FM", "OA", "HC"), 1 / 3))


def test_intervals_hold_families_together(rng):
    group = np.repeat([0, 1, 2], 30)
    odds = np.exp(np.repeat(rng.normal(size=(9, 3)), 10, axis=0))  # ten alike in each family
    alone = nearest_groups(odds, group, np.arange(90), NAMES[:3], 0.7)
    families = nearest_groups(odds, group, np.arange(90) // 10, NAMES[:3], 0.7)
    widths = [np.diff(rows[0]["ci"][rows[0]["nearest"]])[0] for rows in (alone, families)]
    assert widths[1] > 1.5 * widths[0]


def test_two_groups_have_no_nearest():
    assert nearest_groups(np.ones((9, 2)), np.arange(9) % 2, np.arange(9), NAMES[:2], 0.5) == []


def test_perfect_pairs_are_known_no_better_than_few_people_tell():
    group, fold = np.repeat([0, 1], 6), np.tile([0, 1], 6)
    scores = np.stack([1.0 - group, 1.0 * group], axis=1)
    (pair,) = pairs_of_groups(scores, group, fold, np.arange(12), ["A", "B"])
    assert pair["auc"] == 1
    assert pair["ci"] == pytest.approx([wilson(1.0, 6)[0], 1])
    assert pair["ci"][0] < 0.7
