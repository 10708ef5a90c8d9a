"""What a study predicts of people, as numbers: one row for each scan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.cohort import Cohort

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What is known of the people of N scans, by role.

    Parameters
    ----------
    values : dict of ndarray of float, shape (N,)
        By role, as a target names it (``value``, ``time``, ``event``, ``arm``, ...); NaN where it
        isn't known. Groups, levels and arms are numbered from 0.
    participants, units, sites : tuple of str
        Whose scan it is; whose family's, or else the same; and where it was made, or empty.
    """

    values: Mapping[str, Numbers]
    participants: tuple[str, ...]
    units: tuple[str, ...]
    sites: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.participants)

    def __getitem__(self, role: str) -> Numbers:
        return self.values[role]

    def take(self, rows: NDArray[np.intp] | Sequence[int] | NDArray[np.bool_]) -> "Outcomes":
        """Take some of the scans, by their numbers or by a mask."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        names = (self.participants, self.units, self.sites)
        texts = [tuple(one[row] for row in chosen) for one in names]
        values = {role: own[chosen] for role, own in self.values.items()}
        return Outcomes(values, texts[0], texts[1], texts[2])

    def replace(self, **values: Numbers) -> "Outcomes":
        """Take other values for some roles."""
        return replace(self, values={**self.values, **values})

    def table(self) -> pd.DataFrame:
        """List them with one column for each role."""
        return pd.DataFrame(dict(self.values))


def outcomes_of(cohort: Cohort) -> Outcomes:
    """Collect what the scans of a cohort are said to come to."""
    roles = [role for role, _ in cohort.scans[0].outcome] if cohort.scans else []
    held = [dict(scan.outcome) for scan in cohort.scans]
    values = {role: np.array([one[role] for one in held], dtype=float) for role in roles}
    participants, unit_of = cohort.participant_ids, cohort.unit_of
    units = tuple(unit_of[one] for one in participants)
    return Outcomes(values, tuple(participants), units, tuple(cohort.covariate("site")))


def with_outcomes(cohort: Cohort, outcomes: Outcomes) -> Cohort:
    """Give the scans of a cohort other outcomes, in their order."""
    table = outcomes.table()
    rows = [tuple(zip(table.columns, map(float, row), strict=True)) for row in table.to_numpy()]
    pairs = zip(cohort.scans, rows, strict=True)
    return replace(cohort, scans=tuple(replace(scan, outcome=row) for scan, row in pairs))
