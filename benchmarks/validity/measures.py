"""What the figures of a study promise, each measured on made-up people whose truth is known."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from benchmarks.validity.people import (
    BOTH,
    FIRST,
    PENALTY,
    SECOND,
    Floats,
    People,
    draw_cohort,
    strength_for,
)
from fmnet.evaluation.comparison import chosen_auc, compare_models
from fmnet.evaluation.metrics import model_metrics
from fmnet.types import NETWORK, Count, Fraction

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
class SizedMeasure(Measure):
    """A promise that is measured for cohorts of some sizes, with effects of some sizes."""

    n: Sequence[Count] = ()
    aucs: Sequence[Fraction] = ()

    names: ClassVar = ("n", "auc")

    def cells(self) -> list[Cell]:
        """One for each size and AUC; the numbers of repeats share cohorts."""
        return [(n, auc) for n in self.n for auc in self.aucs]


@dataclass(frozen=True)
class Coverage(SizedMeasure):
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
    aucs: Sequence[Fraction] = (0.5, 0.65, 0.8, 0.92)
    n_repeats: Sequence[Count] = (1, 10)

    title: ClassVar = "Coverage of the 95 % interval of an AUC (promised: .94 to .96)"

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
class TypeOne(SizedMeasure):
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
    aucs: Sequence[Fraction] = (0.5, 0.75)
    n_repeats: Sequence[Count] = (1, 10)

    title: ClassVar = "Two models worth the same, told apart at 5 % (promised: .04 to .06)"

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
class Optimism(SizedMeasure):
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
    aucs: Sequence[Fraction] = (0.5, 0.65, 0.8)
    n_repeats: Sequence[Count] = (1,)

    title: ClassVar = (
        "AUC of the best of four models above its AUC on new people, as it is and corrected "
        "(promised: corrected within .02 of 0)"
    )

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
