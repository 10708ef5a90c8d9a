"""How the AUC grows with the number of people to learn from, and how many would be enough."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.crossval.fold_loop import NETWORK, Pipeline, fold_seed
from fmnet.crossval.reruns import run_once
from fmnet.data.folds import Fold
from fmnet.errors import ConfigError, Fault
from fmnet.evaluation.learning_curve_fit import (
    Curve,
    Precision,
    curve_lines,
    fit_curve,
    people_needed,
)
from fmnet.evaluation.metrics import add_units, auc_draws, model_metrics
from fmnet.training.scan_set import ScanSet
from fmnet.types import Count, PartialShare

#: Part of the seed that people are left out with.
THINNING = 6_000_000
#: Bootstrap draws of people that the curve is fitted to again.
N_DRAWS = 200
#: Fewest training subjects of a class in each inner fold.
FEWEST = 2
#: Fewest sizes of training that a curve is drawn through.
FEWEST_SIZES = 3
TOO_FEW = "Not worked out: the shares of so few people come to fewer than three sizes of training."


@dataclass(frozen=True)
class LearningCurvePlan:
    """How a learning curve is measured.

    Parameters
    ----------
    shares : list of float
        Shares of the training subjects that are learned from, besides all of them; empty for no
        curve.
    n_repeats : int
        Repeats of the folds.
    """

    shares: Sequence[PartialShare] = ()
    n_repeats: Count = 1

    def __post_init__(self) -> None:
        if len(set(self.shares)) == 1 or 0 in self.shares:
            found, accepted = (
                f"{list(self.shares)}",
                "two or more different shares above 0, or none",
            )
            action = "for instance learning_curve.shares=[0.4,0.6,0.8]"
            raise ConfigError(Fault("learning_curve.shares", found, accepted, action))


def thin_fold(fold: Fold, label_of: dict[str, int], share: float, seed: int) -> Fold:
    """Keep a share of the training subjects of each class, dealt to the inner folds in turn.

    The test stays. Smaller shares are parts of larger ones. `FEWEST` of a class are kept in each
    inner fold.
    """
    rng = np.random.default_rng([seed, THINNING, fold.repeat, fold.fold])
    inner: list[list[str]] = [[] for _ in fold.validation]
    for label in (0, 1):
        parts = [
            [str(one) for one in rng.permutation([p for p in sorted(part) if label_of[p] == label])]
            for part in fold.validation
        ]
        total = sum(map(len, parts))
        n = min(total, max(FEWEST * len(parts), round(share * total)))
        turns = [(k, part) for k in range(max(map(len, parts))) for part in range(len(parts))]
        dealt = [(part, parts[part][k]) for k, part in turns if k < len(parts[part])]
        for part, person in dealt[:n]:
            inner[part].append(person)
    train = tuple(sorted(person for part in inner for person in part))
    return replace(fold, train=train, validation=tuple(tuple(sorted(part)) for part in inner))


def run_learning_curve(
    plan: LearningCurvePlan,
    pipeline: Pipeline,
    data: ScanSet,
    folds: list[Fold],
    predictions: pd.DataFrame,
    rival: str,
    precision: Precision,
    titles: dict[str, str],
    folder: Path,
) -> dict[str, Any]:
    """Learn from fewer people, test on the same, and say what more people would bring.

    Parameters
    ----------
    plan : LearningCurvePlan
        Which shares.
    pipeline, data, folds
        Of the study; test folds stay as they are.
    predictions : DataFrame
        The study's out-of-fold table, for all training subjects.
    rival : str
        Baseline that the network is compared with; empty for none.
    precision : Precision
        Of this study.
    titles : dict
        Names of models for people.
    folder : Path
        One out-of-fold table a share.

    Returns
    -------
    dict
        ``points``: ``n_train`` and AUC with interval of each model; ``curves``; ``ahead``;
        ``needed``, how many people the next study would need; ``lines``, the same in words.
    """
    chosen = [fold for fold in folds if fold.repeat < plan.n_repeats]
    label_of = dict(zip(data.cohort.participant_ids, map(int, data.cohort.labels), strict=True))
    kept = {name: one for name, one in pipeline.baselines.items() if name == rival}
    quiet = replace(pipeline.without_loggers(), baselines=kept)
    models = [NETWORK, *kept]
    tables = {}
    sizes = {_mean_size(chosen)}
    for share in sorted(set(plan.shares)):
        thin = [thin_fold(fold, label_of, share, pipeline.seed) for fold in chosen]
        if _mean_size(thin) in sizes:  # too few people to be told apart from another share
            continue
        sizes.add(_mean_size(thin))
        again = replace(quiet, seed=fold_seed(pipeline.seed, THINNING, round(1000 * share)))
        title = f"{share:.0%} of people"
        table = run_once(again, data, thin, title, folder, f"share-{share:g}")
        tables[_mean_size(thin)] = table
    whole = predictions[predictions["repeat"] < plan.n_repeats]
    tables[_mean_size(chosen)] = whole[whole["model"].isin(models)]
    unit_of = data.cohort.unit_of
    named = {n: add_units(table, unit_of) for n, table in tables.items()}
    share_positive = float(data.cohort.labels.mean())
    return describe_curve(named, models, share_positive, precision, pipeline.seed, titles)


def describe_curve(
    tables: dict[float, pd.DataFrame],
    models: list[str],
    share_positive: float,
    precision: Precision,
    seed: int,
    titles: dict[str, str],
) -> dict[str, Any]:
    """Fit a curve to each model's AUC over training sizes, and look ahead.

    Parameters
    ----------
    tables : dict
        Out-of-fold table by number of training subjects.
    models : list of str
        The network, and its rival if there is one.
    share_positive : float
        Of the people of the next study as well.
    precision : Precision
        Of this study.
    seed : int
        Of the bootstrap over subjects.
    titles : dict
        Names of models for people.
    """
    sizes = np.array(sorted(tables))
    if len(sizes) < FEWEST_SIZES:
        return {"points": [], "curves": {}, "ahead": [], "needed": {}, "lines": [TOO_FEW]}
    points, curves, draws = [], {}, {}
    for model in models:
        rows = [tables[n][tables[n]["model"] == model] for n in sizes]
        figures = [model_metrics(one, seed=seed) for one in rows]
        points += [
            {"model": model, "n_train": float(n), "auc": f["auc"], "auc_ci": f["auc_ci"]}
            for n, f in zip(sizes, figures, strict=True)
        ]
        by_draw = np.stack([auc_draws(one, N_DRAWS, seed) for one in rows], axis=1)
        known = by_draw[np.isfinite(by_draw).all(axis=1)]
        curves[model] = fit_curve(sizes, np.array([f["auc"] for f in figures]))
        draws[model] = [fit_curve(sizes, one) for one in known]
    ahead = _look_ahead(sizes[-1], curves, draws)
    needed = people_needed(curves, models, share_positive, precision)
    return {
        "points": points,
        "curves": {name: vars(curve) for name, curve in curves.items()},
        "ahead": ahead,
        "needed": needed,
        "lines": curve_lines(points, ahead, needed, models, titles),
    }


def _look_ahead(
    largest: float, curves: dict[str, Curve], draws: dict[str, list[Curve]]
) -> list[dict[str, Any]]:
    rows = []
    for factor in (2, 4):
        n = factor * largest
        for model, curve in curves.items():
            low, high = np.quantile([float(one.auc(n)) for one in draws[model]], [0.025, 0.975])
            interval = [float(low), float(high)]
            rows.append(
                {"model": model, "n_train": n, "auc": float(curve.auc(n)), "auc_ci": interval}
            )
    return rows


def _mean_size(folds: list[Fold]) -> float:
    return float(np.mean([len(fold.train) for fold in folds]))
