from dataclasses import replace

import pytest

from fmnet.bold.findings import DatasetReport, Kind, RunSummary, describe
from fmnet.targets.dataset import check_outcomes
from fmnet.targets.severity import Severity

PEOPLE = ("sub-01", "sub-02", "sub-03", "sub-04")


@pytest.fixture
def checked(tmp_path, write_tsv):
    """Report on raw data of four people, whose table has these columns."""
    runs = tuple(RunSummary(f"{one}_task-rest", one, "rest", "", 2.0, 9) for one in PEOPLE)

    def build(**columns):
        rows = [
            {"participant_id": one} | {name: values[k] for name, values in columns.items()}
            for k, one in enumerate(PEOPLE)
        ]
        write_tsv(tmp_path / "participants.tsv", rows)
        return DatasetReport(tmp_path, None, PEOPLE, "4 rows", runs, (), ())

    return build


def said(report):
    assert {finding.kind for finding in report.findings} <= {Kind.OUTCOME}
    return [str(fault) for fault in report.faults]


def test_names_what_a_target_lacks(checked):
    report = checked(fiqr=["40", "n/a", "many", "70"], group=["FM", "FM", "FM", "HC"])
    target = Severity(column="fiqr", unit="points", min_people=3, among={"group": ["FM"]})
    found = check_outcomes(report, target)
    assert any("sub-03" in one and "'many'" in one for one in said(found))
    assert any("sub-02: found nothing in column 'fiqr' (value)" in one for one in said(found))
    assert found.target.startswith("target=severity: 1 of 4 scans can be studied")
    assert found.target.endswith("; 1 are of people who are not among those studied")
    assert found.target in describe(found)


def test_names_columns_that_are_missing(checked):
    (fault,) = said(check_outcomes(checked(age=list("5678")), Severity(column="vas")))
    assert "a column 'vas' ('value' of target.severity)" in fault


def test_looks_into_sessions(checked, tmp_path, write_tsv):
    report = checked(age=list("5678"))
    report = replace(report, raw_runs=tuple(replace(one, session="a") for one in report.raw_runs))
    for k, one in enumerate(PEOPLE[:3]):
        write_tsv(tmp_path / one / f"{one}_sessions.tsv", [{"session_id": "ses-a", "vas": 10 * k}])
    found = check_outcomes(report, Severity(column="vas", min_people=2))
    assert found.target.startswith("target=severity: 3 of 4 scans")
    assert said(found)[0].startswith("sub-04_ses-a: found nothing in column 'vas' (value)")
