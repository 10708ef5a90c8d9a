"""Which labels may change places under the null hypothesis."""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from fmnet.data.cohort import Cohort
from fmnet.errors import CohortError, Fault

#: Part of every seed, so that permutations share no random numbers with the study itself.
PERMUTATION = 2_000_000
#: How many orders are drawn to see how many there are.
DRAWS = 100
#: Fewest orders of the labels that are worth a test at 5 %.
MIN_ORDERS = 20


def permute_labels(cohort: Cohort, rng: np.random.Generator) -> Cohort:
    """Shuffle labels as the null hypothesis allows.

    A person with scans of both classes keeps their labels, in another order among the scans. All
    others exchange labels whole: within their site, and with families of the same size as a family.
    Within a family its members exchange labels too.

    Parameters
    ----------
    cohort : Cohort
        Scans with labels.
    rng : Generator
        Where the randomness comes from.
    """
    labels = [scan.label for scan in cohort.scans]
    rows_by_person: dict[str, list[int]] = defaultdict(list)
    for row, person in enumerate(cohort.participant_ids):
        rows_by_person[person].append(row)
    shuffled = list(labels)
    whole: dict[str, str] = {}
    for person, rows in rows_by_person.items():
        own = [labels[row] for row in rows]
        if len(set(own)) == 1:
            whole[person] = own[0]
            continue
        for row, source in zip(rows, rng.permutation(len(rows)), strict=True):
            shuffled[row] = own[source]
    for person, label in _exchange(whole, cohort, rng).items():
        for row in rows_by_person[person]:
            shuffled[row] = label
    scans = tuple(
        replace(scan, label=label) for scan, label in zip(cohort.scans, shuffled, strict=True)
    )
    return replace(cohort, scans=scans)


def _exchange(label_of: dict[str, str], cohort: Cohort, rng: np.random.Generator) -> dict[str, str]:
    """Shuffle the labels of people within site and family size, families as a whole."""
    site_of = dict(zip(cohort.participant_ids, cohort.covariate("site"), strict=True))
    unit_of = cohort.unit_of
    families: dict[str, list[str]] = defaultdict(list)
    for person in label_of:
        families[unit_of[person]].append(person)
    blocks: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for members in families.values():
        blocks[tuple(site_of[person] for person in members)].append(members)
    exchanged: dict[str, str] = {}
    for block in blocks.values():
        for members, source in zip(block, rng.permutation(len(block)), strict=True):
            own = [label_of[person] for person in block[source]]
            order = rng.permutation(len(own)) if len(own) > 1 else [0]
            exchanged |= {person: own[k] for person, k in zip(members, order, strict=True)}
    return exchanged


def check_exchangeable(cohort: Cohort, seed: int) -> None:
    """Refuse a cohort whose labels can hardly be exchanged: no p-value could be small.

    Raises
    ------
    CohortError
        Saying how many orders there are.
    """
    rng = np.random.default_rng([seed, PERMUTATION])
    orders = {tuple(permute_labels(cohort, rng).labels.tolist()) for _ in range(DRAWS)}
    if len(orders) < MIN_ORDERS:
        raise CohortError(
            Fault(
                "permutation",
                f"labels that can be exchanged in {len(orders)} ways only",
                f"{MIN_ORDERS} or more, within sites, families and people",
                "have both classes at each site, or leave permutations out: permutation.n=0",
            )
        )
