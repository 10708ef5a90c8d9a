"""Scans over time: how well scores, weights and maps of the same people repeat."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.baselines.base import Baseline
from fmnet.crossval.fold_loop import score_columns
from fmnet.data.folds import build_inner_folds
from fmnet.evaluation.outcome_study import plain_values
from fmnet.evaluation.retest import (
    FEWEST,
    retest_of_maps,
    retest_of_scores,
    retest_of_weights,
    retest_sentences,
    sessions_of,
    shared_sessions,
)
from fmnet.training.scan_set import ScanSet

#: Inner folds on which settings are chosen before weights are compared.
INNER_SPLITS = 3


def study_sessions(
    data: ScanSet,
    predictions: pd.DataFrame,
    models: Mapping[str, Any],
    seed: int,
    minutes: float | None = None,
) -> dict[str, Any]:
    """Tell how well scores, weights and maps repeat from session to session.

    Parameters
    ----------
    data : ScanSet
        Of the study, not fitted.
    predictions : DataFrame
        Its out-of-fold table.
    models : dict
        By name; of those that come to weights of voxels, maps are learned from each session alone.
    seed : int
        Of inner folds.
    minutes : float, optional
        How long a session's scan lasts.

    Returns
    -------
    dict
        Empty where fewer than five people have been scanned twice, or scans of one person are told
        apart, whose scores say nothing of differences between people. ``scores``: by
        model, `fmnet.evaluation.retest.retest_of_scores`, of several scores by name in the place of
        one; ``weights``: by model, `retest_of_weights` of the first score; ``maps``: by contrast,
        the summary of `retest_of_maps`; ``sentences`` on the first model.
    """
    counts = pd.Series(data.participant_ids).value_counts()
    if data.target is None:
        is_within = bool(pd.Series(data.labels).groupby(data.participant_ids).nunique().gt(1).any())
    else:
        is_within = data.target.is_within
    if (counts > 1).sum() < FEWEST or is_within:
        return {}
    scans = pd.DataFrame(
        {
            "participant_id": data.participant_ids,
            "scan_id": [scan.scan_id for scan in data.cohort.scans],
        }
    )
    session_of = sessions_of(scans)
    columns = ("score",) if data.target is None else score_columns(data.target)
    group = "label" if data.target is None else None
    scores: dict[str, Any] = {}
    for name, rows in predictions.groupby("model", sort=False):
        given = (session_of, group)
        each = {
            column.removeprefix("score_"): retest_of_scores(rows, *given, column, minutes)
            for column in columns
        }
        scores[str(name)] = each["score"] if columns == ("score",) else each
    scans["session"] = [session_of[scan] for scan in scans["scan_id"]]
    sessions, people, _ = shared_sessions(scans)
    first = next(iter(scores.values()))
    only = first if columns == ("score",) else first[next(iter(first))]
    maps: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    found = {
        "scores": scores,
        "weights": weights,
        "maps": maps,
        "sentences": retest_sentences(only),
    }
    if len(sessions) < 2 or len(people) < FEWEST:
        return dict(plain_values(found))
    row_of = {
        (person, session): row
        for row, person, session in zip(
            scans.index, scans["participant_id"], scans["session"], strict=True
        )
    }
    table = np.array([[row_of[person, one] for one in sessions] for person in people])
    for number, contrast in enumerate(data.contrasts):
        values = data.smoothed(data.settings.fwhm_mm)[:, number]
        maps[contrast] = retest_of_maps(values[table])[1]
    for name, model in models.items():
        learned = _weights_by_session(data, model, table, seed)
        if learned is not None:
            weights[name] = retest_of_weights(learned)
    return dict(plain_values(found))


def _weights_by_session(
    data: ScanSet, model: Any, table: NDArray[np.intp], seed: int
) -> NDArray[np.float64] | None:
    """Learn a map from each session of the same people, (S, V); None of models without any.

    Settings are chosen once, on all scans.
    """
    if not model.is_exportable or not isinstance(model, Baseline):
        return None
    choice = model.choose(data, build_inner_folds(data.cohort, INNER_SPLITS, seed))
    each = []
    for rows in table.T:
        weights, _ = model.weights(data, np.sort(rows), choice)  # type: ignore[attr-defined]
        first = weights if data.target is None else weights[0]
        each.append(np.asarray(first, float).ravel())
    return np.stack(each)
