import numpy as np
import pandas as pd
import pytest

from fmnet.targets.arms import (
    check_propensity,
    given_shares,
    name_arms,
    number_names,
    pair_columns,
    pair_periods,
    shares_of,
)


def column(*texts):
    return pd.Series(texts, name="arm")


@pytest.mark.parametrize(
    ("texts", "named", "expected"),
    [
        (["drug", "Placebo", "", "drug"], None, ("Placebo", "drug")),
        (["1", "0"], None, ("0", "1")),
        (["1.0", "0.0", "1"], None, ("0", "1")),
        (["A", "B", "C"], ["B", "A"], ("B", "A")),
    ],
)
def test_control_stands_first(texts, named, expected):
    assert name_arms(column(*texts), named) == (expected, [])


@pytest.mark.parametrize(
    ("texts", "named", "words"),
    [
        (["drug", "drug"], None, "one arm, 'drug'.*target=improvement"),
        (["", ""], None, "no arm.*target=improvement"),
        (["A", "B"], None, "isn't told which is the control.*target.arms"),
        (["drug", "placebo", "sham"], None, "'drug', 'placebo'.*target.arms"),
        (["drug", "placebo"], ["sham", "drug"], "accepted: 'sham' as well.*correct target.arms"),
        (["drug", "drug"], ["placebo", "drug"], "target=improvement"),
        (["drug", "placebo"], ["drug", "drug"], "name both"),
    ],
)
def test_arms_that_leave_the_control_open_are_refused(texts, named, words):
    _, faults = name_arms(column(*texts), named)
    assert len(faults) == 1
    assert pd.Series([str(faults[0])]).str.contains(words).all(), str(faults[0])


def test_numbers_of_codes_are_those_of_their_names():
    found = number_names(column("1.0", "0", "2", ""), ("0", "1"))
    np.testing.assert_array_equal(found, [1, 0, np.nan, np.nan])


def test_periods_of_a_person_are_put_together():
    texts = pd.DataFrame(
        {
            "participant_id": ["a", "b", "a", "b", "c", "a", "d", "d"],
            "period": ["1", "2", "2", "1", "1", "2", "3", "3"],
        }
    )
    outcome = np.array([5.0, 7, 2, 9, 1, 4, 6, 6])
    arm = np.array([0.0, 0, 1, 1, 1, 1, 0, 1])
    values = {"outcome": outcome, "arm": arm}
    found, faults = pair_periods(texts, values, "period", ("placebo", "drug"))
    nan = np.nan
    np.testing.assert_array_equal(found["control"], [5, 7, 5, 7, nan, 5, 6, 6])
    np.testing.assert_array_equal(found["active"], [3, 9, 3, 9, 1, 3, 6, 6])
    np.testing.assert_array_equal(found["outcome"], [-2, 2, -2, 2, nan, -2, 0, 0])
    np.testing.assert_array_equal(found["order"][:5], [0, 1, 0, 1, nan])
    assert [one.participant_id for one in faults] == ["d"]
    assert "placebo and drug in different periods" in str(faults[0])
    assert "order" not in pair_periods(texts, values, None, ("placebo", "drug"))[0]


def test_periods_in_one_row_are_put_together():
    people = ["a", "b", "c"]
    texts = pd.DataFrame({"participant_id": people, "first": ["drug", "placebo", "both"]})
    values = {"outcome": np.array([4.0, 5, 6]), "active": np.array([1.0, 7, 6])}
    found, faults = pair_columns(texts, values, "first", ("placebo", "drug"))
    np.testing.assert_array_equal(found["outcome"], [-3, 2, 0])
    np.testing.assert_array_equal(found["control"], [4, 5, 6])
    np.testing.assert_array_equal(found["order"], [1, 0, np.nan])
    assert [one.participant_id for one in faults] == ["c"]


def test_shares_are_those_of_the_stratum_in_training():
    arm = np.array([1.0, 1, 1, 0, 0, 0, 0, 1, 0])
    stratum = np.array([0.0, 0, 0, 0, 1, 1, 1, 1, 2])
    shares = shares_of(arm, stratum, np.arange(8))
    np.testing.assert_allclose(shares, [0.7] * 4 + [0.3] * 4 + [0.5])
    alone = shares_of(arm, stratum, np.array([0, 1, 2, 4, 5, 6]))
    assert np.all((alone > 0) & (alone < 1))


def test_known_propensities_are_taken_by_stratum():
    names = ("young", "old")
    stratum = number_names(column("old", "young", "?", "old"), names)
    found = given_shares({"old": 0.25, "young": 0.5}, stratum, names)
    np.testing.assert_array_equal(found, [0.25, 0.5, np.nan, 0.25])
    np.testing.assert_array_equal(given_shares(0.4, stratum, names), [0.4] * 4)


@pytest.mark.parametrize(
    ("propensity", "strata", "words"),
    [
        (None, (), ""),
        (0.5, (), ""),
        (1.0, (), "between 0 and 1"),
        ({"a": 0.5}, ("a", "b"), "none for 'b'"),
        ({"a": 0.5}, (), "no strata"),
        ({"a": 0.5, "b": 0.2}, ("a", "b"), ""),
    ],
)
def test_propensities_that_cannot_be_are_refused(propensity, strata, words):
    faults = check_propensity(propensity, strata)
    assert bool(faults) == bool(words)
    assert all(words in str(one) for one in faults)
