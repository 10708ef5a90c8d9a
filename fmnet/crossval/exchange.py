"""Which labels can be exchanged under the null hypothesis, and which leave all folds as they are.

Under the null hypothesis scans of people of a site tell nothing of their labels: given labels,
sites, families and folds, which were made without looking at any scan, people of one site could as
well stand in each other's places, with the label and the folds of that place. So *all* orders of
people within sites are equally likely, and an AUC that is computed anew for each of them, folds
moved along with labels, has the same distribution as the one observed: the test is exact, whatever
the folds were stratified by and whoever drew them.

The orders that exchange only people who are in the same test fold and in the same inner folds are
a group of their own, under which the same holds. They change no set of people that anything is
learned from, only labels, and each set keeps its number of both labels. So all that needs no labels
can be computed once for all of them. That is worth something as long as labels still vary nearly as
freely as they could: see `find_cells`.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fmnet.data.cohort import Cohort, relabel
from fmnet.data.folds import Fold
from fmnet.errors import CohortError, Fault

#: How many orders are drawn to see how many there are.
DRAWS = 100
#: Fewest different orders among those drawn that are worth a test at 5 %.
MIN_ORDERS = 20
#: Fewest different orders among those drawn within cells: there are a thousand or more then.
MIN_WITHIN_CELLS = 90
#: Largest fraction of the labels' variance within sites that may lie between cells, where it can't
#: be permuted: shuffled labels would resemble the observed ones, which costs power.
MAX_FIXED = 0.1


@dataclass(frozen=True, eq=False)
class Exchange:
    """An order of the labels.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        0 or 1, of each scan.
    place_of : dict
        In whose place each participant stands; it moves folds along.
    """

    labels: NDArray[np.int64]
    place_of: dict[str, str]

    def moved(self, fold: Fold) -> Fold:
        """Put people into the folds of the places in which they stand."""
        return moved(fold, self.place_of)


def moved(fold: Fold, place_of: Mapping[str, str]) -> Fold:
    """Put people into the folds of the places in which they stand."""
    taker = {place: person for person, place in place_of.items()}

    def move(part: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(taker[place] for place in part))

    inner = tuple(move(part) for part in fold.validation)
    return replace(fold, train=move(fold.train), test=move(fold.test), validation=inner)


def permute_labels(cohort: Cohort, rng: np.random.Generator) -> Cohort:
    """Shuffle labels as the null hypothesis allows, see `exchange`."""
    return relabel(cohort, exchange(cohort, rng).labels)


def exchange(
    cohort: Cohort, rng: np.random.Generator, cell_of: Mapping[str, Hashable] | None = None
) -> Exchange:
    """Draw an order of the labels that is as likely as the observed one under the null hypothesis.

    A participant with scans of both classes keeps them, in another order among the scans. All
    others exchange labels whole: within their site, and with families of the same size as a family.
    Within a family its members exchange labels too. With `cell_of`, only people of the same cell
    do.
    """
    labels = cohort.labels
    rows_by_participant: dict[str, list[int]] = defaultdict(list)
    for row, participant in enumerate(cohort.participant_ids):
        rows_by_participant[participant].append(row)
    shuffled = labels.copy()
    place_of = {participant: participant for participant in rows_by_participant}
    whole = []
    for participant, rows in rows_by_participant.items():
        if len(set(labels[rows])) == 1:
            whole.append(participant)
        else:
            shuffled[rows] = labels[rows][rng.permutation(len(rows))]
    for block in _blocks(cohort, whole, cell_of or {}):
        for members, source in zip(block, rng.permutation(len(block)), strict=True):
            order = rng.permutation(len(members)) if len(members) > 1 else [0]
            for participant, k in zip(members, order, strict=True):
                place_of[participant] = place = block[source][k]
                shuffled[rows_by_participant[participant]] = labels[rows_by_participant[place][0]]
    return Exchange(shuffled, place_of)


def _blocks(
    cohort: Cohort, whole: list[str], cell_of: Mapping[str, Hashable]
) -> list[list[list[str]]]:
    """List families, or single people, who can take each other's places as a whole."""
    site_of = dict(zip(cohort.participant_ids, cohort.covariate("site"), strict=True))
    unit_of = cohort.unit_of
    families: dict[str, list[str]] = defaultdict(list)
    for participant in whole:
        families[unit_of[participant]].append(participant)
    # who stays where they are for scans of both classes, keeps their family
    bound = {unit_of[one] for one in set(cohort.participant_ids) - set(whole)}
    blocks: dict[Hashable, list[list[str]]] = defaultdict(list)
    for unit, members in families.items():
        alike = tuple((site_of[one], cell_of.get(one)) for one in members)
        blocks[alike, unit if unit in bound else ""].append(members)
    return list(blocks.values())


def find_cells(
    cohort: Cohort, folds: Sequence[Fold], seed: int, max_fixed: float = MAX_FIXED
) -> dict[str, Hashable] | None:
    """Find the cells of people who are in the same test folds and in the same inner folds.

    None where labels vary too little within them, as with few people at each of many sites, or in
    folds of several repeats; folds must move along with labels then. Scans have no say in it.
    """
    cell_of = cells_of(cohort.participant_ids, folds)
    sites = dict(zip(cohort.participant_ids, cohort.covariate("site"), strict=True))
    free = _spread(cohort, sites)
    left = _spread(cohort, {one: (sites[one], cell) for one, cell in cell_of.items()})
    if free == 0 or 1 - left / free > max_fixed:
        return None
    return cell_of if _count_orders(cohort, seed, cell_of) >= MIN_WITHIN_CELLS else None


def cells_of(participants: Iterable[str], folds: Sequence[Fold]) -> dict[str, Hashable]:
    """Name the cell of each participant: the test folds and inner folds that hold them."""
    return {
        participant: tuple(
            next((k for k, part in enumerate(fold.validation) if participant in part), -1)
            for fold in folds
        )
        for participant in participants
    }


def _spread(cohort: Cohort, group_of: Mapping[str, Hashable]) -> float:
    """Sum squared deviations of the labels of scans from the mean of the group."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for participant, label in zip(cohort.participant_ids, cohort.labels, strict=True):
        groups[group_of[participant]].append(int(label))
    return float(sum(np.var(own) * len(own) for own in groups.values()))


def _count_orders(cohort: Cohort, seed: int, cell_of: Mapping[str, Hashable] | None) -> int:
    rng = np.random.default_rng([seed, DRAWS])
    return len({exchange(cohort, rng, cell_of).labels.tobytes() for _ in range(DRAWS)})


def check_exchangeable(cohort: Cohort, seed: int) -> None:
    """Refuse a cohort whose labels can hardly be exchanged: no p-value could be small.

    Raises
    ------
    CohortError
        Saying how many orders there are.
    """
    n_orders = _count_orders(cohort, seed, None)
    if n_orders < MIN_ORDERS:
        raise CohortError(
            Fault(
                "permutation",
                f"labels that can be exchanged in {n_orders} ways only",
                f"{MIN_ORDERS} or more, within sites, families and people",
                "have both classes at each site, or leave permutations out: permutation.n=0",
            )
        )
