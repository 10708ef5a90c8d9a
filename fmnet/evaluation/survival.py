"""Figures of models that predict when an event happens, where some people leave before it does.

Scores of the models of different test folds have no common scale: people are compared within folds
only. Censoring has one distribution, that of all people given, whatever the score.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Scores that differ by no more count as tied.
TIED = 1e-8
#: Coefficients of a Cox model whose likelihood has no maximum stay below, per standard deviation.
LARGEST = 10.0


def censored_after(time: Floats, event: Flags) -> Floats:
    """Move people who were last seen without the event to just after that time: (N,).

    Whoever was seen without it at a visit had not had it by then. So of people whose times are
    those of visits, some with the event, all others count as without it at this visit.
    """
    return np.where(event, time, np.nextafter(time, np.inf))


def kaplan_meier(time: Floats, event: Flags, at: ArrayLike) -> Floats:
    """Estimate the probability of having no event up to each of T times, that time included: (T,).

    After the last person has left it stays as it was.
    """
    times, n_events, n_left = _counts(time, event)
    return _product_limit(times, n_events, n_left, at)


def remaining(time: Floats, event: Flags, at: ArrayLike) -> Floats:
    """Estimate the probability of not being censored up to each of T times: (T,).

    By Kaplan-Meier with the roles exchanged; events come before censorings of the same time.
    """
    times, n_events, n_left = _counts(time, event)
    censored = np.bincount(np.searchsorted(times, time), ~event, len(times)).astype(float)
    return _product_limit(times, censored, n_left - n_events, at)


def median_follow_up(time: Floats, event: Flags) -> float:
    """Estimate how long half of the people would be followed if there were no events.

    By reverse Kaplan-Meier; NaN where more than half were never censored.
    """
    times = np.unique(time)
    below = times[remaining(time, event, times) <= 0.5]
    return float(below[0]) if len(below) else float("nan")


def _counts(time: Floats, event: Flags) -> tuple[Floats, Floats, Floats]:
    """Count events, and who was still followed, at each different time: (U,) each."""
    times, inverse, counts = np.unique(time, return_inverse=True, return_counts=True)
    n_left = np.asarray(len(time) - np.cumsum(counts) + counts, dtype=float)
    return times, np.bincount(inverse, event, len(times)).astype(float), n_left


def _product_limit(times: Floats, n_events: Floats, n_left: Floats, at: ArrayLike) -> Floats:
    hazards = np.divide(n_events, n_left, out=np.zeros(len(times)), where=n_events > 0)
    curve = np.concatenate([[1.0], np.cumprod(1 - hazards)])
    return np.asarray(curve[np.searchsorted(times, np.asarray(at, dtype=float), side="right")])


@dataclass(frozen=True, eq=False)
class FollowUp:
    """How long N people were followed, and whether until the event; those of a fold are compared.

    Parameters
    ----------
    time : ndarray of float, shape (N,)
        To the event, or to when somebody was last seen without it.
    event : ndarray of bool, shape (N,)
        Whether it was the event.
    fold : ndarray of int, shape (N,)
        Number of the fold, from 0.
    """

    time: Floats
    event: Flags
    fold: NDArray[np.intp]

    @cached_property
    def members(self) -> NDArray[np.intp]:
        """Rows of each of F folds, (F, n), with -1 behind the last."""
        return self._table(np.ones(len(self.time), dtype=bool))

    @cached_property
    def cases(self) -> NDArray[np.intp]:
        """Rows with the event of each fold, (F, e), with -1 behind the last."""
        return self._table(self.event)

    def _table(self, chosen: Flags) -> NDArray[np.intp]:
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(self.fold[rows], kind="stable")]
        counts = np.bincount(self.fold[rows], minlength=int(self.fold.max()) + 1)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        table = np.full((len(counts), int(counts.max(initial=0))), -1)
        table[self.fold[rows], place] = rows
        return table

    @cached_property
    def _case_time(self) -> Floats:
        return np.append(self.time, np.inf)[self.cases]  # nobody is left after infinity

    @cached_property
    def _member_time(self) -> Floats:
        return np.append(self.time, -np.inf)[self.members]

    def higher(self, score: Floats) -> Floats:
        """Tell whether a case scored higher than a member of its fold: (F, e, n), ties 0.5."""
        known = np.append(score, 0.0)
        gaps = known[self.cases][:, :, None] - known[self.members][:, None]
        return np.asarray(0.5 + 0.5 * (gaps > TIED) - 0.5 * (gaps < -TIED))

    @cached_property
    def comparable(self) -> Flags:
        """Whether it is known that a member had the event later than a case, (F, e, n)."""
        case, member = self._case_time[:, :, None], self._member_time[:, None]
        censored = ~np.append(self.event, True)[self.members][:, None]
        found: Flags = (member > case) | ((member == case) & censored)
        return found

    def concordance(self, higher: Floats, weights: Floats) -> float:
        """Compute the share of comparable pairs in which the earlier event has the higher score.

        Pairs weigh as their case does in `weights`, (N,). NaN without a pair.
        """
        weight = np.append(weights, 0.0)[self.cases]
        won = (weight * np.einsum("fij,fij->fi", higher, self.comparable)).sum()
        met = (weight * self.comparable.sum(axis=2)).sum()
        return float(won / met) if met > 0 else float("nan")

    def uno_weights(self, tau: float) -> Floats:
        """Weigh cases before `tau` so that pairs are as they would be without censoring: (N,)."""
        return np.where(self.time < tau, self.inverse_remaining**2, 0.0)

    @cached_property
    def inverse_remaining(self) -> Floats:
        """One over the probability of not being censored before one's event, (N,); else 0."""
        left = remaining(self.time, self.event, self.time)
        return np.divide(1.0, left, out=np.zeros(len(left)), where=self.event & (left > 0))

    def aucs(self, higher: Floats, at: ArrayLike) -> Floats:
        """Compute AUC(t), cumulative and dynamic, at T times: (T,); NaN without a pair.

        Cases are those with the event by then, controls those without it who are still followed;
        cases weigh by `inverse_remaining` (Uno et al. 2007; Hung & Chiang 2010).
        """
        times = np.atleast_1d(np.asarray(at, dtype=float))
        weight = np.append(self.inverse_remaining, 0.0)[self.cases][:, :, None]
        weight = weight * (self._case_time[:, :, None] <= times)  # (F, e, T)
        control = (self._member_time[:, :, None] > times).astype(float)  # (F, n, T)
        won = (weight * (higher @ control)).sum(axis=(0, 1))
        met = (weight.sum(axis=1) * control.sum(axis=1)).sum(axis=0)
        return np.asarray(np.divide(won, met, out=np.full(len(times), np.nan), where=met > 0))

    def briers(self, risk: Floats, at: ArrayLike) -> Floats:
        """Compute the Brier score of risks, (N, T), by each of T times: (T,).

        Of those who left before, others who were still followed stand in (Graf et al. 1999).
        """
        times = np.atleast_1d(np.asarray(at, dtype=float))
        left = remaining(self.time, self.event, times)
        later = np.divide(1.0, left, out=np.zeros(len(times)), where=left > 0)
        is_case = (self.time[:, None] <= times) * self.inverse_remaining[:, None]
        is_control = (self.time[:, None] > times) * later
        return np.asarray(((1 - risk) ** 2 * is_case + risk**2 * is_control).mean(axis=0))

    @cached_property
    def at_risk(self) -> Floats:
        """How much each member is at risk when a case has its event, (F, e, n).

        Of cases of the same time the first has all of them at risk, each further one less of them
        (Efron 1977).
        """
        case, member = self._case_time[:, :, None], self._member_time[:, None]
        is_event = np.append(self.event, False)[self.members][:, None]
        tied = (case == case.swapaxes(1, 2)) & np.isfinite(case)
        before = np.tril(tied, -1).sum(axis=2)
        share = before / np.maximum(tied.sum(axis=2), 1)
        found: Floats = (member >= case) - share[:, :, None] * ((member == case) & is_event)
        return found

    def derivatives(self, design: Floats, slope: Floats) -> tuple[float, Floats, Floats]:
        """Compute the Cox log partial likelihood, its gradient, and its information.

        Of covariates (N, P) and their coefficients (P,): a number, (P,) and (P, P). Each fold is a
        stratum with a hazard of its own; ties by Efron.
        """
        is_case = self.cases >= 0
        x = np.vstack([design, np.zeros(design.shape[1])])
        linear = np.clip(x @ slope, -500, 500)
        linear -= linear.max()
        relative = np.append(np.exp(linear[:-1]), 0.0)[self.members]  # (F, n)
        weighted = self.at_risk * relative[:, None]  # (F, e, n)
        total = np.where(is_case, weighted.sum(axis=2), 1.0)
        mean = (weighted @ x[self.members]) / total[:, :, None]  # (F, e, P)
        gaps = (x[self.cases] - mean)[is_case]
        likelihood = float((linear[self.cases] - np.log(total))[is_case].sum())
        share = (weighted / total[:, :, None] * is_case[:, :, None]).sum(axis=1)  # (F, n)
        inner = x[self.members]
        information = np.einsum("fn,fnp,fnq->pq", share, inner, inner)
        information -= mean[is_case].T @ mean[is_case]
        return likelihood, gaps.sum(axis=0), information

    def fit_cox(self, design: Floats, penalty: float = 0.0) -> Floats:
        """Fit the coefficients of a Cox model, (P,), of covariates, (N, P).

        Parameters
        ----------
        penalty : float, optional
            Half of it times the sum of squared coefficients is taken off the log likelihood.
        """
        design = design - design.mean(axis=0)
        scale = design.std(axis=0)
        limit = LARGEST / np.where(scale > 0, scale, 1.0)
        slope = np.zeros(design.shape[1])
        ridge = penalty * np.eye(len(slope)) + 1e-9 * np.diag(np.where(scale > 0, scale**2, 1.0))
        best, gradient, information = self.derivatives(design, slope)
        for _ in range(50):
            step = np.linalg.solve(information + ridge, gradient - penalty * slope)
            for _ in range(20):  # halved until the likelihood rises
                tried = np.clip(slope + step, -limit, limit)
                value, *rest = self.derivatives(design, tried)
                value -= penalty * float(tried @ tried) / 2
                if value >= best - 1e-12:
                    break
                step = step / 2
            gain, slope, best, (gradient, information) = value - best, tried, value, rest
            if gain < 1e-10:
                break
        return slope

    def score_test(self, score: Floats) -> float:
        """Compute z of the score test of a Cox model within folds; larger for higher hazards.

        For two groups it is the stratified log-rank test. Scores, (N,), are standardised within
        folds. 0 where they don't vary.
        """
        standard = _within(self.fold, np.asarray(score, dtype=float))
        _, gradient, information = self.derivatives(standard[:, None], np.zeros(1))
        return float(gradient[0] / np.sqrt(information[0, 0])) if information[0, 0] > 1e-12 else 0.0


def _within(fold: NDArray[np.intp], score: Floats) -> Floats:
    """Standardise scores within folds; 0 where they don't vary."""
    counts = np.maximum(np.bincount(fold), 1)
    centred = score - (np.bincount(fold, score) / counts)[fold]
    sd = np.sqrt(np.bincount(fold, centred**2) / counts)[fold]
    return np.divide(centred, sd, out=np.zeros(len(score)), where=sd > TIED)


def integrated(values: Floats, at: ArrayLike) -> float:
    """Average values at T times over time, from the first to the last, by the trapezoidal rule."""
    times = np.atleast_1d(np.asarray(at, dtype=float))
    if len(times) == 1:
        return float(values[0])
    return float(np.trapezoid(values, times) / (times[-1] - times[0]))
