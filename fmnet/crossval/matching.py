"""Pairs of people from the two groups who are alike in one covariate."""

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

#: Largest difference within a pair, in SDs of the covariate (Austin 2011).
CALIPER = 0.2


def match_pairs(people: pd.DataFrame, covariate: str) -> list[tuple[str, str]]:
    """Pair as many people as possible, and among such pairings take the closest.

    Parameters
    ----------
    people : DataFrame
        Index: participant id; ``label`` (0 or 1) and the covariate, a number or missing.
    covariate : str
        Column to match on.

    Returns
    -------
    list of tuple
        Negative and positive of each pair; people without a value are in none.

    References
    ----------
    Austin, P. C. (2011). Optimal caliper widths for propensity-score matching. Pharmaceutical
    Statistics, 10.
    """
    known = people[["label", covariate]].dropna()
    groups = [known[known["label"] == label][covariate] for label in (0, 1)]
    spread = np.sqrt(np.mean([group.var() for group in groups]))
    distance = np.abs(np.subtract.outer(groups[0].to_numpy(), groups[1].to_numpy()))
    allowed = distance <= CALIPER * spread
    # A pair too far apart costs more than all pairs within the caliper together.
    cost = np.where(allowed, distance, (CALIPER * spread + 1) * (len(known) + 1))
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    return [
        (str(groups[0].index[one]), str(groups[1].index[other]))
        for one, other in ((int(one), int(other)) for one, other in pairs)
        if allowed[one, other]
    ]
