"""Compute statistical power, learning curves, and the variance over splits and seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares
from scipy.stats import binom, norm
from scipy.stats import t as student

from fmnet.evaluation.comparison import comparison_of
from fmnet.evaluation.metrics import (
    auc_draws,
    auc_interval,
    auc_variance,
    count_pairs,
    expected_logit_se,
    model_metrics,
    training_variance,
)

Floats = NDArray[np.float64]

#: Error of the first kind, two-sided for differences, and power that is asked for.
ALPHA, POWER = 0.05, 0.80
#: AUCs at which the expected width of the interval is given.
AUCS = (0.6, 0.7, 0.8, 0.9)
#: Largest fraction of either class for which accuracy is held against a coin.
BALANCED = 0.55
#: Studies of up to this many people are considered.
LARGEST = 2000
#: Bootstrap draws of people that a learning curve is fitted to again.
N_DRAWS = 200
#: Fewest sizes of training that a curve is drawn through.
FEWEST_SIZES = 3


def study_power(
    predictions: pd.DataFrame, metrics: Mapping[str, Any], model: str, rival: str
) -> dict[str, Any]:
    """Compute what a study of this many subjects can show, above all against the best rival.

    The `model` that the study is about is held against `rival`, empty if there is none.

    Returns
    -------
    dict
        ``n_units``, which ``are_families`` or people; ``accuracy_above_chance``, the smallest that
        is, None where classes are not alike; ``auc_above_chance``; ``auc_interval_width`` by AUC;
        `inflation`; ``rival``, ``rival_auc``, ``n_comparisons`` and the smallest ``difference`` to
        it that can be shown, None where the two were not tested. Empty without a rival;
        ``is_paired`` alone where people have scans of both groups.
    """
    own = predictions[predictions["model"] == model]
    label = own.groupby("participant_id")["label"].agg(["min", "max"])
    if (label["min"] != label["max"]).any():
        return {"is_paired": True}
    if not rival:
        return {}
    n_positive, n_negative = counts = count_pairs(own).n_units()
    n, n_repeats = sum(counts), int(own["repeat"].nunique())
    row = comparison_of(metrics, model, rival) or {}
    n_tested = sum(one.get("p_holm_first") is not None for one in metrics["comparisons"])
    se, df = row.get("se"), row.get("df")
    wider = inflation(n_positive, n_negative, n_repeats)
    is_alike = max(counts) <= BALANCED * n
    return {
        "n_units": n,
        "are_families": n != len(label),
        "accuracy_above_chance": smallest_accuracy(n) if is_alike else None,
        "auc_above_chance": smallest_auc(n_positive, n_negative, wider),
        "auc_interval_width": {
            f"{auc:g}": interval_width(auc, n_positive, n_negative, n_repeats) for auc in AUCS
        },
        "inflation": wider,
        "rival": rival,
        "rival_auc": metrics["models"][rival]["auc"],
        "n_comparisons": n_tested,
        "difference": None if se is None or df is None else smallest_difference(se, df, n_tested),
    }


def inflation(n_positive: int, n_negative: int, n_repeats: int) -> float:
    """Say how much wider an AUC of cross-validation varies at chance than `auc_variance` has it."""
    expected, plain = (
        expected_logit_se(0.5, n_positive, n_negative, repeats) for repeats in (n_repeats, None)
    )
    return expected / plain


def smallest_auc(n_positive: int, n_negative: int, wider: float = 1.0) -> float | None:
    """Smallest true AUC that differs from 0.5 at one-sided 5 % with 80 % power; None if none.

    How much `wider` it varies (see `inflation`) fades away towards an AUC of 1 as training does in
    the intervals, see `fmnet.evaluation.metrics.training_variance`.
    """

    def sd(auc: float) -> float:
        more = 1 + (wider**2 - 1) * training_variance(auc)
        return math.sqrt(more * auc_variance(auc, n_positive, n_negative))

    def lack(auc: float) -> float:
        return float((auc - 0.5) - norm.ppf(1 - ALPHA) * sd(0.5) - norm.ppf(POWER) * sd(auc))

    return float(brentq(lack, 0.5, 0.999)) if lack(0.999) > 0 else None


def smallest_difference(se: float, df: float, n_comparisons: int) -> float:
    """Smallest difference of AUCs that the corrected t-test sees with 80 % power, two-sided 5 %.

    `se` and `df` are its standard error and degrees of freedom; the level is divided by
    `n_comparisons`.
    """
    level = ALPHA / max(n_comparisons, 1)
    return float((student.ppf(1 - level / 2, df) + student.ppf(POWER, df)) * se)


def smallest_accuracy(n: int) -> float:
    """Smallest accuracy on `n` people, classes alike, that a coin reaches in 5 % at most."""
    return float((binom.ppf(1 - ALPHA, n, 0.5) + 1) / n)


def interval_width(auc: float, n_positive: int, n_negative: int, n_repeats: int) -> float:
    """Width of the interval that so many people lead to expect of an AUC of cross-validation."""
    se = expected_logit_se(auc, n_positive, n_negative, n_repeats)
    low, high = auc_interval(auc, se, n_positive, n_negative)
    return (high or 0.0) - (low or 0.0)


def seed_variance(predictions: pd.DataFrame, again: pd.DataFrame, model: str) -> dict[str, Any]:
    """Tell how much a model's AUC varies with the folds, and how much with the seed.

    ``splits_sd`` is the SD over the ``n_splits`` repeats of the out-of-fold table, each with folds
    and a seed of its own; ``seeds_sd`` that over ``n_seeds`` seeds in the folds of the first
    repeat, of which `again` (perhaps empty) holds those in its column ``seed``; None for one.
    """
    own = predictions[predictions["model"] == model]
    by_repeat = [count_pairs(rows).plain_auc() for _, rows in own.groupby("repeat")]
    by_seed = by_repeat[:1]
    if len(again):
        by_seed += [count_pairs(rows).plain_auc() for _, rows in again.groupby("seed")]
    return {
        "n_splits": len(by_repeat),
        "splits_sd": float(np.std(by_repeat, ddof=1)) if len(by_repeat) > 1 else None,
        "n_seeds": len(by_seed),
        "seeds_sd": float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None,
    }


@dataclass(frozen=True)
class Precision:
    """How precise this study was, taken to improve with the square root of the number of people.

    `difference`, to the rival, is the one that this study would see with 80 % power.
    """

    n_participants: int
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


def fit_curve(sizes: Floats, aucs: Floats) -> Curve:
    """Fit `Curve` by least squares, the limit between 0.5 and 1, the rate between 0.2 and 1."""

    def gaps(values: Floats) -> Floats:
        limit, height, rate = values
        return np.asarray(limit - height * (sizes / sizes[-1]) ** -rate - aucs)

    guess = np.array([min(max(float(aucs[-1]), 0.5) + 0.02, 0.99), 0.1, 0.5])
    fitted = least_squares(gaps, guess, bounds=([0.5, 0.0, 0.2], [1.0, 1.0, 1.0])).x
    limit, height, rate = map(float, fitted)
    return Curve(limit, height * float(sizes[-1]) ** rate, rate)


def learning_curve(
    tables: dict[float, pd.DataFrame],
    models: list[str],
    positive_fraction: float,
    precision: Precision,
    seed: int,
) -> dict[str, Any]:
    """Fit a curve to each model's AUC over training sizes, and look ahead.

    `tables` are out-of-fold tables by number of training subjects; `models` the one that the study
    is about, and its rival if there is one; `positive_fraction` that of the next study as well.

    Returns
    -------
    dict
        ``points``: ``n_train`` and AUC with interval of each model; ``curves``, `Curve` of each;
        ``ahead``: the same as points for two and four times as many people; ``needed``, see
        `participants_needed`. All empty with fewer than `FEWEST_SIZES` sizes.
    """
    sizes = np.array(sorted(tables))
    found: dict[str, Any] = {"points": [], "curves": {}, "ahead": [], "needed": {}}
    if len(sizes) < FEWEST_SIZES:
        return found
    curves, draws = {}, {}
    for model in models:
        rows = [tables[n][tables[n]["model"] == model] for n in sizes]
        figures = [model_metrics(one, seed=seed) for one in rows]
        found["points"] += [
            {"model": model, "n_train": float(n), "auc": one["auc"], "auc_ci": one["auc_ci"]}
            for n, one in zip(sizes, figures, strict=True)
        ]
        by_draw = np.stack([auc_draws(one, N_DRAWS, seed) for one in rows], axis=1)
        known = by_draw[np.isfinite(by_draw).all(axis=1)]
        curves[model] = fit_curve(sizes, np.array([one["auc"] for one in figures]))
        draws[model] = [fit_curve(sizes, one) for one in known]
    for n in (2 * sizes[-1], 4 * sizes[-1]):
        for model, curve in curves.items():
            interval = np.quantile([float(one.auc(n)) for one in draws[model]], [0.025, 0.975])
            row = {"model": model, "n_train": n, "auc": float(curve.auc(n))}
            found["ahead"].append(row | {"auc_ci": interval.tolist()})
    found["curves"] = {name: vars(curve) for name, curve in curves.items()}
    found["needed"] = participants_needed(curves, models, positive_fraction, precision)
    return found


def participants_needed(
    curves: dict[str, Curve], models: list[str], positive_fraction: float, precision: Precision
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
        (max(2, round(n * positive_fraction)), max(2, round(n * (1 - positive_fraction))))
        for n in sizes
    ]
    own = curves[models[0]].auc(0.8 * sizes)
    least = [smallest_auc(*group, precision.inflation) for group in groups]

    def first_size(reached: Floats, needed: Sequence[float | None]) -> int | None:
        pairs = zip(sizes, reached, needed, strict=True)
        return next((int(n) for n, value, one in pairs if one is not None and value >= one), None)

    needed = {"above_chance": first_size(own, least)}
    if len(models) > 1 and precision.difference is not None:
        other = curves[models[1]].auc(0.8 * sizes)
        gains = [precision.difference * np.sqrt(precision.n_participants / n) for n in sizes]
        needed["above_rival"] = first_size(own - other, gains)
    return needed
