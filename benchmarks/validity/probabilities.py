"""Whether probabilities hold for people whom the model has never seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from benchmarks.validity.measures import Cell, Measure
from benchmarks.validity.people import Floats, People, draw_cohort, fit, strength_for
from fmnet.inference.calibration import Calibration
from fmnet.training.calibration import fit_calibration
from fmnet.types import Count, Fraction

#: What stands for the people of one group who are new: quantiles of their scores.
QUANTILES = norm.ppf((np.arange(100) + 0.5) / 100)


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
    aucs: Sequence[Fraction] = (0.6, 0.7, 0.8, 0.9)
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
    """Calibrate on scores, (R, N), of the first repeats, as `fmnet.runs.record` does."""
    scores = out_of_fold[:n_repeats].ravel()
    fold_of = np.empty((n_repeats, len(people.labels)), dtype=int)
    for number, split in enumerate(people.splits):
        if split.repeat < n_repeats:
            fold_of[split.repeat, split.test] = number
    labels = np.tile(people.labels, n_repeats)
    whose = np.tile(np.arange(len(people.labels)), n_repeats)
    return fit_calibration(scores, labels, participants=whose, models=fold_of.ravel())


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
