from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from fmnet.data.bids import read_bids
from fmnet.data.cohort import open_cohort
from fmnet.data.covariates import read_numbers
from fmnet.data.folds import build_folds, rows_of
from fmnet.data.image_table import read_image_table
from fmnet.data.outcomes import outcomes_of
from fmnet.errors import CohortError, Fault
from fmnet.synthetic.outcomes import OutcomePlan, draw_people
from fmnet.synthetic.targets import list_drawn
from fmnet.targets.base import Target
from fmnet.targets.reading import read_target


def unused(*_, **__):
    raise AssertionError("not of reading")


@dataclass(frozen=True)
class Toy(Target):
    """A number, told as high or low; refuses cohorts of fewer than two people."""

    kind = "toy"
    title = "a toy"
    column: str = "pain"

    @property
    def columns(self):
        return {"value": self.column}

    def read(self, texts):
        found = read_numbers(texts[self.column])
        faults = [
            Fault(
                texts["scan_id"][row],
                f"'{texts[self.column][row]}' in column '{self.column}'",
                "a number",
                "correct it",
                texts["participant_id"][row],
            )
            for row in np.flatnonzero(found.is_wrong)
        ]
        return replace(self, column=self.column), {"value": found.values}, faults

    def check(self, outcomes):
        n = len(set(outcomes.participants))
        return [] if n > 1 else [Fault("cohort", f"{n} person", "two people", "scan more")]

    def strata(self, outcomes):
        median = np.median(outcomes["value"])
        return ["high" if value > median else "low" for value in outcomes["value"]]

    score_names = ("score",)
    head = fit_null = fit_link = figures = statistic = meanings = verdict = unused
    primary = property(unused)


Toy.__abstractmethods__ = frozenset()


@pytest.fixture
def listed(bids_tree, write_tsv):
    """List a tree of four people whose table has these columns; no two groups."""
    tree = bids_tree(n=2)

    def build(on_fault="raise", **columns):
        rows = pd.DataFrame({"participant_id": list(tree.people)} | columns).to_dict("records")
        write_tsv(tree.participants, rows)
        return read_bids(tree.root, label=None, positive=None, negative=None, on_fault=on_fault)

    build.people, build.root = list(tree.people), tree.root
    return build


def values_of(listing):
    return {scan.participant_id: dict(scan.outcome).get("value") for scan in listing.studied}


def test_gives_each_scan_its_outcome(listed, store):
    target, listing = read_target(Toy(), listed(pain=["3", "1,5", "2,5", "4"]))
    assert not listing.labels.is_given
    assert listing.outcome_columns == ("pain",)
    cohort = open_cohort(listing, store)
    values = outcomes_of(cohort)["value"]
    np.testing.assert_allclose(values, [3, 1.5, 2.5, 4])
    assert cohort.strata == ["high", "low", "low", "high"]
    assert cohort.labels.tolist() == [0, 0, 0, 0]
    assert target.column == "pain"


def test_passes_over_whoever_lacks_a_value_and_says_so(listed, store):
    _, listing = read_target(Toy(), listed(pain=["3", "n/a", "2.5", "4"]))
    assert listing.faults == ()
    cohort = open_cohort(listing, store)
    assert cohort.participant_ids == [listed.people[k] for k in (0, 2, 3)]
    table = cohort.table().set_index("participant_id")
    assert table.loc[listed.people[1], "used"] == "no"
    assert "nothing in column 'pain' (value)" in table.loc[listed.people[1], "reason"]
    assert table.loc[listed.people[0], "outcome_value"] == "3"


@pytest.mark.parametrize("cell", ["much", "-999"])
def test_values_that_cannot_be_read_are_faults(listed, store, cell):
    pain = ["3", "2", cell, "4"]
    _, listing = read_target(Toy(), listed(pain=pain))
    with pytest.raises(CohortError, match=f"sub-03: found '{cell}' in column 'pain'"):
        open_cohort(listing, store)
    _, listing = read_target(Toy(), listed("exclude", pain=pain))
    cohort = open_cohort(listing, store)
    assert cohort.participant_ids == ["sub-01", "sub-02", "sub-04"]
    assert [fault.participant_id for fault in cohort.left_out] == ["sub-03"]


def test_studies_only_those_among(listed):
    target = Toy(among={"group": ["FM"]})
    _, listing = read_target(
        target, listed(pain=["3", "x", "1", ""], group=list("FH") + ["FM"] * 2)
    )
    assert values_of(listing) == {listed.people[2]: 1.0}
    said = [fault.found for fault in listing.passed_over]
    assert said[:2] == ["'F' in column 'group'", "'H' in column 'group'"]
    assert [fault.found for fault in listing.faults] == ["1 person"]


def test_names_values_among_that_do_not_occur(listed):
    columns = {"pain": list("3214"), "group": ["FM", "FM", "OA", "OA"]}
    _, listing = read_target(Toy(among={"group": ["FM", "HC"]}), listed(**columns))
    assert str(listing.faults[0]) == (
        "target.among.group: found 'HC' of nobody; accepted: 'FM', 'OA'; "
        "to do: correct target.among.group."
    )


def test_names_columns_that_are_missing(listed):
    with pytest.raises(CohortError, match=r"(?s)found columns 'participant_id', 'age'.*'pain'"):
        read_target(Toy(among={"sex": ["F"]}), listed(age=list("3214")))


def test_refuses_one_column_for_two_roles(listed):
    @dataclass(frozen=True)
    class Adjusted(Toy):
        @property
        def columns(self):
            return {"value": "pain", "baseline": "pain"}

    Adjusted.__abstractmethods__ = frozenset()
    with pytest.raises(CohortError, match="column 'pain' for 'value' and 'baseline'"):
        read_target(Adjusted(), listed(pain=list("3214")))


def test_looks_up_sessions_first(tmp_path, write_tsv):
    for subject, session in [("01", "1"), ("01", "2"), ("02", "1")]:
        name = f"sub-{subject}_ses-{session}_contrast-a_stat-z_space-MNI152_statmap.nii.gz"
        path = tmp_path / f"sub-{subject}" / f"ses-{session}" / "func" / name
        path.parent.mkdir(parents=True)
        path.touch()
    people = [{"participant_id": f"sub-0{k}", "pain": "9", "sex": "F"} for k in (1, 2)]
    write_tsv(tmp_path / "participants.tsv", people)
    sessions = [{"session_id": "ses-1", "pain": "4"}, {"session_id": "2", "pain": "1.5"}]
    write_tsv(tmp_path / "sub-01" / "sub-01_sessions.tsv", sessions)
    listing = read_bids(tmp_path, label=None)
    assert listing.of_scans["scan_id"].tolist() == ["sub-01_ses-1", "sub-01_ses-2"]
    _, read = read_target(Toy(among={"sex": ["F"]}), listing)
    assert [dict(scan.outcome)["value"] for scan in read.studied] == [4, 1.5]
    assert [fault.where for fault in read.passed_over] == ["sub-02_ses-1"]
    assert read.faults[0].found == "1 person"
    write_tsv(tmp_path / "sub-02" / "sub-02_sessions.tsv", [{"session": "1", "pain": "4"}])
    (fault,) = read_bids(tmp_path, label=None).faults
    assert (fault.participant_id, fault.action) == ("sub-02", "add or rename: 'session_id'")


def test_looks_up_the_table_of_maps_first(tmp_path, write_tsv):
    rows = [
        {
            "participant_id": f"sub-{k}",
            "session": session,
            "path": f"{k}{session}.nii",
            "pain": pain,
        }
        for k, session, pain in [(1, "a", "3"), (1, "b", "2"), (2, "a", "7"), (2, "b", "n/a")]
    ]
    images = write_tsv(tmp_path / "maps.tsv", rows) or tmp_path / "maps.tsv"
    listing = read_image_table(images, label=None)
    _, listing = read_target(Toy(), listing)
    assert [dict(scan.outcome)["value"] for scan in listing.studied] == [3, 2, 7]
    assert [fault.participant_id for fault in listing.passed_over] == ["sub-2"]


def test_a_listing_without_label_and_target_is_refused(listed, store):
    with pytest.raises(CohortError, match="neither a label column nor a target"):
        open_cohort(listed(pain=list("3214")), store)


def test_refuses_a_site_that_gives_outcomes_away(listed, store):
    columns = {"pain": list("3311"), "site": list("AABB")}
    _, listing = read_target(Toy(), listed(**columns))
    with pytest.raises(CohortError, match="A: only 'high', B: only 'low'"):
        open_cohort(listing, store)


def test_folds_follow_strata(listed, store):
    _, listing = read_target(Toy(), listed(pain=list("3412")))
    cohort = open_cohort(listing, store)
    strata = np.array(cohort.strata)
    for fold in build_folds(cohort, n_splits=2, n_repeats=3, inner_splits=2):
        assert sorted(strata[rows_of(fold.test, cohort.participant_ids)]) == ["high", "low"]


def test_people_who_were_drawn_are_read_without_files():
    plan = OutcomePlan("sessions", n_people=9, n_sessions=2)
    drawn = draw_people(plan, np.random.default_rng(0))
    _, listing = read_target(Toy(column="fiqr"), list_drawn(drawn))
    values = [dict(scan.outcome)["value"] for scan in listing.studied]
    np.testing.assert_allclose(values, drawn.scans["fiqr"])
