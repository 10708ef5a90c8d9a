"""People followed for a while, some until an event: drawn with ties, and without."""

import numpy as np
import pandas as pd


def draw_people(seed, n=70, effect=0.8, is_tied=False):
    """Covariates (n, 3), of which the first raises the hazard; times in years, and events."""
    rng = np.random.default_rng(seed)
    covariates = rng.normal(size=(n, 3))
    time = rng.exponential(4 / np.exp(effect * covariates[:, 0] - 0.4 * covariates[:, 1]))
    left = rng.uniform(1, 8, n)
    event, time = time <= left, np.minimum(time, left)
    return covariates, np.ceil(time * 4) / 4 if is_tied else time, event


def out_of_fold(target, score, outcomes, n_repeats=2, n_folds=5):
    """The out-of-fold table of scores (N,) that are on one scale, with links of each fold."""
    people, parts = np.array(outcomes.participants), []
    for repeat in range(n_repeats):
        fold = np.random.default_rng(repeat).permutation(len(score)) % n_folds
        for number in range(n_folds):
            train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            link = target.fit_link(score[train, None], outcomes.take(train))
            known = {
                "participant_id": people[test],
                "scan_id": people[test],
                "repeat": repeat,
                "fold": number,
                "outcome_time": outcomes["time"][test],
                "outcome_event": outcomes["event"][test],
                "score": score[test],
            }
            parts.append(pd.DataFrame(known | link.outputs(score[test, None])))
    return pd.concat(parts, ignore_index=True)
