"""What the default network was made to reach on planted effects, beside what it reached."""

import numpy as np
import pandas as pd

from benchmarks.power.summary import BEST_LINEAR, CEILING, CLOSED_FORM, DEFAULT
from benchmarks.race import Goal

#: Size of the cohorts that the goals are about.
N_PEOPLE = 70
#: By condition: the rival, and what the default's AUC less the rival's should be at least.
LEAST_DIFFERENCE = {
    "aligned": (CLOSED_FORM, -0.005),
    "varied": (CLOSED_FORM, 0.04),
    "shifted": (CLOSED_FORM, 0.03),
    "interaction": (CLOSED_FORM, -0.02),
    "two_contrasts": (CLOSED_FORM, -0.02),
    "widespread": (BEST_LINEAR, -0.01),
    "widespread_strong": (BEST_LINEAR, -0.01),
    "aligned_5mm": (CLOSED_FORM, 0.0),
}
#: Share of the way from the best linear model to the ceiling, over conditions.
LEAST_SHARE = 0.8


def judge_goals(summary: pd.DataFrame, pairs: pd.DataFrame) -> list[Goal]:
    """Hold the default network against what was aimed at, as far as it was measured.

    Parameters
    ----------
    summary, pairs : DataFrame
        See `benchmarks.power.summary.summarise` and `compare_pairs`.
    """
    own = summary[
        (summary["model"] == DEFAULT) & (summary["n"] == N_PEOPLE) & (summary["template"] == "")
    ].set_index("regime")
    differences = pairs[
        (pairs["model"] == DEFAULT) & (pairs["n"] == N_PEOPLE) & (pairs["template"] == "")
    ].set_index(["regime", "rival"])["difference"]
    n_draws = own["n_draws"].to_dict()
    goals = [
        Goal(
            f"{regime}, draws: {n_draws[regime]}, {DEFAULT} minus {rival}",
            float(differences[regime, rival]),
            wanted,
        )
        for regime, (rival, wanted) in LEAST_DIFFERENCE.items()
        if (regime, rival) in differences.dropna().index
    ]
    low, high = (own[end].get("null", np.nan) for end in ("ci_low", "ci_high"))
    if not np.isnan(low):
        outside = float(max(low - 0.5, 0.5 - high, 0.0))
        goals.append(Goal("null: how far 0.5 lies outside the interval", outside, 0.0, False))
    shares = own["to_ceiling"].dropna()
    if len(shares):
        what = f"mean share of the way from best linear to {CEILING} ({', '.join(shares.index)})"
        goals.append(Goal(what, float(shares.mean()), LEAST_SHARE))
    return goals
