from dataclasses import replace

import numpy as np
import pytest
from cohort_fixtures import cohort_of_rows

from fmnet.data.outcomes import Outcomes, outcomes_of, with_outcomes


@pytest.fixture
def outcomes():
    values = {"time": np.array([1.0, 2.5, np.nan]), "event": np.array([1.0, 0.0, 1.0])}
    return Outcomes(values, ("a", "b", "b"), ("family-1", "b", "b"), ("x", "", ""))


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0])])
def test_rows_are_taken_in_their_order(outcomes, rows):
    some = outcomes.take(rows)
    assert some.participants == ("b", "a")
    assert some.units == ("b", "family-1")
    np.testing.assert_array_equal(some["time"], [np.nan, 1.0])
    assert len(some) == 2


def test_a_mask_takes_rows(outcomes):
    assert outcomes.take(np.array([False, True, True])).sites == ("", "")


def test_some_roles_are_replaced(outcomes):
    other = outcomes.replace(event=np.zeros(3))
    np.testing.assert_array_equal(other["event"], 0)
    np.testing.assert_array_equal(other["time"], outcomes["time"])
    assert outcomes["event"].sum() == 2


def test_cohorts_keep_outcomes_and_hand_them_back():
    cohort = cohort_of_rows([("a", "x", "FM"), ("b", "y", "HC"), ("b", "y", "HC")])
    scans = tuple(
        replace(scan, outcome=(("value", float(row)),)) for row, scan in enumerate(cohort.scans)
    )
    own = outcomes_of(replace(cohort, scans=scans))
    np.testing.assert_array_equal(own["value"], range(len(scans)))
    turned = own.take(np.arange(len(scans))[::-1])
    again = with_outcomes(cohort, own.replace(value=turned["value"]))
    np.testing.assert_array_equal(outcomes_of(again)["value"], np.arange(len(scans))[::-1])
    assert own.sites == ("x", "y", "y")
