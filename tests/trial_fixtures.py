"""Trials with a planted moderator or a marker that only foretells outcomes, without any scan."""

import numpy as np
import pandas as pd

from fmnet.data.outcomes import Outcomes


def people_of_trial(n=60, seed=0, share=0.5, moderates=0.0, foretells=0.0, strata=0, **more):
    """Draw outcomes (lower is better) of `n` people, and the marker; effect of 6 for everybody."""
    rng = np.random.default_rng(seed)
    marker, noise = rng.normal(size=(2, n))
    baseline = rng.normal(50, 10, n)
    arm = (rng.permutation(n) < round(share * n)).astype(float)
    values = {"baseline": baseline, "arm": arm}
    if strata:
        values["stratum"] = rng.integers(0, strata, n).astype(float)
    gain = 0.4 * (baseline - 50) + 8 * (noise + foretells * marker)
    gain += arm * (6 + 8 * moderates * marker)
    ids = tuple(f"sub-{k:03d}" for k in range(n))
    values["outcome"] = baseline - gain
    return Outcomes(values | more, ids, ids, ("",) * n), marker


def people_of_crossover(n=40, seed=0, moderates=0.0, foretells=0.0):
    """Draw both outcomes of `n` people (lower is better), those of the second period 3 lower."""
    rng = np.random.default_rng(seed)
    marker, own, first, second = rng.normal(size=(4, n))
    order = (rng.permutation(n) < n // 2).astype(float)  # 1: active first
    baseline = rng.normal(50, 10, n)
    shared = baseline - 8 * (own + foretells * marker)
    control = shared + 2 * first - 3 * order
    active = shared + 2 * second - 6 - 4 * moderates * marker - 3 * (1 - order)
    ids = tuple(f"sub-{k:03d}" for k in range(n))
    values = {"outcome": active - control, "control": control, "active": active}
    values |= {"order": order, "baseline": baseline}
    return Outcomes(values, ids, ids, ("",) * n), marker


def scored(outcomes, score, n_repeats=1, n_folds=5, seed=0):
    """Make an out-of-fold table of one model from its scores."""
    rng, parts = np.random.default_rng(seed), []
    for repeat in range(n_repeats):
        ids = list(outcomes.participants)
        part = pd.DataFrame({"participant_id": ids, "unit": list(outcomes.units), "scan_id": ids})
        fold = rng.permutation(len(ids)) % n_folds
        part = part.assign(site="", repeat=repeat, fold=fold, score=score + fold)
        parts.append(part.assign(**{f"outcome_{k}": own for k, own in outcomes.values.items()}))
    return pd.concat(parts, ignore_index=True)
