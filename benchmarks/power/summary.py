"""What the race came to: means with their intervals, and differences cohort by cohort."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student

#: Name of the model that knows the truth.
ORACLE = "oracle"
#: Name of the linear baseline that every model is compared with, besides the best one.
LDA = "shrinkage_lda"
#: Names of the linear baselines of the package.
LINEAR = ("linear_svm", "logistic_ridge", LDA, "frem", "space_net")
#: Fewest AUC between best linear baseline and oracle of which a share is worth stating.
LEAST_ROOM = 0.02


class Interval(NamedTuple):
    """A mean and its 95 % interval; NaN where there is nothing to go by."""

    mean: float
    low: float
    high: float

    def say(self, sign: str = "") -> str:
        """Write ``0.71 [0.65, 0.77]``."""
        if np.isnan(self.mean):
            return "n/a"
        if np.isnan(self.low):
            return f"{self.mean:{sign}.2f}"
        return f"{self.mean:{sign}.2f} [{self.low:{sign}.2f}, {self.high:{sign}.2f}]"


def t_interval(values: ArrayLike) -> Interval:
    """Mean of a sample with its 95 % t-interval; one value has none."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    mean = float(known.mean()) if len(known) else float("nan")
    if len(known) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = student.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return Interval(mean, float(mean - half), float(mean + half))


def summarise(units: pd.DataFrame) -> pd.DataFrame:
    """Compare models over draws.

    Parameters
    ----------
    units : DataFrame
        One row per model and cohort: ``regime, n, draw, model, auc, seconds``.

    Returns
    -------
    DataFrame
        One row per ``regime, n, model``: ``mean_auc, ci_low, ci_high, n_draws``; ``best_linear``,
        and the paired ``difference`` to it with ``difference_low, difference_high``; the same to
        shrinkage LDA as ``minus_lda, minus_lda_low, minus_lda_high``; ``closed``, the share of the
        distance from the best linear baseline to the oracle; ``seconds`` per cohort.
    """
    rows: list[dict[str, Any]] = []
    for (regime, n), own in units.groupby(["regime", "n"], sort=False):
        aucs = own.pivot_table(index="draw", columns="model", values="auc", sort=False)
        seconds = own.groupby("model")["seconds"].mean()
        best = best_linear(aucs)
        for model in own["model"].unique():
            row = {"regime": regime, "n": n, "model": model, **_compare(aucs, model, best)}
            rows.append(row | {"seconds": seconds[model]})
    return pd.DataFrame(rows)


def best_linear(aucs: pd.DataFrame) -> str:
    """Name the linear baseline with the largest mean over draws; empty if none was scored."""
    means = aucs[[name for name in aucs.columns if name in LINEAR]].mean()
    return str(means.idxmax()) if means.notna().any() else ""


def _compare(aucs: pd.DataFrame, model: str, best: str) -> dict[str, Any]:
    nothing = pd.Series(np.nan, index=aucs.index)
    own, rival = aucs.get(model, nothing), aucs.get(best, nothing)
    mean, difference = t_interval(own), t_interval(own - rival)
    minus_lda = t_interval(own - aucs.get(LDA, nothing))
    ceiling = aucs.get(ORACLE, nothing)
    room = (ceiling - rival).mean()
    # there is nothing to find in regime null
    has_room = ceiling.mean() > 0.5 and room >= LEAST_ROOM
    return {
        "mean_auc": mean.mean,
        "ci_low": float(np.clip(mean.low, 0, 1)),  # an AUC is no less and no more
        "ci_high": float(np.clip(mean.high, 0, 1)),
        "n_draws": int(own.notna().sum()),
        "best_linear": best,
        "difference": difference.mean,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "minus_lda": minus_lda.mean,
        "minus_lda_low": minus_lda.low,
        "minus_lda_high": minus_lda.high,
        "closed": difference.mean / room if has_room else float("nan"),
    }
