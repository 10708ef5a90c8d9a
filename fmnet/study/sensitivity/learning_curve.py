"""How the AUC grows with the number of people to learn from, and how many would be enough."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from fmnet.data.folds import Fold
from fmnet.errors import ConfigError, Fault
from fmnet.limits import Count, PartialShare
from fmnet.study.crossval import NETWORK, Pipeline, fold_seed
from fmnet.study.data import StudyData
from fmnet.study.metrics import add_units, auc_draws, model_metrics
from fmnet.study.power import smallest_auc
from fmnet.study.report.words import name_of, with_interval
from fmnet.study.run_folder import check_one_process
from fmnet.study.sensitivity.reruns import run_once

Floats = NDArray[np.float64]
#: Part of the seed that people are left out with.
THINNING = 6_000_000
#: Bootstrap draws of people that the curve is fitted to again.
N_DRAWS = 200
#: Studies of up to this many people are considered.
LARGEST = 2000
#: Fewest training subjects of a class in each inner fold.
FEWEST = 2


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


@dataclass(frozen=True)
class Precision:
    """How precise this study was, taken to improve with the square root of the number of people.

    Parameters
    ----------
    n_people : int
        Of this study.
    inflation : float
        See `fmnet.study.power.inflation`.
    difference : float or None
        Difference to the rival that this study would see with 80 % power.
    """

    n_people: int
    inflation: float = 1.0
    difference: float | None = None


@dataclass(frozen=True)
class Curve:
    """``auc(n) = limit - height * n ** -rate``, at least 0.5.

    References
    ----------
    Figueroa, R. L., et al. (2012). Predicting sample size required for classification performance.
    BMC Medical Informatics and Decision Making, 12.
    """

    limit: float
    height: float
    rate: float

    def auc(self, n: Any) -> Floats:
        """Give the AUC to be expected when `n` people are learned from."""
        return np.maximum(self.limit - self.height * np.asarray(n, dtype=float) ** -self.rate, 0.5)


def thin_fold(fold: Fold, label_of: dict[str, int], share: float, seed: int) -> Fold:
    """Keep a share of the training subjects of each class in each inner fold; the test stays.

    Smaller shares are parts of larger ones. `FEWEST` of a class are kept in each inner fold.
    """
    rng = np.random.default_rng([seed, THINNING, fold.repeat, fold.fold])
    inner = []
    for part in fold.validation:
        kept: list[str] = []
        for label in (0, 1):
            people = [person for person in sorted(part) if label_of[person] == label]
            order = rng.permutation(len(people))
            n = max(min(FEWEST, len(people)), round(share * len(people)))
            kept += [people[k] for k in order[:n]]
        inner.append(tuple(sorted(kept)))
    train = tuple(sorted(person for part in inner for person in part))
    return replace(fold, train=train, validation=tuple(inner))


def run_learning_curve(
    plan: LearningCurvePlan,
    pipeline: Pipeline,
    data: StudyData,
    folds: list[Fold],
    predictions: pd.DataFrame,
    rival: str,
    precision: Precision,
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
    folder : Path
        One out-of-fold table a share.

    Returns
    -------
    dict
        ``points``: ``n_train`` and AUC with interval of each model; ``curves``; ``ahead``;
        ``needed``, how many people the next study would need; ``lines``, the same in words.
    """
    check_one_process("learning_curve.shares")
    chosen = [fold for fold in folds if fold.repeat < plan.n_repeats]
    label_of = dict(zip(data.cohort.participant_ids, map(int, data.cohort.labels), strict=True))
    kept = {name: one for name, one in pipeline.baselines.items() if name == rival}
    quiet = replace(
        pipeline, trainable=replace(pipeline.trainable, build_loggers=()), baselines=kept
    )
    models = [NETWORK, *kept]
    tables = {}
    for share in sorted(set(plan.shares)):
        thin = [thin_fold(fold, label_of, share, pipeline.seed) for fold in chosen]
        again = replace(quiet, seed=fold_seed(pipeline.seed, THINNING, round(1000 * share)))
        title = f"{share:.0%} of people"
        table = run_once(again, data, thin, title, folder, f"share-{share:g}")
        tables[_mean_size(thin)] = table
    whole = predictions[predictions["repeat"] < plan.n_repeats]
    tables[_mean_size(chosen)] = whole[whole["model"].isin(models)]
    unit_of = data.cohort.unit_of
    named = {n: add_units(table, unit_of) for n, table in tables.items()}
    share_positive = float(data.cohort.labels.mean())
    return describe_curve(named, models, share_positive, precision, pipeline.seed)


def describe_curve(
    tables: dict[float, pd.DataFrame],
    models: list[str],
    share_positive: float,
    precision: Precision,
    seed: int,
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
    """
    sizes = np.array(sorted(tables))
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
        "lines": curve_lines(points, ahead, needed, models),
    }


def fit_curve(sizes: Floats, aucs: Floats) -> Curve:
    """Fit `Curve` by least squares, the limit between 0.5 and 1, the rate between 0.2 and 1."""

    def gaps(values: Floats) -> Floats:
        limit, height, rate = values
        return np.asarray(limit - height * (sizes / sizes[-1]) ** -rate - aucs)

    start = np.array([min(max(float(aucs[-1]), 0.5) + 0.02, 0.99), 0.1, 0.5])
    found = least_squares(gaps, start, bounds=([0.5, 0.0, 0.2], [1.0, 1.0, 1.0])).x
    limit, height, rate = map(float, found)
    return Curve(limit, height * float(sizes[-1]) ** rate, rate)


def people_needed(
    curves: dict[str, Curve], models: list[str], share_positive: float, precision: Precision
) -> dict[str, int | None]:
    """Find the smallest study that would show what is asked for with 80 % power.

    A study of n people learns from 0.8 n (five folds). None: not within `LARGEST` people.

    Returns
    -------
    dict
        ``above_chance`` for the network; ``above_rival``, if the two were tested.
    """
    sizes = np.unique(np.geomspace(20, LARGEST, 400).round().astype(int))
    groups = [
        (max(2, round(n * share_positive)), max(2, round(n * (1 - share_positive)))) for n in sizes
    ]
    own = curves[models[0]].auc(0.8 * sizes)
    least = [smallest_auc(*group, precision.inflation) for group in groups]
    needed = {"above_chance": _first_size(sizes, own, least)}
    if len(models) > 1 and precision.difference is not None:
        other = curves[models[1]].auc(0.8 * sizes)
        gains = [precision.difference * np.sqrt(precision.n_people / n) for n in sizes]
        needed["above_rival"] = _first_size(sizes, own - other, gains)
    return needed


def curve_lines(
    points: list[dict[str, Any]],
    ahead: list[dict[str, Any]],
    needed: dict[str, int | None],
    models: list[str],
) -> list[str]:
    """Put the curve and the look ahead into sentences."""
    lines = []
    for model in models:
        now = [row for row in points if row["model"] == model][-1]
        then = [row for row in ahead if row["model"] == model]
        said = " and ".join(f"{with_interval(r, 'auc')} with {r['n_train']:.0f}" for r in then)
        lines.append(
            f"{name_of(model)}: AUC {with_interval(now, 'auc')} with {now['n_train']:.0f} people "
            f"to learn from; by extrapolation {said}."
        )
    goals = {"above_chance": "chance", "above_rival": name_of(models[-1])}
    for key, n in needed.items():
        lines.append(
            f"To tell the network apart from {goals[key]} with 80 % power, the next study would "
            f"need {f'about {n}' if n else f'more than {LARGEST}'} people"
            f"{'.' if n else ', if it ever could.'}"
        )
    return lines


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


def _first_size(
    sizes: NDArray[np.int64], reached: Floats, asked: Sequence[float | None]
) -> int | None:
    """Find the smallest size at which what is reached is what is asked for."""
    pairs = zip(sizes, reached, asked, strict=True)
    return next((int(n) for n, value, least in pairs if least is not None and value >= least), None)


def _mean_size(folds: list[Fold]) -> float:
    return float(np.mean([len(fold.train) for fold in folds]))
