import re

import numpy as np
import pandas as pd
import pytest

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
)

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
