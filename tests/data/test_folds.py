from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.bids import read_bids
from fmnet.data.cohort import Cohort, open_cohort
from fmnet.data.folds import (
    Fold,
    build_folds,
    build_inner_folds,
    build_site_folds,
    check_folds,
    folds_table,
    read_folds,
    rows_of,
)
from fmnet.data.grid import Grid
from fmnet.data.listing import Labels, Listing
from fmnet.data.scans import Scan, StoredScan
from fmnet.data.tables import write_table
from fmnet.errors import FoldsError

STORED = StoredScan(Path("values.npy"), ("a",), ("b",), ("grid",))


def cohort_of(people, scans_per_person=1):
    """Build a cohort in memory from mappings with participant_id, group, site, family."""
    scans = tuple(
        Scan(f"{row['participant_id']}_{number}", row["participant_id"], (), "MNI152", row["group"])
        for row in people
        for number in range(scans_per_person)
    )
    listing = Listing(scans, ("pain",), "z", pd.DataFrame(people), Labels("group", "FM", "HC"))
    grid = Grid(np.ones((2, 3, 4), dtype=bool), np.diag([20.0, 20, 20, 1]), "MNI152")
    return Cohort(scans, (STORED,) * len(scans), listing, grid)


def people_of(n_fm, n_hc, **columns):
    """Build people, FM first; columns are functions of the person's number."""
    groups = ["FM"] * n_fm + ["HC"] * n_hc
    return [
        {"participant_id": f"sub-{number:03d}", "group": group}
        | {name: value(number) for name, value in columns.items()}
        for number, group in enumerate(groups)
    ]


def shares(parts, cohort):
    """Count the scans of each class in each part."""
    labels, people = cohort.labels, cohort.participant_ids
    return [Counter(labels[rows_of(part, people)].tolist()) for part in parts]


@st.composite
def requests(draw):
    """Draw a cohort of allowed size together with the folds asked of it."""
    n_splits, inner_splits = draw(st.integers(2, 6)), draw(st.integers(2, 4))
    needed = max(n_splits, inner_splits + -(-inner_splits // (n_splits - 1)))
    sizes = [needed + draw(st.integers(0, 12)) for _ in range(2)]
    sites = draw(st.lists(st.sampled_from(["A", "B", "C", ""]), min_size=40, max_size=40))
    people = people_of(*sizes, site=lambda number: sites[number])
    cohort = cohort_of(people, draw(st.integers(1, 3)))
    options = {
        "n_splits": n_splits,
        "inner_splits": inner_splits,
        "n_repeats": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 1000)),
    }
    return cohort, options


# what folds promise ----------------------------------------------------------------------------


@given(requests())
def test_each_repeat_tests_everybody_once(request):
    cohort, options = request
    folds = build_folds(cohort, **options)
    everybody = sorted(set(cohort.participant_ids))
    assert len(folds) == options["n_splits"] * options["n_repeats"]
    for repeat in range(options["n_repeats"]):
        tested = [person for fold in folds if fold.repeat == repeat for person in fold.test]
        assert sorted(tested) == everybody
    for fold in folds:
        assert sorted(fold.train + fold.test) == everybody


@given(requests())
def test_inner_folds_divide_the_training_subjects(request):
    cohort, options = request
    for fold in build_folds(cohort, **options):
        assert len(fold.validation) == options["inner_splits"]
        inner = [person for part in fold.validation for person in part]
        assert sorted(inner) == sorted(fold.train)


@given(requests())
def test_each_part_holds_its_share_of_both_classes(request):
    cohort, options = request
    folds = build_folds(cohort, **options)
    for repeat in range(options["n_repeats"]):
        counts = shares([fold.test for fold in folds if fold.repeat == repeat], cohort)
        scans_per_person = len(cohort.scans) // len(set(cohort.participant_ids))
        for label in (0, 1):
            in_test = [count[label] for count in counts]
            assert min(in_test) >= 1
            assert max(in_test) - min(in_test) <= scans_per_person
    for fold in folds:
        for count in shares([fold.train, *fold.validation], cohort):
            assert min(count[0], count[1]) >= 1


@given(requests())
def test_same_seed_gives_the_same_folds(request):
    cohort, options = request
    assert build_folds(cohort, **options) == build_folds(cohort, **options)


def test_other_seeds_and_repeats_give_other_folds():
    cohort = cohort_of(people_of(15, 15))
    divisions = {
        frozenset(fold.test for fold in build_folds(cohort, 5, 1, seed=seed)) for seed in range(10)
    }
    assert len(divisions) == 10
    folds = build_folds(cohort, 5, 4, seed=0)
    repeats = {frozenset(f.test for f in folds if f.repeat == repeat) for repeat in range(4)}
    assert len(repeats) == 4


def test_everybody_meets_everybody_else_in_test():
    """Folds are drawn at random: no pair of one class is kept together or apart."""
    cohort = cohort_of(people_of(8, 8))
    together = Counter()
    for fold in build_folds(cohort, 4, 200, inner_splits=2):
        fm = [person for person in fold.test if person < "sub-008"]
        together.update([tuple(fm)])
    assert len(together) == 8 * 7 / 2
    assert 10 < min(together.values()) <= max(together.values()) < 60  # 28.6 expected


@given(st.integers(1, 4), st.integers(0, 100))
def test_sites_are_spread_over_the_folds(per_site, seed):
    n = 4 * per_site
    people = people_of(n, n, site=lambda number: "AB"[number % 2])
    for fold in build_folds(cohort_of(people), 2, 1, 2, seed):
        counts = Counter((int(person[-3:]) < n, int(person[-3:]) % 2) for person in fold.test)
        assert set(counts.values()) == {per_site}


def test_site_and_class_groups_smaller_than_the_folds_are_no_obstacle():
    people = people_of(12, 12, site=lambda number: "ABCD"[number % 4])
    folds = build_folds(cohort_of(people), 3, 1, inner_splits=3)
    assert [len(fold.test) for fold in folds] == [8, 8, 8]


# families --------------------------------------------------------------------------------------


@given(
    alone=st.integers(0, 6),
    pure=st.integers(0, 3),
    mixed=st.integers(0, 6),
    n_splits=st.integers(2, 4),
    seed=st.integers(0, 100),
)
def test_families_stay_together(alone, pure, mixed, n_splits, seed):
    people = [
        {"participant_id": f"alone-{group}{number}", "group": group, "family": ""}
        for number in range(alone)
        for group in ("FM", "HC")
    ]
    for kind, groups in (("FM", ("FM", "FM")), ("HC", ("HC", "HC")), ("mixed", ("FM", "HC"))):
        people += [
            {
                "participant_id": f"{kind}{number}-{member}",
                "group": group,
                "family": kind + str(number),
            }
            for number in range(mixed if kind == "mixed" else pure)
            for member, group in enumerate(groups)
        ]
    units_per_class = alone + pure + mixed
    needed = max(n_splits, 2 + -(-2 // (n_splits - 1)))
    if units_per_class < needed:
        if people:
            with pytest.raises(FoldsError, match=f"class 'HC': found {units_per_class} subjects"):
                build_folds(cohort_of(people), n_splits, 1, 2, seed)
        return
    family = {row["participant_id"]: row["family"] or row["participant_id"] for row in people}
    for fold in build_folds(cohort_of(people), n_splits, 1, 2, seed):
        for part in (fold.train, fold.test, *fold.validation):
            others = set(family) - set(part)
            assert not {family[person] for person in part} & {family[person] for person in others}


def test_check_refuses_a_family_on_two_sides():
    people = people_of(6, 6, family=lambda number: "x" if number in {0, 1} else "")
    apart = cohort_of([{**row, "family": ""} for row in people])
    seed = next(
        seed
        for seed in range(100)
        if any(
            len({"sub-000", "sub-001"} & set(fold.test)) == 1
            for fold in build_folds(apart, 2, 1, 2, seed)
        )
    )
    folds = build_folds(apart, 2, 1, 2, seed)
    check_folds(folds, apart)
    with pytest.raises(FoldsError, match="repeat 0, fold 0: found family-x on two sides"):
        check_folds(folds, cohort_of(people))


# what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_fm", "n_hc", "few"), [(4, 20, "FM"), (20, 4, "HC"), (3, 3, "HC")])
def test_names_class_with_fewer_subjects_than_folds(n_fm, n_hc, few):
    count = min(n_fm, n_hc)
    expected = f"class '{few}': found {count} subjects .* for 5 folds with 3 inner folds"
    with pytest.raises(FoldsError, match=expected):
        build_folds(cohort_of(people_of(n_fm, n_hc)), 5, 1, 3)


def test_names_both_classes_that_are_too_few():
    with pytest.raises(FoldsError, match=r"2 faults:\n  - class 'HC'.*\n  - class 'FM'"):
        build_folds(cohort_of(people_of(3, 4)), 5, 1, 3)


def test_several_scans_do_not_count_as_subjects():
    with pytest.raises(FoldsError, match="class 'HC': found 3 subjects"):
        build_folds(cohort_of(people_of(3, 3), scans_per_person=4), 5, 1, 3)


@given(n_splits=st.integers(2, 8), inner_splits=st.integers(2, 8))
def test_the_number_asked_for_is_enough_and_the_least(n_splits, inner_splits):
    needed = max(n_splits, inner_splits + -(-inner_splits // (n_splits - 1)))
    build_folds(cohort_of(people_of(needed, needed)), n_splits, 1, inner_splits)
    too_few = cohort_of(people_of(needed - 1, needed))
    with pytest.raises(FoldsError, match=f"at least {needed} in each class"):
        build_folds(too_few, n_splits, 1, inner_splits)
    least_train = (needed - 1) - -(-(needed - 1) // n_splits)
    assert needed - 1 < n_splits or least_train < inner_splits


@pytest.mark.parametrize(("n_splits", "inner_splits"), [(1, 3), (0, 3), (3, 1), (-1, 0)])
def test_refuses_fewer_than_two_folds(n_splits, inner_splits):
    name, value = ("n_splits", n_splits) if n_splits < 2 else ("inner_splits", inner_splits)
    with pytest.raises(FoldsError, match=rf"folds\.{name}: found {value}; accepted: 2 or more"):
        build_folds(cohort_of(people_of(9, 9)), n_splits, 1, inner_splits)


def test_fold_refuses_subject_on_two_sides():
    with pytest.raises(FoldsError, match=r"repeat 2, fold 1: found subjects on two sides.*: b;"):
        Fold(2, 1, ("a", "b"), ("b", "c"), (("a",), ("b",)))


@pytest.mark.parametrize(
    ("validation", "named"),
    [
        ((("a",), ("b",)), "c"),
        ((("a", "b"), ("b", "c")), "b"),
        ((("a", "b"), ("c", "z")), "z"),
    ],
    ids=["in none", "in two", "of the test set"],
)
def test_fold_refuses_inner_folds_that_do_not_divide_train(validation, named):
    with pytest.raises(FoldsError, match=rf"not in one inner fold exactly: {named};"):
        Fold(0, 0, ("a", "b", "c"), ("z",), validation)


def test_check_names_part_without_both_classes():
    cohort = cohort_of(people_of(4, 4))
    fm, hc = cohort.participant_ids[:4], cohort.participant_ids[4:]
    train = (*fm[:3], *hc[:3])
    fold = Fold(0, 0, train, (fm[3], hc[3]), (tuple(fm[:3]), tuple(hc[:3])))
    expected = r"repeat 0, fold 0, inner fold 0: found 3 subjects, not both.*\n.*inner fold 1"
    with pytest.raises(FoldsError, match=expected):
        check_folds([fold], cohort)


# the final model -------------------------------------------------------------------------------


@given(st.integers(2, 6), st.integers(0, 8), st.integers(0, 100))
def test_inner_folds_of_the_final_model_hold_everybody(inner_splits, more, seed):
    cohort = cohort_of(people_of(inner_splits + more, inner_splits))
    fold = build_inner_folds(cohort, inner_splits, seed)
    assert fold.test == ()
    assert sorted(fold.train) == cohort.participant_ids
    assert len(fold.validation) == inner_splits
    for count in shares(fold.validation, cohort):
        assert min(count[0], count[1]) >= 1


def test_names_class_too_small_for_the_inner_folds():
    with pytest.raises(FoldsError, match=r"class 'FM': found 3 subjects .* for 4 inner folds"):
        build_inner_folds(cohort_of(people_of(3, 9)), 4, 0)


# scans of subjects -----------------------------------------------------------------------------


def test_rows_are_all_scans_of_the_subjects():
    rows = rows_of(("b", "c"), ["a", "b", "b", "c", "a"])
    np.testing.assert_array_equal(rows, [1, 2, 3])
    assert rows.dtype.kind == "i"
    assert rows_of((), ["a"]).tolist() == []


@given(requests())
def test_scans_of_a_person_stay_together(request):
    cohort, options = request
    people = cohort.participant_ids
    for fold in build_folds(cohort, **options):
        train, test = rows_of(fold.train, people), rows_of(fold.test, people)
        assert sorted([*train, *test]) == list(range(len(people)))
        assert not {people[row] for row in train} & {people[row] for row in test}


def test_labels_may_differ_within_a_person():
    people = people_of(6, 6)
    both = cohort_of([*people, *({**row, "group": "HC"} for row in people[:6])])
    for fold in build_folds(both, 3, 2, 2):
        assert len(set(fold.train) | set(fold.test)) == 12
        assert not set(fold.train) & set(fold.test)


def test_folds_of_an_opened_cohort(bids_tree, store):
    cohort = open_cohort(
        read_bids(bids_tree(n=6, site=["A", "B"] * 3 + ["B", "A"] * 3).root), store
    )
    folds = build_folds(cohort, n_splits=3, n_repeats=2, inner_splits=2, seed=1)
    assert [len(fold.test) for fold in folds] == [4] * 6
    assert {count[1] for count in shares([fold.test for fold in folds], cohort)} == {2}


# one site left out ------------------------------------------------------------------------------


def test_each_site_is_left_out_once():
    cohort = cohort_of(people_of(8, 8, site=lambda number: "ABC"[number % 3]), 2)
    sites = dict(zip(cohort.participant_ids, cohort.covariate("site"), strict=True))
    folds = build_site_folds(cohort, inner_splits=2)
    assert [{sites[person] for person in fold.test} for fold in folds] == [{"A"}, {"B"}, {"C"}]
    for fold in folds:
        assert {*fold.train, *fold.test} == set(sites)


@pytest.mark.parametrize(
    ("site", "found"),
    [
        (lambda _: "A", "column 'site': found A; 0 scans without"),
        (lambda number: "" if number == 3 else "AB"[number % 2], "A, B; 1 scans without"),
        (lambda number: "A" if number < 2 else "B", "site 'A': found one class only in 2 scans"),
    ],
)
def test_sites_that_can_not_be_left_out_are_refused(site, found):
    with pytest.raises(FoldsError, match=found):
        build_site_folds(cohort_of(people_of(6, 6, site=site)))


def test_family_at_two_sites_is_refused():
    people = people_of(
        6,
        6,
        site=lambda number: "AB"[number % 2],
        family=lambda number: "smith" if number in {2, 3} else "",
    )
    with pytest.raises(FoldsError, match=r"family-smith: found sites A.B; accepted: one site"):
        build_site_folds(cohort_of(people))


def test_neighbouring_seeds_share_no_partition():
    cohort = cohort_of(people_of(12, 12))
    one, other = (
        {fold.test for fold in build_folds(cohort, 3, 4, 2, seed=seed)} for seed in (0, 1)
    )
    assert not one & other


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
