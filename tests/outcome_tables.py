"""Outcomes of made-up people, and out-of-fold tables of scores that know something of them."""

import numpy as np
import pandas as pd

from fmnet.data.outcomes import Outcomes


def outcomes_with(n_scans=1, **values):
    """Outcomes by role, of people with `n_scans` scans each, one after the other."""
    n = len(next(iter(values.values())))
    people = tuple(f"sub-{row // n_scans:03}" for row in range(n))
    held = {role: np.asarray(own, dtype=float) for role, own in values.items()}
    return Outcomes(held, people, people, ("",) * n)


def deal(outcomes, n_folds, rng):
    """Test fold of each scan; people stay together."""
    people = sorted(set(outcomes.participants))
    fold_of = dict(zip(people, rng.permutation(np.arange(len(people)) % n_folds), strict=True))
    return np.array([fold_of[person] for person in outcomes.participants])


def out_of_fold(target, outcomes, scores, rng, n_folds=5):
    """The table of one model: `scores`, (R, N, K), of R repeats; links are fitted fold by fold."""
    tables = []
    for repeat, own in enumerate(scores):
        fold = deal(outcomes, n_folds, rng)
        for number in range(n_folds):
            test, rest = (np.flatnonzero(one) for one in (fold == number, fold != number))
            link = target.fit_link(own[rest], outcomes.take(rest))
            columns = {
                "participant_id": np.array(outcomes.participants)[test],
                "unit": np.array(outcomes.units)[test],
                "scan_id": [f"scan-{row:03}" for row in test],
                "repeat": repeat,
                "fold": number,
            }
            known = {f"outcome_{role}": held[test] for role, held in outcomes.values.items()}
            names = target.score_names
            named = ["score"] if len(names) == 1 else [f"score_{name}" for name in names]
            scored = {name: own[test, k] for k, name in enumerate(named)}
            tables.append(pd.DataFrame(columns | known | scored | link.outputs(own[test])))
    return pd.concat(tables, ignore_index=True)
