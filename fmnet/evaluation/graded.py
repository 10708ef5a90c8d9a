"""Figures of scores beside numbers, ordered levels or groups, all within test folds.

Scores of different folds have no common scale, so ranks, correlations and pairs are those of scans
that were tested together. Arrays in, numbers out, without loops over folds: a bootstrap calls them
some thousand times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

#: Correlations count as this at most, so that Fisher's z is finite.
LARGEST = 1 - 1e-6
#: What varies less than this fraction of its size doesn't vary.
ROUNDING = 1e-9
#: Predictions that vary less than this fraction of the outcomes say the same of everybody.
ALIKE = 0.02
#: Fewest scans in a part of a calibration plot.
LEAST_IN_TENTH = 5


def fold_numbers(rows: pd.DataFrame) -> Places:
    """Give each row of an out-of-fold table the number of its test fold, of all repeats: (N,)."""
    fold = rows["fold"].to_numpy(np.intp)
    both = rows["repeat"].to_numpy(np.intp) * (fold.max(initial=0) + 1) + fold
    return np.unique(both, return_inverse=True)[1].astype(np.intp)


def ranks_within(values: Floats, group: Places) -> Floats:
    """Rank values, (N,), among those of their group, from 1; equal ones share their mean rank."""
    order = np.lexsort((values, group))
    own, sorted_values = group[order], values[order]
    is_first_of_group = np.r_[True, own[1:] != own[:-1]]
    is_new = is_first_of_group | np.r_[True, sorted_values[1:] != sorted_values[:-1]]
    starts = np.flatnonzero(is_new)
    ends = np.r_[starts[1:], len(values)]
    run = np.cumsum(is_new) - 1
    group_start = np.flatnonzero(is_first_of_group)[np.cumsum(is_first_of_group) - 1]
    ranks = np.empty(len(values))
    ranks[order] = (starts[run] + ends[run] + 1) / 2 - group_start
    return ranks


def centred_within(values: Floats, group: Places) -> Floats:
    """Subtract the mean of its group from each value, (N,)."""
    counts = np.bincount(group)
    means = np.bincount(group, values) / np.maximum(counts, 1)
    return np.asarray(values - means[group])


def correlation_within(x: Floats, y: Floats, group: Places) -> float:
    """Pool Pearson's correlations within groups: the mean of Fisher's z, weighted by n - 3.

    One is 0 where `x`, (N,), is constant: scores that are alike for all tell nothing. Groups in
    which `y` is constant, or of fewer than four, have none; where all are so small, it is the
    correlation of the values less their groups' means. NaN where there is none of these.
    """
    n = np.bincount(group).astype(float)
    x_left, y_left = centred_within(x, group), centred_within(y, group)
    both, of_x, of_y = (
        np.bincount(group, values) for values in (x_left * y_left, x_left**2, y_left**2)
    )
    x_least, y_least = (n * (ROUNDING * np.abs(values).max(initial=0)) ** 2 for values in (x, y))
    if n.max(initial=0) < 4:
        both, of_x, of_y = (values.sum(keepdims=True) for values in (both, of_x, of_y))
        x_least, y_least, n = x_least.sum(), y_least.sum(), np.array([4.0])
    varies = (of_x > x_least) & (of_y > y_least)
    scale = np.sqrt(np.where(varies, of_x * of_y, 1))
    z = np.arctanh(np.clip(np.where(varies, both / scale, 0), -LARGEST, LARGEST))
    weights = np.where(of_y > y_least, np.maximum(n - 3, 0), 0)
    return float(np.tanh(weights @ z / weights.sum())) if weights.sum() else np.nan


def rank_correlation_within(x: Floats, y: Floats, group: Places) -> float:
    """Pool Spearman's correlations within groups, see `correlation_within`."""
    return correlation_within(ranks_within(x, group), ranks_within(y, group), group)


def concordance_within(score: Floats, value: Floats, group: Places) -> float:
    """Compute how often the larger value has the larger score, among pairs within groups.

    A tie of scores, (N,), counts one half; ties of values are no pairs. This is the ordinal C, of
    two values the area under the ROC curve; ``2 C - 1`` is Somers' D. NaN without pairs.
    """
    won = met = 0.0
    order = np.argsort(group, kind="stable")
    for own in np.split(order, np.cumsum(np.bincount(group))[:-1]):
        is_larger = value[own][:, None] > value[own][None]
        higher = np.sign(score[own][:, None] - score[own][None])
        won += float(higher[is_larger].sum()) / 2 + is_larger.sum() / 2
        met += float(is_larger.sum())
    return float(won / met) if met else np.nan


def auc_within(score: Floats, is_positive: NDArray[np.bool_], group: Places) -> float:
    """Compute the area under the ROC curve over pairs of scans within groups; NaN without pairs."""
    ranks = ranks_within(score, group)
    n_positive = np.bincount(group, is_positive)
    n_pairs = n_positive * (np.bincount(group) - n_positive)
    won = np.bincount(group, ranks * is_positive) - n_positive * (n_positive + 1) / 2
    met = n_pairs.sum()
    return float(won[n_pairs > 0].sum() / met) if met else np.nan


def held_out_means(
    values: Floats, repeat: Places, fold: Places, weights: Floats | None = None
) -> Floats:
    """Compute what a model without scans would say of each row: its training people's mean.

    Of values (N,) or (N, D) it is the mean over the rows of the same repeat in other folds; where a
    repeat has one fold only, as a lock-box, that over all of its rows. Rows may have weights, (N,).
    """
    stacked = values if values.ndim == 2 else values[:, None]
    weighted = np.concatenate([stacked, np.ones((len(stacked), 1))], axis=1)
    weighted = weighted if weights is None else weighted * weights[:, None]
    repeats, folds = (np.unique(own, return_inverse=True)[1] for own in (repeat, fold))
    cell = repeats * (folds.max(initial=0) + 1) + folds
    of_repeat, of_cell = (
        np.stack([np.bincount(place, own) for own in weighted.T], axis=1)[place]
        for place in (repeats, cell)
    )  # (N, D + 1)
    n_repeat, n_fold = np.bincount(repeats)[repeats], np.bincount(cell)[cell]
    rest = np.where((n_repeat == n_fold)[:, None], of_repeat, of_repeat - of_cell)
    return np.asarray((rest[:, :-1] / rest[:, -1:]).reshape(values.shape))


def once_a_person(rows: pd.DataFrame) -> Floats:
    """Weigh rows, (N,), so that people count alike, however many scans there are of them."""
    person = pd.factorize(rows["participant_id"].to_numpy())[0]
    first = np.unique(pd.factorize(rows["scan_id"].to_numpy())[0], return_index=True)[1]
    return np.asarray(1 / np.bincount(person[first])[person])


@dataclass(frozen=True)
class Variances:
    """A random-intercept split: variance between people, and within them between their scans."""

    between: float
    within: float


def split_variance(values: Floats, person: Places, scan: Places) -> Variances:
    """Split the mean square of values, (N,), around 0, into between and within people.

    Moments of the one-way layout: rows of one scan are repeats of cross-validation, and people who
    were drawn several times count so often. The variance between people is less what is expected
    from that within them, so that it may be below 0. NaN where nobody has several scans.

    References
    ----------
    Searle, S. R., Casella, G., & McCulloch, C. E. (1992). Variance Components, chapter 3.
    """
    n_rows = np.bincount(person).astype(float)
    first = np.unique(scan, return_index=True)[1]
    n_scans = np.bincount(person[first], minlength=len(n_rows)).astype(float)
    people = n_rows / np.maximum(n_scans, 1)  # how often each person stands in the rows
    freedom = (people * (n_scans - 1))[n_scans > 0].sum()
    if not freedom:
        return Variances(np.nan, np.nan)
    means = np.bincount(person, values) / np.maximum(n_rows, 1)
    within = float(((values - means[person]) ** 2).sum() / freedom)
    # a person's mean has the variance between people and, from its scans, part of that within
    is_there = n_scans > 0
    weights, counts = people[is_there] * n_scans[is_there], n_scans[is_there]
    square = float(weights @ means[is_there] ** 2 / weights.sum())
    return Variances(square - within * float(weights @ (1 / counts) / weights.sum()), within)


def explained_between_and_within(
    rows: pd.DataFrame, known: Floats, error: Floats
) -> dict[str, float]:
    """Split R2 into what is explained between people and within them.

    Parameters
    ----------
    rows : DataFrame
        ``participant_id`` and ``scan_id`` of N rows of an out-of-fold table.
    known, error : ndarray of float, shape (N,)
        Outcomes less what a model without scans says, and less what the model says.

    Returns
    -------
    dict
        ``share_between``, that of the variance between people in all of it; ``r2_between`` and
        ``r2_within``, the fraction by which errors vary less than outcomes do between people and
        within them; ``r2_from_between`` and ``r2_from_within``, by sums of squares of people's
        means and of what is left, which add up to R2. NaN where nobody has several scans.
    """
    person = pd.factorize(rows["participant_id"].to_numpy())[0]
    scan = pd.factorize(rows["scan_id"].to_numpy())[0]
    of_known, of_error = (split_variance(own, person, scan) for own in (known, error))
    total, n = known @ known, np.bincount(person)
    between = max(of_known.between, 0.0)
    if np.isnan(of_known.within) or not total:
        names = ("share_between", "r2_between", "r2_within", "r2_from_between", "r2_from_within")
        return dict.fromkeys(names, np.nan)
    sums = [np.bincount(person, own) for own in (known, error)]
    squares = [float((own**2 / np.maximum(n, 1)).sum()) for own in sums]
    from_between = float((squares[0] - squares[1]) / total)
    within = of_known.within
    return {
        "share_between": between / (between + within) if between + within else np.nan,
        "r2_between": 1 - max(of_error.between, 0.0) / between if between else np.nan,
        "r2_within": 1 - of_error.within / within if within else np.nan,
        "r2_from_between": from_between,
        "r2_from_within": float(1 - error @ error / total) - from_between,
    }


def slope_within(predicted: Floats, y: Floats, group: Places) -> float:
    """Fit the slope of outcomes on predictions, (N,), within folds: 1 where these are calibrated.

    NaN where predictions hardly differ: those say the same of everybody.
    """
    left = centred_within(predicted, group)
    square = left @ left
    return float(left @ y / square) if square > len(y) * (ALIKE * y.std()) ** 2 else np.nan


def held_out_medians(y: Floats, repeat: Places, fold: Places) -> Floats:
    """Compute the median of the other folds of the repeat, (N,); of all where there is one fold."""
    medians = np.empty(len(y))
    for one in np.unique(repeat):
        rows = np.flatnonzero(repeat == one)
        folds = np.unique(fold[rows])
        for tested in folds:
            own = fold[rows] == tested
            medians[rows[own]] = np.median(y[rows] if len(folds) == 1 else y[rows[~own]])
    return medians


def means_over_repeats(rows: pd.DataFrame, outcome: str, outputs: Sequence[str]) -> pd.DataFrame:
    """List scans once: ``participant_id``, ``scan_id``, ``observed``, and the mean outputs."""
    keys = ["participant_id", "scan_id"]
    means = rows.groupby(keys, sort=True)[[outcome, *outputs]].mean().reset_index()
    return means.rename(columns={outcome: "observed"})


def by_tenths(predicted: Floats, observed: Floats) -> list[dict[str, Any]]:
    """Compare means of what was predicted, (N,), and observed, by parts of the predictions.

    Returns
    -------
    list of dict
        ``predicted``, ``observed`` with the ends of its 95 % interval, ``low`` and ``high`` (None
        of a single one), and the number ``n``, for each of ten parts, of fewer where they would
        hold fewer than `LEAST_IN_TENTH`.
    """
    n_parts = max(1, min(10, len(predicted) // LEAST_IN_TENTH))
    found = []
    for part in np.array_split(np.argsort(predicted, kind="stable"), n_parts):
        x, y = float(predicted[part].mean()), float(observed[part].mean())
        n = len(part)
        half = 1.96 * float(observed[part].std(ddof=1)) / np.sqrt(n) if n > 1 else np.nan
        low, high = (y - half, y + half) if n > 1 else (None, None)
        found.append({"predicted": x, "observed": y, "low": low, "high": high, "n": n})
    return found
