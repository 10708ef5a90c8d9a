import numpy as np
import pandas as pd
import pytest

from fmnet.evaluation.balance import balance_table, standardised_difference


def test_numbers_differ_by_their_pooled_sd():
    one, other = pd.Series([1.0, 2, 3, None]), pd.Series([3.0, 5, 7])
    assert standardised_difference(one, other) == pytest.approx(3 / np.sqrt((1 + 4) / 2))


def test_large_numbers_are_written_out():
    people = pd.DataFrame({"label": [0, 0, 1, 1], "tiv": [1300.0, 1500, 1500, 1700]})
    (row,) = balance_table(people)
    assert (row["negative"], row["positive"]) == ("1400 (140)", "1600 (140)")


def test_two_categories_follow_the_formula_for_shares():
    one, other = pd.Series(list("aaab")), pd.Series(list("abbb"))
    share = 3.5 / 5  # of three in four, drawn together by half a person a level
    expected = 0.5 / np.sqrt(share * (1 - share))
    assert standardised_difference(one, other) == pytest.approx(expected)


def test_categories_that_separate_the_groups_differ_greatly():
    assert standardised_difference(pd.Series(["A"] * 20), pd.Series(["B"] * 20)) > 5
    one, other = pd.Series(list("AB") * 10), pd.Series(["C"] * 20)
    assert standardised_difference(one, other) > 3


def test_equal_groups_do_not_differ():
    assert standardised_difference(pd.Series(list("abc")), pd.Series(list("cab"))) == 0
    assert standardised_difference(pd.Series([1.0, 2]), pd.Series([2.0, 1])) == 0


def test_table_flags_imbalance_and_counts_what_is_missing():
    people = pd.DataFrame(
        {
            "label": [0, 0, 0, 1, 1, 1],
            "age": [30.0, 31, None, 50, 51, 52],
            "sex": ["F", "M", "F", "F", "M", "F"],
        }
    )
    age, sex = balance_table(people)
    assert (age["covariate"], age["is_imbalanced"], age["missing"]) == ("age", True, [1, 0])
    assert sex["negative"] == sex["positive"] == "F 2, M 1"
    assert not sex["is_imbalanced"]
