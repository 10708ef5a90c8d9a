import pytest
from test_exchangeability import make_cohort

from fmnet.errors import CohortError
from fmnet.lockbox import LockBox, set_aside

ROWS = [(f"sub-{k:02}", "AB"[k % 3 == 0], "FM" if k < 12 else "HC") for k in range(20)]


@pytest.fixture
def cohort():
    made = make_cohort(ROWS)
    return type(made)(made.scans, tuple(range(20)), made.listing, None)


def people(scans) -> set[str]:
    return {scan.participant_id for scan in scans}


def test_nobody_is_set_aside_unasked(cohort):
    assert set_aside(cohort, LockBox(), 0) is cohort


def test_named_people_and_a_site_are_set_aside(cohort):
    box = set_aside(cohort, LockBox(["01", "sub-13"], site="B"), 0)
    expected = {row[0] for row in ROWS if row[1] == "B"} | {"sub-01", "sub-13"}
    assert people(box.set_aside) == expected
    assert people(box.scans) == {row[0] for row in ROWS} - expected
    assert [ROWS[k][0] for k in box.stored] == [scan.participant_id for scan in box.scans]


def test_a_share_of_each_class_is_drawn_by_seed(cohort):
    box = set_aside(cohort, LockBox(fraction=0.25), 3)
    assert sorted(scan.label for scan in box.set_aside) == ["FM"] * 3 + ["HC"] * 2
    assert people(box.set_aside) == people(set_aside(cohort, LockBox(fraction=0.25), 3).set_aside)
    assert people(box.set_aside) != people(set_aside(cohort, LockBox(fraction=0.25), 4).set_aside)


@pytest.mark.parametrize(
    ("lockbox", "message"),
    [
        (LockBox(["sub-77"]), r"lockbox\.subjects: found nobody called 77"),
        (LockBox(site="C"), r"lockbox\.site: found no site 'C'; accepted: A, B"),
        (LockBox(["sub-01", "sub-02"]), "one class only in the lock-box"),
        (LockBox([row[0] for row in ROWS[12:]] + ["sub-01"]), "one class only outside"),
    ],
)
def test_boxes_that_make_no_sense_are_refused(cohort, lockbox, message):
    with pytest.raises(CohortError, match=message):
        set_aside(cohort, lockbox, 0)
