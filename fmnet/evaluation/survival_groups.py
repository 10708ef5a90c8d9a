"""People in groups by what a model says of them, and how long each group went without the event."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from fmnet.evaluation.survival import Flags, Floats, FollowUp, censored_after, kaplan_meier

#: Thirds of the people, by a model's scores.
THIRDS = ("lowest", "middle", "highest")
#: How many times numbers at risk are given for, beside the start.
N_TICKS = 5


def risk_of_others(follow: FollowUp, repeat: NDArray[np.intp], at: Floats) -> Floats:
    """Estimate the risk by T times from the people of all other folds of a repeat, (N, T).

    By Kaplan-Meier: what is predicted by who knows nothing of anybody. Where a repeat has one fold
    it is that of its own people.

    Parameters
    ----------
    repeat : ndarray of int, shape (N,)
        Number of the repeat of each row, from 0.
    """
    times, place = np.unique(follow.time, return_inverse=True)
    n_folds, n_times = int(follow.fold.max()) + 1, len(times)
    cell, size = follow.fold * n_times + place, n_folds * n_times
    events = np.bincount(cell, follow.event, size).reshape(n_folds, n_times)
    counts = np.bincount(cell, minlength=size).reshape(n_folds, n_times)
    repeat_of = np.zeros(n_folds, int)
    repeat_of[follow.fold] = repeat
    same = (repeat_of[:, None] == repeat_of).astype(float)
    is_other = np.where(same.sum(axis=1, keepdims=True) > 1, same - np.eye(n_folds), same)
    happened, left = is_other @ events, np.cumsum((is_other @ counts)[:, ::-1], axis=1)[:, ::-1]
    hazards = np.divide(happened, left, out=np.zeros(left.shape), where=left > 0)
    curves = np.concatenate([np.ones((n_folds, 1)), np.cumprod(1 - hazards, axis=1)], axis=1)
    return np.asarray(1 - curves[follow.fold][:, np.searchsorted(times, at, side="right")])


def log_rank(time: Floats, event: Flags, group: NDArray[np.intp]) -> dict[str, Any]:
    """Test whether groups, (N,) of numbers from 0, differ in their hazards: chi2, its df and p."""
    n_groups = int(group.max()) + 1
    member = np.eye(n_groups)[group]  # (N, G)
    times = np.unique(time[event])
    had = (time[:, None] == times) & event[:, None]  # (N, U)
    left = (time[:, None] >= times).astype(float)
    n, d = left.sum(axis=0), had.sum(axis=0)
    share = (member.T @ left) / n  # (G, U)
    gaps = (member.T @ had - share * d).sum(axis=1)
    weight = d * (n - d) / np.maximum(n - 1, 1)
    covariance = np.diag((share * weight).sum(axis=1)) - (share * weight) @ share.T
    value = float(gaps @ np.linalg.pinv(covariance, hermitian=True) @ gaps)
    return {"chi2": value, "df": n_groups - 1, "p": float(chi2.sf(value, n_groups - 1))}


def curve_interval(time: Floats, event: Flags, at: Floats) -> tuple[Floats, Floats]:
    """Compute the 95 % interval of a Kaplan-Meier curve at T times: (T,) each.

    By Greenwood's variance, on the scale of log(-log).
    """
    times = np.unique(time[event])
    left = (time >= times[:, None]).sum(axis=1)
    had = ((time == times[:, None]) & event).sum(axis=1)
    steps = np.divide(had, left * (left - had), out=np.full(len(had), np.inf), where=left > had)
    variance = np.concatenate([[0.0], np.cumsum(steps)])[np.searchsorted(times, at, side="right")]
    curve = kaplan_meier(time, event, at)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_curve = np.log(curve)
        half = norm.ppf(0.975) * np.sqrt(variance) / np.abs(log_curve)
        low, high = curve ** np.exp(half), curve ** np.exp(-half)
    inner = (curve > 0) & (curve < 1)
    return np.where(inner, low, np.where(curve < 1, 0.0, 1.0)), np.where(inner, high, curve)


@dataclass(frozen=True, eq=False)
class PeopleByRisk:
    """What a model says of N people, over all repeats, and what became of them.

    Parameters
    ----------
    time, event : ndarray, shape (N,)
        As in `FollowUp`.
    third : ndarray of int, shape (N,), or None
        0 to 2, by the mean rank of the score within test folds; None where all rank alike.
    risk : ndarray of float, shape (N, T)
        Mean predicted risk by each stated time.
    """

    time: Floats
    event: Flags
    third: NDArray[np.intp] | None
    risk: Floats

    def curves(self) -> dict[str, Any] | None:
        """Compute the share without the event in each third, and who was still followed when.

        Returns
        -------
        dict or None
            ``ticks``, times from 0 on, and ``groups``: ``name``, ``n``, ``n_events``, ``time`` and
            ``free``, steps of the Kaplan-Meier curve, its 95 % interval, ``low`` and ``high``, and
            ``at_risk``, how many were followed up to each tick.
        """
        if self.third is None:
            return None
        ticks = _round_ticks(float(self.time.max()))
        groups = []
        for number, name in enumerate(THIRDS):
            own = self.third == number
            time, event = self.time[own], self.event[own]
            at = np.concatenate([[0.0], np.unique(time)])
            low, high = curve_interval(time, event, at)
            groups.append(
                {
                    "name": name,
                    "n": int(own.sum()),
                    "n_events": int(event.sum()),
                    "time": at.tolist(),
                    "free": kaplan_meier(time, event, at).tolist(),
                    "low": low.tolist(),
                    "high": high.tolist(),
                    "at_risk": [int((time >= tick).sum()) for tick in ticks],
                }
            )
        return {"ticks": ticks.tolist(), "groups": groups}

    def log_rank(self) -> dict[str, Any] | None:
        """Compare the thirds by the log-rank test, corrected for models that share people.

        Who is tested by one model has taught the others, which doubles the variance of what rises
        over the thirds (see `fmnet.evaluation.metrics.training_variance`), so that the plain test
        is wrong too often (Simon et al. 2011 tell of the same). Chi-squared then has the mean 3 and
        the variance 10, of which ``p`` is made. ``p_plain`` is that of the plain test.
        """
        if self.third is None or not self.event.any():
            return None
        test = log_rank(self.time, self.event, self.third)
        mean, variance = 3.0, 10.0  # of 2 a**2 + b**2, of independent normal a and b
        scale = variance / (2 * mean)
        p = float(chi2.sf(test["chi2"] / scale, mean / scale))
        return test | {"p": p, "p_plain": test["p"]}

    def calibration(self, times: tuple[float, ...]) -> dict[str, list[dict[str, float]]]:
        """Compare risks by each stated time with what happened, in thirds of the people.

        Of each third: ``n``, ``predicted`` (the mean), ``observed`` (Kaplan-Meier), and its 95 %
        interval, ``low`` and ``high``. One group of all where scores don't tell people apart.
        """
        third = np.zeros(len(self.time), int) if self.third is None else self.third
        found = {}
        for risk, at in zip(self.risk.T, times, strict=True):
            points = []
            for number in np.unique(third):
                own = third == number
                time, event, when = self.time[own], self.event[own], np.array([at])
                low, high = curve_interval(time, event, when)
                points.append(
                    {
                        "n": int(own.sum()),
                        "predicted": float(risk[own].mean()),
                        "observed": float(1 - kaplan_meier(time, event, when)[0]),
                        "low": float(1 - high[0]),
                        "high": float(1 - low[0]),
                    }
                )
            found[f"{at:g}"] = points
        return found


def people_by_risk(rows: pd.DataFrame, risks: list[str]) -> PeopleByRisk:
    """Summarise each person over the repeats of an out-of-fold table, of one model.

    Parameters
    ----------
    rows : DataFrame
        ``participant_id, repeat, fold, score, outcome_time, outcome_event`` and the columns named.
    risks : list of str
        Columns of risks.
    """
    rank = rows.groupby(["repeat", "fold"])["score"].rank(pct=True)
    size = rows.groupby(["repeat", "fold"])["score"].transform("size")
    table = rows.assign(place=rank - 0.5 / size)  # 0.5 on average in each fold
    people = table.groupby("participant_id", sort=False)
    first = people[["outcome_time", "outcome_event"]].first()
    event = first["outcome_event"].to_numpy(float) > 0
    time = censored_after(first["outcome_time"].to_numpy(float), event)
    place = people["place"].mean().to_numpy(float)
    return PeopleByRisk(time, event, thirds_of(place), people[risks].mean().to_numpy(float))


def thirds_of(values: Floats) -> NDArray[np.intp] | None:
    """Divide values, (N,), into thirds, 0 to 2; None where they don't vary, or are too few."""
    if len(values) < len(THIRDS) or np.ptp(values) < 1e-9:
        return None
    rank = pd.Series(values).rank(method="first").to_numpy(float)
    found: NDArray[np.intp] = ((rank - 1) * len(THIRDS) // len(values)).astype(int)
    return found


def _round_ticks(longest: float) -> Floats:
    """Place about `N_TICKS` round times from 0 up to `longest`."""
    least = longest / N_TICKS
    unit = 10.0 ** np.floor(np.log10(least))
    step = next(unit * one for one in (1, 2, 2.5, 5, 10, 20) if unit * one >= least)
    return np.arange(0.0, longest + step / 1e6, step)
