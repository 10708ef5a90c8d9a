import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnet.data.numbers import read_dates, read_numbers, say_cells, sentinels

NAN = float("nan")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["0.21", "3", "1e3", "+.5", "5."], [0.21, 3, 1000, 0.5, 5]),
        (["0,21", "3", "-1,5e-1"], [0.21, 3, -0.15]),
        (["0,21", "1,234"], [0.21, 1.234]),  # the first can't separate thousands
        (["0.21 mm", "0.3mm", ""], [0.21, 0.3, NAN]),
        (["0,21 mm", "0,3 mm"], [0.21, 0.3]),
        (["12%", "7.5 %"], [12, 7.5]),
        (["\u22120.21", "\u20132", "\uff0d3"], [-0.21, -2, -3]),
        (["\uff11\uff12\uff0e\uff15", "7"], [12.5, 7]),
        (["\u0661\u066b\u0665", "7"], [1.5, 7]),
        (["\u00a00.21\u202f", "\u200b0.3", "\ufeff7"], [0.21, 0.3, 7]),
        (["NULL", "NaN", "nan", ".", "-", "n.a.", "<NA>", "#N/A", None, NAN], [NAN] * 10),
        (["", ""], [NAN, NAN]),
    ],
)  # fmt: skip
def test_what_is_certain_is_read(texts, expected):
    found = read_numbers(texts)
    np.testing.assert_array_equal(found.values, expected)
    assert not found.is_wrong.any()


@pytest.mark.parametrize(
    ("texts", "wrong"),
    [
        (["1,234", "2,345"], [0, 1]),  # thousands, or decimals: nobody knows
        (["1,234,567", "0,5"], [0, 1]),
        (["0.21", "0,3"], [1]),
        (["1.234,5", "2"], [0]),
        (["1 234", "2"], [0]),
        (["1'234", "2"], [0]),
        (["0.21", "0.3 mm"], [1]),
        (["0.21 cm", "0.3 mm"], [0, 1]),
        (["12%", "0.3"], [0]),
        (["<5", ">60", "7"], [0, 1]),
        (["inf", "-inf", "1e999", "7"], [0, 1, 2]),
        (["1_000", "0x1A", "10\u00b2", "1.2.3", "None", "unknown", "2020-01-31"], range(7)),
        (["0,5", "n.d.", "0,7"], [1]),
    ],
)
def test_what_is_not_certain_is_told(texts, wrong):
    found = read_numbers(texts)
    assert list(np.flatnonzero(found.is_wrong)) == list(wrong)
    assert np.isnan(found.values[found.is_wrong]).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_commas_are_read_as_points_are(values):
    texts = [*(f"{value:.2f}" for value in values), "0.25"]
    found = read_numbers([text.replace(".", ",") for text in texts])
    np.testing.assert_array_equal(found.values, [float(text) for text in texts])


@given(st.lists(st.text(max_size=12), max_size=8))
@settings(max_examples=50, deadline=None)
def test_any_text_is_a_number_missing_or_wrong(texts):
    found = read_numbers(texts)
    assert np.isfinite(found.values[found.is_number]).all()
    assert not (found.is_number & found.is_wrong).any()
    assert not (found.is_almost & ~found.is_wrong).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.21, 0.3, 0.25, -9999], [-9999]),
        ([25, 41, 60, -999, -999, 999], [-999, 999]),
        ([0, 1, 0, -9], [-9]),
        ([1, 2, 1, 99], [99]),
        ([1, 2, 3, 4, 5, 77, 88], [77, 88]),
        ([1, 2, 3, 4, 5, -1], [-1]),
        ([0, 3, 4, 8, 9, 10, 12, 15, 20, -1], [-1]),
        ([-2.1, -0.3, 0.4, 1.9, -999], [-999]),
        ([-9999, -9999], [-9999]),
        ([0.2, 0.3, 3.4e38], [3.4e38]),
        ([0.2, 0.3, 999.9], [999.9]),
    ],
)
def test_missing_values_in_disguise_are_found(values, expected):
    assert sentinels(np.array([*values, NAN])) == expected


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 1, 2],
        [-1, 1, -1],
        [-1, 0, 1],
        [0, 0, 0, 12, 40],
        [0, 50, 88, 99, 100],
        [18, 45, 77, 99],
        [-3, -1, 0, 2, 5],
        [-9, -4, 0, 3],
        [300, 480, 640, 777, 999],
        [7, 8, 9],
        [3, 5, 8, 20, 99],
        [0, 20, 35, 50, 62, 70, 75, 77, 80, 100],
        [61, 70, 75, 88, 91],
        [88, 101, 110, 122],
        [],
    ],
)
def test_measured_values_are_none(values):
    assert sentinels(np.array(values, dtype=float)) == []


def test_what_cant_be_negative_is_missing_there():
    assert sentinels(np.array([0.2, 0.3, 0.4, 0.5, -0.1]), True) == [-0.1]
    assert sentinels(np.array([0.0, 25, 41, 60]), True, True) == [0]
    assert sentinels(np.array([-1.2, 0.4, 0.9, -0.1]), True, True) == []  # standardised


def test_cells_are_named_with_their_lines():
    table = pd.DataFrame({"age": ["31", "x", "x", "<5"]})
    table.attrs["lines"] = [2, 3, 5, 6]
    is_meant = np.array([False, True, True, True])
    assert say_cells(table, "age", is_meant) == "column 'age': 'x' in lines 3, 5, '<5' in line 6"
    many = pd.DataFrame(
        {"participant_id": [f"sub-{k}" for k in range(9)], "age": list("abcdefghi")}
    )
    said = say_cells(many, "age", np.ones(9, dtype=bool))
    assert said.startswith("column 'age': 'a' for sub-0, 'b'")
    assert said.endswith("and 5 other texts")


@pytest.mark.parametrize(
    ("texts", "days"),
    [
        (["2021-03-04", "2021-03-01", "", "2021-04-01"], [3, 0, NAN, 31]),
        (["2021-03-04T10:00:00", "2021-03-04 22:00"], [0, 0.5]),
        (
            ["2021-03-04T10:00:00+02:00", "2021-03-04T08:00:00Z", "2021-03-04T14:00:00.0"],
            [0, 0, 0.25],
        ),
        (["04.03.2021", "13.03.2021"], [0, 9]),
        (["03/04/2021", "03/13/2021"], [0, 9]),
        (["4/3/2021", "13/3/2021"], [0, 9]),
        (["05.05.2021", "06.06.2021"], [0, 32]),  # the same in either order
        (["2021/03/04", "2020/03/04"], [365, 0]),
        (["1900-01-01", "2021-03-04", "2021-03-05", "2021-03-06", "2021-03-07"], [NAN, 0, 1, 2, 3]),
        (["1900-01-01", "1900-01-03"], [0, 2]),
        (["2021-03-04"] * 4 + ["unknown"], [0] * 4 + [NAN]),
    ],
)
def test_dates_are_days(texts, days):
    found = read_dates(texts)
    np.testing.assert_allclose(found.days, days, atol=1e-6)
    assert not found.is_open
    stated = np.array([text != "" for text in texts])
    np.testing.assert_array_equal(found.is_wrong, stated & np.isnan(days))


def test_dates_of_eight_digits_are_dates_if_the_name_says_so():
    texts = ["20210304", "20210401"]
    assert read_dates(texts) is None
    np.testing.assert_array_equal(read_dates(texts, has_plain=True).days, [0, 28])
    assert read_dates(["20211304", "99999999"], has_plain=True) is None


def test_dates_that_can_be_read_in_two_ways_are_not_read():
    found = read_dates(["03/04/2021", "05/04/2021"])
    assert found.is_open
    assert np.isnan(found.days).all()


@pytest.mark.parametrize(
    "texts", [["1.5", "2.25"], ["2021", "2022"], ["A", "2021-03-04"], ["", ""], ["1-2-3"], []]
)
def test_what_is_no_date(texts):
    assert read_dates(texts, has_plain=True) is None


@given(st.lists(st.dates(), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_iso_date_is_as_many_days_from_the_first(dates):
    # 1900-01-01 and their like are missing where all others are far from them
    found = read_dates([date.isoformat() for date in dates])
    if not found.is_wrong.any():
        expected = [(date - min(dates)).days for date in dates]
        np.testing.assert_array_equal(found.days, expected)
