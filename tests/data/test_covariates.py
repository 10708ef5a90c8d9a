import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnet.data.covariates import (
    covariate_numbers,
    find_columns,
    is_age,
    is_date,
    is_head_size,
    is_motion,
    is_usual_confound,
    missing_codes,
    number_faults,
    read_dates,
    read_numbers,
    say_cells,
    sentinels,
)

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


N = 20


def people(**columns) -> pd.DataFrame:
    table = pd.DataFrame({"participant_id": [f"sub-{k:02}" for k in range(N)]} | columns)
    table.attrs |= {"name": "people.tsv", "lines": list(range(2, N + 2))}
    return table


def texts(start, step, **others) -> list[str]:
    found = [f"{start + step * k:g}" for k in range(N)]
    for row, text in others.items():
        found[int(row[1:])] = text
    return found


@pytest.mark.parametrize(
    "name",
    [
        "mean_framewise_displacement", "mean_fd", "fd_mean", "fd", "FD", "meanFD", "FDmean",
        "fd_power", "FD_Jenkinson", "Mean FD (mm)", "framewise_displacement",
        "FramewiseDisplacement",
        "motion", "Motion_mean", "head_motion", "headMotion", "fd_task-pain", "share_scrubbed",
        "relMeanRMS", "max_rotation", "movement",
    ],
)  # fmt: skip
def test_columns_of_motion_are_known(name):
    assert is_motion(name)
    assert is_usual_confound(name)


@pytest.mark.parametrize(
    "name",
    [
        "age",
        "emotion",
        "motion_sickness",
        "range_of_motion",
        "pain_on_movement",
        "trans",
        "rms",
        "",
    ],
)
def test_other_columns_are_no_motion(name):
    assert not is_motion(name)


def test_age_is_that_at_the_scan():
    assert all(map(is_age, ("age", "Age", "age_years", "AgeAtScan", "AGE")))
    others = ("age_at_onset", "stage", "language", "age_group", "age_first_pain", "mother_age")
    assert not any(map(is_age, others))


def test_head_size_is_a_usual_confound():
    named = (
        "tiv", "ICV", "eTIV", "head_size", "headSize", "head_circumference", "brain_volume",
        "intracranial_volume", "EstimatedTotalIntraCranialVol", "BrainSegVol", "TIV_ml",
    )  # fmt: skip
    assert all(map(is_head_size, named))
    assert all(map(is_usual_confound, named))
    assert not any(
        map(is_head_size, ("headache", "brain_age", "volume", "head_motion", "n_volumes"))
    )


def test_names_say_what_is_a_date():
    assert all(map(is_date, ("date", "scan_date", "ScanDate", "acq_time", "birthdate")))
    assert not any(map(is_date, ("update_rate", "time", "reaction_time", "candidate_2")))


def test_columns_are_found_whatever_their_case():
    present = ["FD_Power", "Age", "sex", "share_scrubbed"]
    assert find_columns(["sex", "age", "site"], present) == ["sex", "Age"]
    assert find_columns(["mean_fd"], present) == ["FD_Power", "share_scrubbed"]
    assert find_columns(["mean_fd"], ["fd", "mean_fd"]) == ["mean_fd"]


def test_none_is_a_missing_age_and_perhaps_a_dose():
    assert np.isnan(covariate_numbers(["None", "30"], "age").values[0])
    assert covariate_numbers(["None", "30"], "dose").is_wrong[0]


def test_usual_tables_have_no_faults():
    table = people(
        age=texts(18, 4),
        sex=["1", "2"] * 10,
        group=["1", "2"] * 10,
        handedness=["R", "L"] * 10,
        redcap_id=texts(9990, 1, r3="101b"),
        scan_date=["20200131"] * 19 + ["unknown"],
        bdi=texts(0, 1),
        pain=["0", "", "100", "99"] * 5,
        medication=["none", "SSRI"] * 10,
        visits=["1,2,3", "1,2", "2", "x"] * 5,
        age_band=["20-30", ">60"] * 10,
        change=texts(-9, 1),
        mean_fd=[f"0.{k:02}".replace(".", ",") for k in range(10, 10 + N)],
        remark=["3 cups", "none", "5 km", "late"] * 5,
        born=["1999-12-31"] * N,
        empty=[""] * N,
    )
    assert number_faults(table, ("group",)) == []


def test_all_faults_come_at_once_with_column_line_and_cell():
    table = people(
        mean_fd=texts(0.1, 0.01, r3="0.21 mm", r7="-9999"),
        age=texts(20, 1, r0="<18", r5="0"),
        bdi=texts(3, 1, r19="-1"),
        income=[f"{k + 1},000" for k in range(N)],
        dose=texts(10, 5, r4="None"),
    )
    table.loc[9, "age"] = table.loc[11, "age"] = "unknown"
    found = [fault.found for fault in number_faults(table)]
    assert found == [
        "no numbers in column 'mean_fd': '0.21 mm' in line 5",
        "what looks like a missing value in column 'mean_fd': '-9999' in line 9",
        "no numbers in column 'age': '<18' in line 2, 'unknown' in lines 11, 13",
        "what looks like a missing value in column 'age': '0' in line 7",
        "what looks like a missing value in column 'bdi': '-1' in line 21",
        "no numbers in column 'income': '1,000' in line 2, '2,000' in line 3, '3,000' in line 4, "
        "'4,000' in line 5 and 16 other texts",
        "no numbers in column 'dose': 'None' in line 6",
    ]
    assert {fault.where for fault in number_faults(table)} == {"people.tsv"}


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("0,21", "no numbers .*'0,21'"),
        ("inf", "no numbers .*'inf'"),
        ("12%", "no numbers .*'12%'"),
        ("9999", "missing value .*'9999'"),
        ("-1", "missing value .*'-1'"),
        ("1 234", "no numbers"),
    ],
)
def test_one_odd_cell_of_motion_is_refused(cell, found):
    (fault,) = number_faults(people(meanFD=texts(0.15, 0.01, r6=cell)))
    assert re.search(f"{found}.* in line 8", fault.found)


def test_motion_that_is_half_text_is_refused_and_text_alone_is_not():
    half = texts(0.15, 0.01)[:12] + ["not done"] * 8
    assert len(number_faults(people(fd=half, pain_note=half, rating=half))) == 1
    assert number_faults(people(motion=["low", "high"] * 10)) == []


@pytest.mark.parametrize("name", ["bdi", "dose", "age_at_menarche", "redcap_id"])
def test_study_is_refused_only_for_motion_age_and_site(name):
    odd = texts(12, 1, r3="-1", r5="9999", r7="unknown")
    table = people(age=texts(20, 1), mean_fd=texts(0.1, 0.01)).assign(**{name: odd})
    assert number_faults(table, is_of_all=False) == []
    assert number_faults(people(age=odd), is_of_all=False) != []
    assert number_faults(people(mean_fd=odd), is_of_all=False) != []


def test_site_may_be_any_number_but_a_negative_one():
    sites = ["1", "2", "99", "104"] * 5
    assert number_faults(people(site=sites), is_of_all=False) == []
    (fault,) = number_faults(people(site=[*sites[:-1], "-9999"]), is_of_all=False)
    assert "column 'site': '-9999' in line 21" in fault.found


@pytest.mark.parametrize(
    ("name", "odd", "expected"),
    [
        ("age", [99], [99]),
        ("age", [86, 99], []),
        ("age", [88], []),
        ("age", [1975], [1975]),
        ("age", [255], [255]),
        ("dose", [99], []),
        ("mean_trans_x", [-0.01], []),
        ("mean_fd", [-0.01], [-0.01]),
    ],
)
def test_what_no_age_and_no_motion_can_be(name, odd, expected):
    usual = [31, 25, 44, 60, 52, 38, 41, 29] if name in {"age", "dose"} else [0.1, 0.2] * 4
    assert missing_codes(np.array([*usual, *odd, np.nan]), name) == expected


@pytest.mark.parametrize("code", [-9999, -1, 99, 999])
def test_column_of_one_code_alone_was_not_measured(code):
    assert missing_codes(np.full(7, float(code)), "mean_fd") == [code]
    assert missing_codes(np.zeros(7), "mean_fd") == []
