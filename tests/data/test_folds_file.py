import pandas as pd
import pytest
from hypothesis import given
from test_folds import cohort_of, people_of, requests

from fmnet.data.folds import build_folds
from fmnet.data.folds_file import folds_table, read_folds
from fmnet.data.tables import write_table
from fmnet.errors import FoldsError


@pytest.fixture
def cohort():
    return cohort_of(people_of(9, 10), scans_per_person=2)


@pytest.fixture
def table(cohort):
    return folds_table(build_folds(cohort, 3, 2, 2, seed=5))


@pytest.fixture
def read_edited(cohort, tmp_path):
    """Write a table of folds, then read it for the cohort."""

    def read(table):
        write_table(table, tmp_path / "folds.tsv")
        return read_folds(cohort, tmp_path / "folds.tsv")

    return read


def test_table_has_one_row_per_fold_and_subject(table, cohort):
    assert list(table.columns) == ["repeat", "fold", "participant_id", "role", "inner_fold"]
    assert len(table) == 3 * 2 * len(set(cohort.participant_ids))
    assert not table.duplicated(["repeat", "fold", "participant_id"]).any()
    assert set(table.loc[table["role"] == "test", "inner_fold"]) == {""}
    assert set(table.loc[table["role"] == "train", "inner_fold"]) == {"0", "1"}


@given(requests())
def test_saved_folds_read_back(tmp_path_factory, request):
    cohort, options = request
    folds = build_folds(cohort, **options)
    path = tmp_path_factory.mktemp("folds") / "folds.tsv"
    write_table(folds_table(folds), path)
    assert read_folds(cohort, path) == folds


def test_refuses_folds_of_other_subjects(table, read_edited):
    other = table.replace({"participant_id": {"sub-003": "sub-999"}})
    expected = r"folds\.tsv: found other subjects \(only here: \['sub-003'\].*\['sub-999'\]\)"
    with pytest.raises(FoldsError, match=expected):
        read_edited(other)


def test_refuses_subject_in_train_and_in_test(table, read_edited):
    row = table.query("repeat == 1 and fold == 2 and role == 'test'").iloc[[0]]
    person = row["participant_id"].item()
    edited = pd.concat([table, row.assign(role="train", inner_fold="0")])
    expected = rf"folds\.tsv, repeat 1, fold 2: found rows: 2 for {person}; "
    with pytest.raises(FoldsError, match=expected):
        read_edited(edited)


def test_refuses_subject_that_a_fold_leaves_out(table, read_edited):
    row = table.query("repeat == 0 and fold == 1 and role == 'train'").iloc[0]
    expected = rf"folds\.tsv, repeat 0, fold 1: found rows: 0 for {row['participant_id']}; "
    with pytest.raises(FoldsError, match=expected):
        read_edited(table.drop(index=row.name))


def test_refuses_subject_that_is_tested_twice_in_a_repeat(table, read_edited):
    row = table.query("repeat == 0 and fold == 1 and role == 'train'").iloc[0]
    table.loc[row.name, ["role", "inner_fold"]] = ["test", ""]
    expected = rf"folds\.tsv, repeat 0: found test roles: 2 for {row['participant_id']}; "
    with pytest.raises(FoldsError, match=expected):
        read_edited(table)


def test_refuses_repeat_that_lost_a_fold(table, read_edited):
    edited = table.query("repeat == 0 or fold != 2")
    with pytest.raises(FoldsError, match=r"folds\.tsv, repeat 1: found test roles: 0 for sub-"):
        read_edited(edited)


@pytest.mark.parametrize(
    ("column", "value"), [("role", "Test"), ("role", "validation"), ("fold", "a"), ("repeat", "-1")]
)
def test_refuses_unknown_value(table, read_edited, column, value):
    edited = table.astype(str)
    edited.loc[10, column] = value
    person = edited.loc[10, "participant_id"]
    expected = rf"folds\.tsv, {person}: found .*{column} '{value}'"
    with pytest.raises(FoldsError, match=expected):
        read_edited(edited)


@pytest.mark.parametrize("value", ["", "0"])
def test_refuses_fewer_than_two_inner_folds(table, read_edited, value):
    table.loc[table["role"] == "train", "inner_fold"] = value
    with pytest.raises(FoldsError, match=r"repeat 0, fold 0: found fewer than 2 inner folds"):
        read_edited(table)


def test_refuses_training_subject_without_inner_fold(table, read_edited):
    row = table.query("repeat == 0 and fold == 1 and role == 'train'").iloc[0]
    table.loc[row.name, "inner_fold"] = ""
    expected = rf"repeat 0, fold 1: found .*in one inner fold exactly: {row['participant_id']};"
    with pytest.raises(FoldsError, match=expected):
        read_edited(table)


def test_refuses_folds_without_both_classes(cohort, read_edited):
    people = sorted(set(cohort.participant_ids))
    fm, hc = people[:9], people[9:]
    sides = [(fm, hc), (hc, fm)]
    rows = [
        {"repeat": 0, "fold": fold, "participant_id": person, "role": role, "inner_fold": inner}
        for fold, (train, test) in enumerate(sides)
        for role, side in (("train", train), ("test", test))
        for number, person in enumerate(side)
        for inner in [str(number % 2) if role == "train" else ""]
    ]
    with pytest.raises(FoldsError, match="repeat 0, fold 0, train: found 9 subjects, not both"):
        read_edited(pd.DataFrame(rows))
