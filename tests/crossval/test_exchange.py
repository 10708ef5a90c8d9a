from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cohort_fixtures import cohort_of_rows
from hypothesis import given
from hypothesis import strategies as st

from fmnet.crossval.exchange import check_exchangeable, exchange, find_cells, permute_labels
from fmnet.data.folds import build_folds, check_folds
from fmnet.errors import CohortError


def labels_of(cohort) -> list[str]:
    return [scan.label for scan in cohort.scans]


@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["FM", "HC"])), min_size=2),
    st.integers(0, 99),
)
def test_each_site_keeps_its_numbers(people, seed):
    rows = [(f"sub-{number}", site, label) for number, (site, label) in enumerate(people)]
    cohort = cohort_of_rows(rows)
    shuffled = permute_labels(cohort, np.random.default_rng(seed))
    before = Counter(zip([row[1] for row in rows], labels_of(cohort), strict=True))
    after = Counter(zip([row[1] for row in rows], labels_of(shuffled), strict=True))
    assert before == after


def test_scans_of_a_person_move_together():
    rows = [(f"sub-{k // 2}", "", "FM" if k < 10 else "HC") for k in range(20)]
    shuffled = labels_of(permute_labels(cohort_of_rows(rows), np.random.default_rng(1)))
    assert shuffled[::2] == shuffled[1::2]
    assert shuffled != [row[2] for row in rows]


def test_people_with_both_classes_keep_one_scan_of_each():
    rows = [(f"sub-{k // 2}", "", "FM" if k % 2 else "HC") for k in range(20)]
    shuffled = labels_of(permute_labels(cohort_of_rows(rows), np.random.default_rng(1)))
    assert all(set(shuffled[k : k + 2]) == {"FM", "HC"} for k in range(0, 20, 2))
    assert shuffled != [row[2] for row in rows]


def test_families_keep_together_what_they_share():
    """Pairs of one class stay pairs of one class; pairs of both stay pairs of both."""
    labels = ["FM", "FM", "HC", "HC"] * 3 + ["FM", "HC"] * 3
    rows = [(f"sub-{k:02}", "", label) for k, label in enumerate(labels)]
    rows += [(f"sub-{k}", "", "FM" if k % 2 else "HC") for k in range(90, 96)]
    families = {f"sub-{k:02}": str(k // 2) for k in range(18)}
    cohort = cohort_of_rows(rows, families)
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
        shuffled = labels_of(permute_labels(cohort_of_rows(rows), np.random.default_rng(seed)))
        assert set(shuffled[20:]) == {"FM", "HC"}
        orders.add(tuple(shuffled))
    assert len(orders) > 25


def test_labels_that_can_hardly_be_exchanged_are_refused():
    rows = [(f"sub-{k}", f"site-{k // 2}", "FM" if k % 2 else "HC") for k in range(4)]
    rows += [(f"sub-{k}", "site-pure", "FM") for k in range(10, 20)]
    with pytest.raises(CohortError, match="exchanged in 4 ways only"):
        check_exchangeable(cohort_of_rows(rows), 0)


def test_all_orders_are_equally_likely():
    cohort = cohort_of_rows([("sub-0", "", "FM"), ("sub-1", "", "HC"), ("sub-2", "", "HC")])
    rng = np.random.default_rng(0)
    counts = Counter(labels_of(permute_labels(cohort, rng)).index("FM") for _ in range(900))
    assert all(count == pytest.approx(300, abs=60) for count in counts.values())


def test_permuting_changes_nothing_but_labels():
    cohort = cohort_of_rows([("sub-0", "", "FM"), ("sub-1", "", "HC")])
    shuffled = permute_labels(cohort, np.random.default_rng(0))
    back = [replace(scan, label="") for scan in shuffled.scans]
    assert back == [replace(scan, label="") for scan in cohort.scans]


def people(n, n_sites=1):
    """Half of them of either class, evenly at each site."""
    return cohort_of_rows(
        [(f"sub-{k:03}", f"site-{k // 2 % n_sites}", "FM" if k % 2 else "HC") for k in range(n)]
    )


@pytest.mark.parametrize(("n", "n_sites"), [(30, 1), (70, 1), (70, 2), (100, 2)])
def test_labels_exchanged_within_cells_leave_every_set_its_numbers(n, n_sites):
    cohort = people(n, n_sites)
    folds = build_folds(cohort, 5, 1, 3)
    cells = find_cells(cohort, folds, 0)
    assert cells is not None
    label_of = dict(zip(cohort.participant_ids, cohort.labels, strict=True))
    orders = [exchange(cohort, np.random.default_rng(seed), cells) for seed in range(20)]
    for order in orders:
        now = dict(zip(cohort.participant_ids, order.labels, strict=True))
        for fold in folds:
            assert order.moved(fold) == fold
            for part in (fold.test, *fold.validation):
                assert sum(now[one] for one in part) == sum(label_of[one] for one in part)
    assert len({order.labels.tobytes() for order in orders}) == 20
    kept = np.mean([(order.labels == cohort.labels).mean() for order in orders])
    assert kept < 0.6  # labels drawn without any cells keep half


@pytest.mark.parametrize(("n", "n_sites", "n_repeats"), [(24, 1, 1), (70, 4, 1), (70, 1, 2)])
def test_folds_move_where_cells_are_too_small(n, n_sites, n_repeats):
    cohort = people(n, n_sites)
    assert find_cells(cohort, build_folds(cohort, 5, n_repeats, 3), 0) is None


def test_folds_that_move_along_are_folds_of_the_labels_exchanged():
    """Every person stands in the place of another: with its label, site and folds."""
    rows = [(f"sub-{k:02}", f"site-{k % 2}", "FM" if k % 4 < 2 else "HC") for k in range(40)]
    rows += [("sub-00", "site-0", "FM"), ("sub-x", "site-1", "FM"), ("sub-x", "site-1", "HC")]
    families = {f"sub-{k:02}": str(k // 4) for k in (4, 8, 12, 16, 20, 24)}
    families |= {f"sub-{k + 4:02}": str(k // 4) for k in (4, 12, 20)} | {
        "sub-30": "x",
        "sub-x": "x",
    }
    cohort = cohort_of_rows(rows, families)
    folds = build_folds(cohort, 3, 1, 2)
    label_of = dict(zip(cohort.participant_ids, cohort.labels, strict=True))
    moved_ever = False
    for seed in range(10):
        order = exchange(cohort, np.random.default_rng(seed))
        now = dict(zip(cohort.participant_ids, order.labels, strict=True))
        moved = [order.moved(fold) for fold in folds]
        check_folds(moved, replace(cohort, scans=relabelled(cohort, order.labels)))
        for before, after in zip(folds, moved, strict=True):
            moved_ever |= before != after
            counts = [
                sorted(int(labels[one]) for one in fold.test if one != "sub-x")
                for fold, labels in ((before, label_of), (after, now))
            ]
            assert counts[0] == counts[1]
    assert moved_ever


def relabelled(cohort, labels):
    pairs = zip(cohort.scans, labels, strict=True)
    return tuple(replace(scan, label="FM" if own else "HC") for scan, own in pairs)
