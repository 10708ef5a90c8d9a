from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.crossval.permutation import check_exchangeable, permute_labels
from fmnet.data.cohort import Cohort
from fmnet.data.listing import Labels
from fmnet.data.scans import Scan
from fmnet.errors import CohortError


def make_cohort(rows, families=None) -> Cohort:
    """Rows of (person, site, label), one scan each; families by person."""
    scans = tuple(
        Scan(f"scan-{number}", person, (), "MNI152", label)
        for number, (person, _, label) in enumerate(rows)
    )
    people = pd.DataFrame(
        {"participant_id": [row[0] for row in rows], "site": [row[1] for row in rows]}
    ).drop_duplicates("participant_id")
    if families:
        people["family"] = [families.get(person, "") for person in people["participant_id"]]
    listing = SimpleNamespace(participants=people, labels=Labels("group", "FM", "HC"))
    return Cohort(scans, (), listing, None)


def labels_of(cohort) -> list[str]:
    return [scan.label for scan in cohort.scans]


@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["FM", "HC"])), min_size=2),
    st.integers(0, 99),
)
def test_each_site_keeps_its_numbers(people, seed):
    rows = [(f"sub-{number}", site, label) for number, (site, label) in enumerate(people)]
    cohort = make_cohort(rows)
    shuffled = permute_labels(cohort, np.random.default_rng(seed))
    before = Counter(zip([row[1] for row in rows], labels_of(cohort), strict=True))
    after = Counter(zip([row[1] for row in rows], labels_of(shuffled), strict=True))
    assert before == after


def test_scans_of_a_person_move_together():
    rows = [(f"sub-{k // 2}", "", "FM" if k < 10 else "HC") for k in range(20)]
    shuffled = labels_of(permute_labels(make_cohort(rows), np.random.default_rng(1)))
    assert shuffled[::2] == shuffled[1::2]
    assert shuffled != [row[2] for row in rows]


def test_people_with_both_classes_keep_one_scan_of_each():
    rows = [(f"sub-{k // 2}", "", "FM" if k % 2 else "HC") for k in range(20)]
    shuffled = labels_of(permute_labels(make_cohort(rows), np.random.default_rng(1)))
    assert all(set(shuffled[k : k + 2]) == {"FM", "HC"} for k in range(0, 20, 2))
    assert shuffled != [row[2] for row in rows]


def test_families_keep_together_what_they_share():
    """Pairs of one class stay pairs of one class; pairs of both stay pairs of both."""
    labels = ["FM", "FM", "HC", "HC"] * 3 + ["FM", "HC"] * 3
    rows = [(f"sub-{k:02}", "", label) for k, label in enumerate(labels)]
    rows += [(f"sub-{k}", "", "FM" if k % 2 else "HC") for k in range(90, 96)]
    families = {f"sub-{k:02}": str(k // 2) for k in range(18)}
    cohort = make_cohort(rows, families)
    seen = set()
    for seed in range(20):
        shuffled = labels_of(permute_labels(cohort, np.random.default_rng(seed)))
        pairs = Counter(tuple(sorted(shuffled[k : k + 2])) for k in range(0, 18, 2))
        assert pairs == {("FM", "FM"): 3, ("HC", "HC"): 3, ("FM", "HC"): 3}
        assert Counter(shuffled[18:]) == {"FM": 3, "HC": 3}
        seen.add(tuple(shuffled))
    assert len(seen) > 15


def test_one_person_with_both_classes_holds_up_nobody_else():
    rows = [(f"sub-{k}", "", "FM" if k % 2 else "HC") for k in range(20)]
    rows += [("sub-x", "", "FM"), ("sub-x", "", "HC")]
    orders = set()
    for seed in range(30):
        shuffled = labels_of(permute_labels(make_cohort(rows), np.random.default_rng(seed)))
        assert set(shuffled[20:]) == {"FM", "HC"}
        orders.add(tuple(shuffled))
    assert len(orders) > 25


def test_labels_that_can_hardly_be_exchanged_are_refused():
    rows = [(f"sub-{k}", f"site-{k // 2}", "FM" if k % 2 else "HC") for k in range(4)]
    rows += [(f"sub-{k}", "site-pure", "FM") for k in range(10, 20)]
    with pytest.raises(CohortError, match="exchanged in 4 ways only"):
        check_exchangeable(make_cohort(rows), 0)


def test_all_orders_are_equally_likely():
    cohort = make_cohort([("sub-0", "", "FM"), ("sub-1", "", "HC"), ("sub-2", "", "HC")])
    rng = np.random.default_rng(0)
    counts = Counter(labels_of(permute_labels(cohort, rng)).index("FM") for _ in range(900))
    assert all(count == pytest.approx(300, abs=60) for count in counts.values())


def test_permuting_changes_nothing_but_labels():
    cohort = make_cohort([("sub-0", "", "FM"), ("sub-1", "", "HC")])
    shuffled = permute_labels(cohort, np.random.default_rng(0))
    back = [replace(scan, label="") for scan in shuffled.scans]
    assert back == [replace(scan, label="") for scan in cohort.scans]
