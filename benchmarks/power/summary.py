"""What the race came to: means with their intervals, and differences cohort by cohort."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student

#: Names of the model that knows the truth, of the one that learned the regime's own prior, of the
#: network that a study has by default, and of the one that is fitted in closed form alone.
ORACLE, CEILING, DEFAULT, CLOSED_FORM = "oracle", "ceiling", "default", "closed_form"
#: What stands for all linear baselines where models are chosen.
LINEAR = "linear"
#: Fewest AUC between best linear baseline and oracle or ceiling of which a share is worth stating.
LEAST_ROOM = 0.02
#: What the best linear baseline is called among the rivals of a model.
BEST_LINEAR = "best linear"


class Interval(NamedTuple):
    """A mean and its 95 % interval; NaN where there is nothing to go by."""

    mean: float
    low: float
    high: float

    def say(self, sign: str = "", digits: int = 2) -> str:
        """Write ``0.71 [0.65, 0.77]``."""
        form = f"{sign}.{digits}f"
        if np.isnan(self.mean):
            return "n/a"
        if np.isnan(self.low):
            return f"{self.mean:{form}}"
        return f"{self.mean:{form}} [{self.low:{form}}, {self.high:{form}}]"


def t_interval(values: ArrayLike) -> Interval:
    """Mean of a sample with its 95 % t-interval; one value has none."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    mean = float(known.mean()) if len(known) else float("nan")
    if len(known) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = student.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return Interval(mean, float(mean - half), float(mean + half))


def summarise(units: pd.DataFrame, linear: Sequence[str]) -> pd.DataFrame:
    """Compare models over draws.

    Parameters
    ----------
    units : DataFrame
        One row per model and cohort: ``regime, n, draw, model, auc, seconds``, and perhaps
        ``template``.
    linear : list of str
        Names of the linear baselines.

    Returns
    -------
    DataFrame
        One row per ``regime, n, model``, and one per ``template`` where several were planted
        (else empty): ``mean_auc, ci_low, ci_high, n_draws``; ``best_linear``, and the paired
        ``difference`` to it with ``difference_low, difference_high``; ``to_oracle`` and
        ``to_ceiling``, the share of the distance from the best linear baseline to either; and
        ``seconds`` per cohort.
    """
    rows: list[dict[str, Any]] = []
    for about, cohorts in _groups(units):
        aucs = _by_model(cohorts)
        seconds = cohorts.groupby("model")["seconds"].mean()
        best = best_linear(aucs, linear)
        for model in cohorts["model"].unique():
            row = {**about, "model": model, **_compare(aucs, model, best)}
            rows.append(row | {"seconds": seconds[model]})
    return pd.DataFrame(rows)


def compare_pairs(units: pd.DataFrame, linear: Sequence[str]) -> pd.DataFrame:
    """Take the difference of each network to its rivals, cohort by cohort.

    Parameters
    ----------
    units, linear
        See `summarise`.

    Returns
    -------
    DataFrame
        One row per ``regime, template, n, model, rival``: mean ``difference`` with ``low, high``
        over ``n_draws``. Rivals are the closed form, the best linear baseline (its name then is
        ``best linear``) and each linear one.
    """
    rows: list[dict[str, Any]] = []
    for about, cohorts in _groups(units):
        aucs = _by_model(cohorts)
        best = best_linear(aucs, linear)
        rivals = {name: name for name in (CLOSED_FORM, *linear) if name in aucs}
        rivals |= {BEST_LINEAR: best} if best else {}
        for model in aucs.columns:
            if model in linear or model == ORACLE:
                continue
            for rival, name in rivals.items():
                if name == model:
                    continue
                steps = aucs[model] - aucs[name]
                found = t_interval(steps)
                ends = {"difference": found.mean, "low": found.low, "high": found.high}
                of = {"model": model, "rival": rival, "n_draws": int(steps.notna().sum())}
                rows.append({**about, **of, **ends})
    columns = ["regime", "template", "n", "model", "rival", "n_draws", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def best_linear(aucs: pd.DataFrame, linear: Sequence[str]) -> str:
    """Name the linear baseline with the largest mean over draws; empty if none was scored."""
    means = aucs[[name for name in aucs.columns if name in linear]].mean()
    return str(means.idxmax()) if means.notna().any() else ""


def _groups(units: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Split units by regime and n, and after that by template where there are several."""
    groups = []
    for (regime, n), cohorts in units.groupby(["regime", "n"], sort=False):
        groups.append(({"regime": regime, "template": "", "n": n}, cohorts))
        if "template" not in cohorts or cohorts["template"].nunique() < 2:
            continue
        for template, own in cohorts.groupby("template", sort=False):
            groups.append(({"regime": regime, "template": template, "n": n}, own))
    return groups


def _by_model(cohorts: pd.DataFrame) -> pd.DataFrame:
    return cohorts.pivot_table(
        index="draw", columns="model", values="auc", sort=False, dropna=False
    )


def _compare(aucs: pd.DataFrame, model: str, best: str) -> dict[str, Any]:
    nothing = pd.Series(np.nan, index=aucs.index)
    own, rival = aucs.get(model, nothing), aucs.get(best, nothing)
    mean, difference = t_interval(own), t_interval(own - rival)
    oracle = aucs.get(ORACLE, nothing)
    # there is nothing to find in regime null
    tops = {ORACLE: oracle, CEILING: aucs.get(CEILING, nothing)} if oracle.mean() > 0.5 else {}
    shares = {name: _share(own, rival, top) for name, top in tops.items() if name != model}
    return {
        "mean_auc": mean.mean,
        "ci_low": float(np.clip(mean.low, 0, 1)),  # an AUC is no less and no more
        "ci_high": float(np.clip(mean.high, 0, 1)),
        "n_draws": int(own.notna().sum()),
        "best_linear": best,
        "difference": difference.mean,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "to_oracle": shares.get(ORACLE, float("nan")),
        "to_ceiling": shares.get(CEILING, float("nan")),
    }


def _share(own: pd.Series, rival: pd.Series, top: pd.Series) -> float:
    """Share of the way from a rival to what can be had, over the draws that all three have."""
    room = (top - rival)[own.notna()].mean()
    return float((own - rival)[top.notna()].mean() / room) if room >= LEAST_ROOM else float("nan")
