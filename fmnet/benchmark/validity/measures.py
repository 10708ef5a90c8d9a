"""What the figures of a study promise, each measured on made-up people whose truth is known."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import binomtest, norm
from sklearn.linear_model import LogisticRegression

from fmnet.benchmark.validity.people import (
    BOTH,
    FIRST,
    PENALTY,
    SECOND,
    Floats,
    People,
    draw_cohort,
    fit,
    strength_for,
)
from fmnet.deploy.calibration import Calibration
from fmnet.limits import Count, Share
from fmnet.study.comparison import compare_models
from fmnet.study.crossval import NETWORK
from fmnet.study.metrics import model_metrics
from fmnet.study.selection import chosen_auc
from fmnet.training.platt import fit_calibration

#: What stands for the people of one group who are new: quantiles of their scores.
QUANTILES = norm.ppf((np.arange(100) + 0.5) / 100)
#: Bootstrap draws; the interval of an AUC takes none, and that of old was as short with fewer.
N_DRAWS = 500
#: Nominal level of the t-test, and of intervals one minus it.
ALPHA = 0.05
#: Names of the models that are chosen among, with the features and the penalty of each.
CANDIDATES = {
    NETWORK: (BOTH, 0.03),
    "linear_svm": (FIRST, PENALTY),
    "logistic_ridge": (SECOND, PENALTY),
    "shrinkage_lda": (BOTH, 3.0),
}

Cell = tuple[Any, ...]


@dataclass(frozen=True)
class Measure(ABC):
    """One promise, measured in several cells of some cohorts each.

    Parameters
    ----------
    n_cohorts : int
        In each cell.
    """

    n_cohorts: Count = 400

    #: Names of the settings that make up a cell.
    names: ClassVar[tuple[str, ...]]
    #: What the table is called.
    title: ClassVar[str]

    @abstractmethod
    def cells(self) -> list[Cell]:
        """List the settings of which cohorts are drawn."""

    @abstractmethod
    def measure(self, cell: Cell, path: tuple[int, ...]) -> list[dict[str, Any]]:
        """Draw one cohort, its seeds being `path`, and say what a study would: rows of a table."""

    @abstractmethod
    def summarise(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Compare what was said with the truth, cell by cell, with the error of each figure."""

    def lines(self, summary: pd.DataFrame) -> list[str]:
        """Put the table into lines."""
        return [self.title, *plain(summary).to_string(index=False).splitlines(), ""]


def plain(summary: pd.DataFrame) -> pd.DataFrame:
    """Write figures with three decimals and counts with none."""
    return pd.DataFrame({name: summary[name].map(_say) for name in summary})


def _say(value: Any) -> str:
    if isinstance(value, float):
        return "n/a" if np.isnan(value) else f"{value:.3f}"
    return str(value)


def share_of(hits: int, n: int, promised: tuple[float, float]) -> dict[str, Any]:
    """State a share, its standard error and exact interval, and whether it is as promised.

    Returns
    -------
    dict
        ``kept`` is ``yes`` where the share lies in the range promised, ``no`` where its whole
        interval lies outside, else ``not shown``.
    """
    low, high = binomtest(hits, n).proportion_ci()
    share = hits / n
    is_outside = low > promised[1] or high < promised[0]
    kept = "yes" if promised[0] <= share <= promised[1] else "no" if is_outside else "not shown"
    return {
        "share": share,
        "se": float(np.sqrt(share * (1 - share) / n)),
        "low": float(low),
        "high": float(high),
        "kept": kept,
    }


def mean_of(values: Floats) -> dict[str, float]:
    """State a mean with its 95 % interval over cohorts."""
    half = 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    mean = float(values.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half}


def by_repeats(people: People, n_repeats: Sequence[int]) -> dict[int, People]:
    """Take the same people with one deal of the folds and with all of them, as asked for."""
    return {n: people if n > 1 else people.first_repeat() for n in n_repeats}


def train_sizes(n: int) -> tuple[int, int]:
    """Count the people of each group who train in a fold of five of `n` people."""
    return round(0.4 * n), round(0.4 * n)


@dataclass(frozen=True)
class Coverage(Measure):
    """How often the 95 % interval of an AUC holds the mean AUC of such studies.

    Parameters
    ----------
    n_cohorts : int
        In each cell.
    n : list of int
        People, half of them positive.
    aucs : list of float
        Means over cohorts that effects are chosen for.
    n_repeats : list of int
        Deals of the folds: 1, or more.
    """

    n: Sequence[Count] = (24, 40, 70)
    aucs: Sequence[Share] = (0.5, 0.65, 0.8, 0.92)
    n_repeats: Sequence[Count] = (1, 10)

    names: ClassVar = ("n", "auc")
    title: ClassVar = "Coverage of the 95 % interval of an AUC (promised: .94 to .96)"

    def cells(self) -> list[Cell]:
        """One for each size and AUC; the numbers of repeats share cohorts."""
        return [(n, auc) for n in self.n for auc in self.aucs]

    def measure(self, cell: Cell, path: tuple[int, ...]) -> list[dict[str, Any]]:
        """State an AUC with its interval as a study does."""
        n, auc = cell
        strength = strength_for(auc, *train_sizes(n))
        people = draw_cohort(n // 2, n - n // 2, max(self.n_repeats), strength, path)
        scores = {NETWORK: people.out_of_fold()}
        rows = []
        for n_repeats, part in by_repeats(people, self.n_repeats).items():
            found = model_metrics(part.table(scores), N_DRAWS)
            low, high = found["auc_ci"]
            rows.append({"n_repeats": n_repeats, "found": found["auc"], "low": low, "high": high})
        return rows

    def summarise(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Share of intervals that hold the mean of the cell; how many lie above and below it."""
        found = []
        for key, own in rows.groupby(["n", "auc", "n_repeats"], sort=True):
            truth = own["found"].mean()
            above, below = (own["low"] > truth).sum(), (own["high"] < truth).sum()
            hits = len(own) - int(above + below)
            found.append(
                dict(zip(("n", "auc", "n_repeats"), key, strict=True))
                | {"n_cohorts": len(own), "mean_auc": truth}
                | share_of(hits, len(own), (0.94, 0.96))
                | {"above": above / len(own), "below": below / len(own)}
                | {"width": (own["high"] - own["low"]).mean()}
            )
        return pd.DataFrame(found).sort_values(["n_repeats", "n", "auc"], ignore_index=True)


@dataclass(frozen=True)
class TypeOne(Measure):
    """How often the corrected t-test tells two models apart that are worth the same.

    One sees one half of the features, one the other, and an effect is as large in both.

    Parameters
    ----------
    n_cohorts, n, n_repeats
        See `Coverage`.
    aucs : list of float
        Of both models; .5 for no effect.
    """

    n: Sequence[Count] = (24, 40, 70)
    aucs: Sequence[Share] = (0.5, 0.75)
    n_repeats: Sequence[Count] = (1, 10)

    names: ClassVar = ("n", "auc")
    title: ClassVar = "Two models worth the same, told apart at 5 % (promised: .04 to .06)"

    def cells(self) -> list[Cell]:
        """One for each size and AUC; the numbers of repeats share cohorts."""
        return [(n, auc) for n in self.n for auc in self.aucs]

    def measure(self, cell: Cell, path: tuple[int, ...]) -> list[dict[str, Any]]:
        """Compare the two as a study does."""
        n, auc = cell
        strength = strength_for(auc, *train_sizes(n), half=True)
        people = draw_cohort(n // 2, n - n // 2, max(self.n_repeats), strength, path)
        scores = {NETWORK: people.out_of_fold(FIRST), "linear_svm": people.out_of_fold(SECOND)}
        rows = []
        for n_repeats, part in by_repeats(people, self.n_repeats).items():
            (row,) = compare_models(part.fold_aucs(scores), NETWORK)
            rows.append(
                {"n_repeats": n_repeats} | {name: row[name] for name in ("difference", "p")}
            )
        return rows

    def summarise(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Share of cohorts with p below 5 %."""
        found = []
        for key, own in rows.groupby(["n", "auc", "n_repeats"], sort=True):
            hits = int((own["p"] < ALPHA).sum())
            found.append(
                dict(zip(("n", "auc", "n_repeats"), key, strict=True))
                | {"n_cohorts": len(own)}
                | share_of(hits, len(own), (0.04, 0.06))
                | {"sd_of_difference": own["difference"].std()}
            )
        table = pd.DataFrame(found).sort_values(["n_repeats", "n", "auc"], ignore_index=True)
        pooled = rows.assign(hit=rows["p"] < ALPHA).groupby("n_repeats")["hit"]
        extra = [
            {"n": "all", "auc": "all", "n_repeats": n_repeats, "n_cohorts": len(own)}
            | share_of(int(own.sum()), len(own), (0.04, 0.06))
            | {"sd_of_difference": np.nan}
            for n_repeats, own in pooled
        ]
        return pd.concat([table, pd.DataFrame(extra)], ignore_index=True)


@dataclass(frozen=True)
class Calibrated(Measure):
    """Whether the exported model's probabilities hold for people whom it has never seen.

    Parameters
    ----------
    n_cohorts
        See `Measure`.
    aucs : list of float
        Of the final model on new people, mean over cohorts.
    groups : list of pairs of int
        Positive and negative people.
    n_repeats : list of int
        Deals of the folds: 1, or more.
    """

    n_cohorts: Count = 100
    aucs: Sequence[Share] = (0.6, 0.7, 0.8, 0.9)
    groups: Sequence[Sequence[Count]] = ((12, 12), (20, 20), (35, 35), (20, 50))
    n_repeats: Sequence[Count] = (1, 10)

    names: ClassVar = ("n_positive", "n_negative", "auc")
    title: ClassVar = (
        "Probabilities on new people (promised: slope .8 to 1.2 over cohorts, calls that the "
        "probability contradicts: none)"
    )

    def cells(self) -> list[Cell]:
        """One for each pair of groups and AUC."""
        return [(*map(int, pair), auc) for pair in self.groups for auc in self.aucs]

    def measure(self, cell: Cell, path: tuple[int, ...]) -> list[dict[str, Any]]:
        """Calibrate the final model on out-of-fold scores, as a study does."""
        n_positive, n_negative, auc = cell
        strength = strength_for(auc, n_positive, n_negative)
        people = draw_cohort(n_positive, n_negative, max(self.n_repeats), strength, path)
        out_of_fold = people.out_of_fold()
        final = fit(people.features, people.labels)
        low, high, sd = final.moments(strength)
        rows = []
        for n_repeats in self.n_repeats:
            found = calibrate(people, out_of_fold, n_repeats)
            base_rate = people.labels.mean() if found.base_rate is None else found.base_rate
            row = {"n_repeats": n_repeats, "slope": found.slope, "intercept": found.intercept}
            row["base_rate"] = float(base_rate)
            # a call is a probability above the base rate; without a slope there is none
            offset = float(logit(base_rate)) - found.intercept
            row["call_above"] = offset / found.slope if found.slope else np.inf
            row |= {"low": low, "high": high, "sd": sd, "true_auc": final.true_auc(strength)}
            rows.append(row)
        return rows

    def summarise(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Slope of the truth on what was said, over all new people of a cell and by cohort."""
        found = []
        names = ["n_positive", "n_negative", "auc", "n_repeats"]
        for key, own in rows.groupby(names, sort=True):
            people = new_people(own)
            # a cohort by itself: the groups' scores are normal, and so their log odds linear
            true_slope = (own["high"] - own["low"]) / own["sd"] ** 2
            slopes = (true_slope / own["slope"].where(own["slope"] > 0)).dropna().to_numpy()
            spread = bootstrap_slopes(own)
            found.append(
                dict(zip(names, key, strict=True))
                | {"n_cohorts": len(own), "true_auc": own["true_auc"].mean()}
                | {"pooled_slope": spread[0], "low": spread[1], "high": spread[2]}
                | {"kept": "yes" if 0.8 <= spread[0] <= 1.2 else "no"}
                | {"median_slope": float(np.median(slopes)) if len(slopes) else np.nan}
                | {"without_slope": float((own["slope"] <= 0).mean())}
                | {"gain": gain(people)}
                | reliability(people)
                | contradicted(people)
            )
        return pd.DataFrame(found)


def calibrate(people: People, out_of_fold: Floats, n_repeats: int) -> Calibration:
    """Calibrate on scores, (R, N), of the first repeats, as `fmnet.study.record` does."""
    scores = out_of_fold[:n_repeats].ravel()
    fold_of = np.empty((n_repeats, len(people.labels)), dtype=int)
    for number, split in enumerate(people.splits):
        if split.repeat < n_repeats:
            fold_of[split.repeat, split.test] = number
    labels = np.tile(people.labels, n_repeats)
    whose = np.tile(np.arange(len(people.labels)), n_repeats)
    return fit_calibration(scores, labels, people=whose, models=fold_of.ravel())


def new_people(rows: pd.DataFrame) -> pd.DataFrame:
    """Give each cohort's final model new people to score, as many of each group as it says.

    Returns
    -------
    DataFrame
        ``label, probability, is_called`` and ``weight``, which makes groups as common as the
        probability takes them to be.
    """
    parts = []
    records: list[Any] = list(rows.itertuples())
    for row in records:
        for label, mean in ((0, row.low), (1, row.high)):
            score = mean + row.sd * QUANTILES
            rate = row.base_rate if label else 1 - row.base_rate
            probability = 1 / (1 + np.exp(-(row.slope * score + row.intercept)))
            parts.append(
                pd.DataFrame(
                    {
                        "cohort": row.Index,
                        "label": label,
                        "probability": probability,
                        "is_called": score > row.call_above,
                        "weight": rate / len(QUANTILES),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def pooled_slope(people: pd.DataFrame) -> float:
    """Slope of a logistic regression of the truth on the log odds that were stated."""
    stated = logit(people["probability"].to_numpy().clip(1e-9, 1 - 1e-9))[:, None]
    if np.ptp(stated) < 1e-9:
        return float("nan")
    model = LogisticRegression(C=np.inf)
    model.fit(stated, people["label"], sample_weight=people["weight"])
    return float(model.coef_[0, 0])


def bootstrap_slopes(rows: pd.DataFrame, n_draws: int = 20) -> tuple[float, float, float]:
    """Pooled slope with an interval of twice its standard error, over draws of cohorts."""
    rng = np.random.default_rng(0)
    people = new_people(rows.reset_index(drop=True))
    by_cohort = people["cohort"].to_numpy()
    slope, draws = pooled_slope(people), []
    for _ in range(n_draws):
        counts = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)))
        again = people.assign(weight=people["weight"] * counts[by_cohort])
        draws.append(pooled_slope(again[again["weight"] > 0]))
    half = 1.96 * float(np.nanstd(draws, ddof=1))
    return slope, slope - half, slope + half


def reliability(people: pd.DataFrame) -> dict[str, float]:
    """Compare the lowest and the highest tenth of what is stated with what is true."""
    order = people.sort_values("probability")
    rank = order["weight"].cumsum() / order["weight"].sum()
    found = {}
    for name, part in (("lowest", order[rank <= 0.1]), ("highest", order[rank > 0.9])):
        weight = part["weight"]
        found[f"{name}_stated"] = float((part["probability"] * weight).sum() / weight.sum())
        found[f"{name}_true"] = float((part["label"] * weight).sum() / weight.sum())
    return found


def gain(people: pd.DataFrame) -> float:
    """Log loss of saying how common the groups are, minus that of what is said.

    Negative where probabilities do harm: they are surer than they are right.
    """
    label, weight = people["label"], people["weight"] / people["weight"].sum()
    stated = people["probability"].clip(1e-9, 1 - 1e-9)
    common = float((label * weight).sum())

    def loss(probability: Any) -> float:
        logs = np.where(label == 1, np.log(probability), np.log(1 - probability))
        return float(-(weight * logs).sum())

    return loss(common) - loss(stated)


def contradicted(people: pd.DataFrame) -> dict[str, float]:
    """Share of calls whose probability says otherwise: of all calls, and of positive ones."""
    is_likely, is_called = people["probability"] > 0.5, people["is_called"]
    weight = people["weight"]
    positive = weight[is_called].sum()
    return {
        "contradicted": float(weight[is_likely != is_called].sum() / weight.sum()),
        "of_positive": float(weight[is_called & ~is_likely].sum() / positive) if positive else 0.0,
    }


@dataclass(frozen=True)
class Optimism(Measure):
    """How far the AUC of the best of several models lies above what it reaches on new people.

    Parameters
    ----------
    n_cohorts
        See `Measure`.
    n : list of int
        People, half of them positive.
    aucs : list of float
        Of one of the models; .5 for no effect.
    n_repeats : list of int
        Deals of the folds: 1, or more.
    """

    n: Sequence[Count] = (24, 40)
    aucs: Sequence[Share] = (0.5, 0.65, 0.8)
    n_repeats: Sequence[Count] = (1,)

    names: ClassVar = ("n", "auc")
    title: ClassVar = (
        "AUC of the best of four models above its AUC on new people, as it is and corrected "
        "(promised: corrected within .02 of 0)"
    )

    def cells(self) -> list[Cell]:
        """One for each size and AUC."""
        return [(n, auc) for n in self.n for auc in self.aucs]

    def measure(self, cell: Cell, path: tuple[int, ...]) -> list[dict[str, Any]]:
        """Choose by out-of-fold AUC, and correct for it, as a study does."""
        n, auc = cell
        strength = strength_for(auc, *train_sizes(n))
        people = draw_cohort(n // 2, n - n // 2, max(self.n_repeats), strength, path)
        scores, true = {}, {}
        for name, (seen, penalty) in CANDIDATES.items():
            scores[name] = people.out_of_fold(seen, penalty)
            models = [model for _, model in people.first_repeat().fits(seen, penalty)]
            true[name] = float(np.mean([model.true_auc(strength) for model in models]))
        rows = []
        for n_repeats, part in by_repeats(people, self.n_repeats).items():
            table = part.table(scores)
            figures = {
                str(name): model_metrics(own, N_DRAWS)
                for name, own in table.groupby("model", sort=False)
            }
            best = max(figures, key=lambda name: float(figures[name]["auc"]))
            found = chosen_auc(table, list(CANDIDATES), figures[best], 0)
            low, high = found["auc_corrected_ci"]
            rows.append(
                {"n_repeats": n_repeats, "chosen": best, "raw": figures[best]["auc"]}
                | {"corrected": found["auc_corrected"], "low": low, "high": high}
                | {"true": true[best]}
            )
        return rows

    def summarise(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Mean of what is stated minus the truth, with an interval over cohorts."""
        found = []
        for key, own in rows.groupby(["n", "auc", "n_repeats"], sort=True):
            errors = {name: (own[name] - own["true"]).to_numpy() for name in ("raw", "corrected")}
            means = {name: mean_of(error) for name, error in errors.items()}
            found.append(
                dict(zip(("n", "auc", "n_repeats"), key, strict=True))
                | {"n_cohorts": len(own), "true_auc": own["true"].mean()}
                | {
                    f"{name}_{part}": value
                    for name, mean in means.items()
                    for part, value in mean.items()
                }
                | {"kept": "yes" if abs(means["corrected"]["mean"]) <= 0.02 else "no"}
                | {"covered": ((own["low"] <= own["true"]) & (own["true"] <= own["high"])).mean()}
            )
        return pd.DataFrame(found)
