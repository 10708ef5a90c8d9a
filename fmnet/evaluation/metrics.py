"""Figures from out-of-fold scores, each with its interval over subjects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.crossval.fold_loop import NETWORK
from fmnet.evaluation.comparison import FOLD, compare_models
from fmnet.evaluation.intervals import (
    EXPECTED,
    auc_interval,
    expected_logit_se,
    training_share,
    widen_figures,
)
from fmnet.training.calibration import BASE_RATE

Floats = NDArray[np.float64]
#: Prevalences at which predictive values are stated.
PREVALENCES = (0.02, 0.10, 0.50)
#: Equally wide bins of the expected calibration error.
N_BINS = 10
#: Probabilities are kept this far from 0 and 1 in the log loss.
CLIP = 1e-6


@dataclass(frozen=True, eq=False)
class PairCounts:
    """For each pair of scans, how often they stood in one test fold and which scored higher.

    Scores are compared only within a fold: networks of different folds have no common scale, and
    pooling them biases the AUC (a constant predictor would fall below 0.5).

    Parameters
    ----------
    won, met : ndarray of float, shape (N, N)
        Positive scan in the row, negative in the column; a tie counts one half.
    units : ndarray of int, shape (N,)
        Number of the subject that each scan belongs to.
    """

    won: Floats
    met: Floats
    units: NDArray[np.intp]

    def auc(self, weights: Floats) -> float:
        """AUC with scan weights, (N,)."""
        return float(self.aucs(weights[None])[0])

    def aucs(self, weights: Floats) -> Floats:
        """AUC for each of D rows of scan weights, (D, N): (D,); NaN where no pair has weight."""
        won = np.einsum("dn,dn->d", weights @ self.won, weights)
        met = np.einsum("dn,dn->d", weights @ self.met, weights)
        with np.errstate(invalid="ignore"):
            return np.asarray(won / met)

    def n_units(self) -> tuple[int, int]:
        """Count the subjects (or families) with positive scans, and those with negative ones."""
        is_positive, is_negative = self.met.any(axis=1), self.met.any(axis=0)
        return len(set(self.units[is_positive])), len(set(self.units[is_negative]))

    def logit_se(self, n_repeats: int | None) -> float | None:
        """Compute the standard error of the logit of the AUC; None if there are no pairs.

        Two pairs vary together if they share a subject, as a positive or a negative: the variance
        is that of the sums over each subject's pairs, less what was counted twice. What other
        training people add is `training_share`. Unless a subject has scans of both classes,
        `expected_logit_se` is weighed in, and what is
        expected at chance is the least: on this scale no other AUC varies less.

        Parameters
        ----------
        n_repeats : int or None
            Of cross-validation; None where nobody who is tested has trained the model of another.

        References
        ----------
        Aronow, P. M., Samii, C., & Assenova, V. A. (2015). Cluster-robust variance estimation for
        dyadic data. Political Analysis, 23.
        DeLong, E. R., DeLong, D. M., & Clarke-Pearson, D. L. (1988). Comparing the areas under two
        or more correlated receiver operating characteristic curves. Biometrics, 44.
        """
        total = self.met.sum()
        if not total:
            return None
        if (self.won == self.met / 2).all():  # all alike: nothing can vary
            return 0.0
        auc = self.won.sum() / total
        member = np.eye(self.units.max() + 1)[self.units]  # (N, U)
        parts = member.T @ ((self.won - auc * self.met) / total) @ member
        own = np.diag(parts)
        shared = parts + parts.T - np.diag(own)  # (U, U); pairs within a subject stand once
        twice = np.triu(shared, 1)
        counts = self.n_units()
        few = np.prod([n / max(n - 1, 1) for n in counts])
        variance = few * ((shared.sum(axis=1) ** 2).sum() - (twice**2).sum())
        if n_repeats is not None:
            variance *= 1 + training_share(auc)
        inner = (auc * total + 0.5) / (total + 1) if auc in {0.0, 1.0} else auc
        measured = max(variance, 0.0) / (inner * (1 - inner)) ** 2
        if sum(counts) > self.units.max() + 1:  # somebody is in both classes
            return float(np.sqrt(measured))
        expected = expected_logit_se(inner, *counts, n_repeats) ** 2
        se = np.sqrt((1 - EXPECTED) * measured + EXPECTED * expected)
        return float(max(se, expected_logit_se(0.5, *counts, n_repeats)))


def count_pairs(predictions: pd.DataFrame) -> PairCounts:
    """Compare the scans of each test fold; `predictions` holds one model."""
    scans = pd.Index(sorted(predictions["scan_id"].unique()))
    people = predictions.drop_duplicates("scan_id").set_index("scan_id")[_unit(predictions)]
    won, met = np.zeros((2, len(scans), len(scans)))
    for _, fold in predictions.groupby(["repeat", "fold"]):
        rows = scans.get_indexer(fold["scan_id"])
        label, score = fold["label"].to_numpy(int), fold["score"].to_numpy(float)
        positive, negative = label == 1, label == 0
        higher = np.sign(score[positive][:, None] - score[negative][None]) / 2 + 0.5
        cells = np.ix_(rows[positive], rows[negative])
        won[cells] += higher
        met[cells] += 1
    return PairCounts(won, met, pd.factorize(people.loc[scans])[0])


def add_units(predictions: pd.DataFrame, unit_of: Mapping[str, str]) -> pd.DataFrame:
    """Say who is drawn together in a bootstrap: column ``unit``, the family where there is one."""
    return predictions.assign(unit=[unit_of[person] for person in predictions["participant_id"]])


def _unit(predictions: pd.DataFrame) -> str:
    return "unit" if "unit" in predictions else "participant_id"


def draw_weights(n_units: int, n_draws: int, seed: int) -> Floats:
    """Draw subjects with replacement: how often each was drawn, (n_draws, n_units)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_draws).astype(float)


def rates(called: Floats, label: Floats, weights: Floats) -> dict[str, Floats]:
    """Compute what follows from calls, (R,), for each of D rows of weights, (D, R).

    Returns
    -------
    dict of ndarray, shape (D,)
        ``sensitivity``, ``specificity``, ``balanced_accuracy`` and ``mcc`` (Matthews correlation);
        NaN where a class has no weight. A model that calls everybody alike has an MCC of 0.
    """
    true_positive, false_negative = weights @ (called * label), weights @ ((1 - called) * label)
    false_positive = weights @ (called * (1 - label))
    true_negative = weights @ ((1 - called) * (1 - label))
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = true_positive / (true_positive + false_negative)
        specificity = true_negative / (true_negative + false_positive)
        spread = np.sqrt(
            (true_positive + false_positive)
            * (true_positive + false_negative)
            * (true_negative + false_positive)
            * (true_negative + false_negative)
        )
        mcc = (true_positive * true_negative - false_positive * false_negative) / spread
    mcc = np.where((spread == 0) & np.isfinite(sensitivity + specificity), 0.0, mcc)
    return {
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "mcc": mcc,
    }


def probability_errors(probability: Floats, label: Floats, weights: Floats) -> dict[str, Floats]:
    """Compute how far probabilities, (R,), are off, for each of D rows of weights, (D, R).

    Both groups count alike, whatever their sizes, as probabilities are stated for groups equally
    common: whoever gives 0.5 to everybody has a Brier score of 0.25 and a calibration error of 0.

    Returns
    -------
    dict of ndarray, shape (D,)
        ``brier``, ``log_loss`` and ``ece``, the expected calibration error over ten bins; NaN where
        a class has no weight.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [
            part / part.sum(axis=1, keepdims=True)
            for part in (weights * label, weights * (1 - label))
        ]
    alike = (shares[0] + shares[1]) / 2  # (D, R), rows sum to 1
    kept = np.clip(probability, CLIP, 1 - CLIP)
    loss = -(label * np.log(kept) + (1 - label) * np.log(1 - kept))
    bins = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    gaps = np.zeros((len(label), N_BINS))
    gaps[np.arange(len(label)), bins] = probability - label
    return {
        "brier": alike @ (probability - label) ** 2,
        "log_loss": alike @ loss,
        "ece": np.abs(alike @ gaps).sum(axis=1),
    }


def predictive_values(
    sensitivity: Floats, specificity: Floats, prevalence: float
) -> tuple[Floats, Floats]:
    """Positive and negative predictive value at a prevalence; NaN where nobody is called so."""
    with np.errstate(invalid="ignore", divide="ignore"):
        hit, miss = sensitivity * prevalence, (1 - sensitivity) * prevalence
        alarm, pass_ = (1 - specificity) * (1 - prevalence), specificity * (1 - prevalence)
        return hit / (hit + alarm), pass_ / (pass_ + miss)


def model_metrics(predictions: pd.DataFrame, n_draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Figures of one model.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold scores of one model: repeat, fold, participant_id, scan_id, label, score,
        probability.
    n_draws : int
        Bootstrap draws for the intervals; all figures share them. Draws without one of the classes
        are dropped.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        ``auc``, mean over all pairs within test folds, and ``auc_by_repeat``; `rates` of those
        called positive, whose probability is above `BASE_RATE`; `probability_errors`;
        ``predictive_values`` at stated prevalences. Each has its 95 % interval beside it,
        ``<name>_ci``: that of the AUC by `fmnet.evaluation.intervals.auc_interval` from
        ``auc_logit_se``, those of the others percentiles over draws of subjects (families, where
        `add_units` was called), see also `fmnet.evaluation.intervals.widen_figures`.
    """
    pairs = count_pairs(predictions)
    draws = draw_weights(int(pairs.units.max()) + 1, n_draws, seed)
    # row 0 holds what was observed, the others the draws
    by_unit = np.vstack([np.ones(draws.shape[1]), draws])
    units = _row_units(predictions, pairs)
    label = predictions["label"].to_numpy(float)
    probability = predictions["probability"].to_numpy(float)
    called = (probability > BASE_RATE).astype(float)
    weights = by_unit[:, units]
    values = rates(called, label, weights)
    values |= probability_errors(probability, label, weights)
    auc = _number(_plain_auc(pairs))
    n_folds = predictions.groupby("repeat")["fold"].nunique()
    is_crossvalidated = bool(n_folds.max() > 1)
    logit_se = pairs.logit_se(len(n_folds) if is_crossvalidated else None)
    found: dict[str, Any] = {
        "auc": auc,
        "auc_ci": auc_interval(auc, logit_se, *pairs.n_units()),
        "auc_logit_se": logit_se,
    }
    for name, value in values.items():
        found |= _with_interval(name, value)
    found["auc_by_repeat"] = [
        _plain_auc(count_pairs(rows)) for _, rows in predictions.groupby("repeat")
    ]
    by_class = predictions.groupby("label")[_unit(predictions)].nunique()
    n_by_class = [int(by_class.get(label, 0)) for label in (1, 0)]
    found = widen_figures(found, n_by_class[0], n_by_class[1], is_crossvalidated)
    found["predictive_values"] = [_predictive_row(found, prevalence) for prevalence in PREVALENCES]
    return found


def auc_draws(predictions: pd.DataFrame, n_draws: int = 2000, seed: int = 0) -> Floats:
    """AUC of one model for each bootstrap draw of subjects: (n_draws,); other models draw alike."""
    pairs = count_pairs(predictions)
    draws = draw_weights(int(pairs.units.max()) + 1, n_draws, seed)
    return pairs.aucs(draws[:, pairs.units])


def study_metrics(predictions: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Figures of every model in a predictions table, under ``models.<name>``, and comparisons."""
    models = {
        str(name): model_metrics(rows, seed=seed)
        for name, rows in predictions.groupby("model", sort=False)
    }
    first = predictions[predictions["model"] == predictions["model"].iloc[0]]
    scans = first.drop_duplicates("scan_id")
    return {
        "n_subjects": int(first["participant_id"].nunique()),
        "n_scans": len(scans),
        "n_positive": int(scans["label"].sum()),
        "models": models,
        "comparisons": compare_models(fold_aucs(predictions), NETWORK),
    }


def fold_aucs(predictions: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the AUC of each test fold: its place and sizes, `FOLD`, and one column a model."""
    n_subjects = predictions["participant_id"].nunique()
    rows = []
    for (repeat, fold), part in predictions.groupby(["repeat", "fold"]):
        n_test = part["participant_id"].nunique()
        pairs = {str(name): count_pairs(one) for name, one in part.groupby("model")}
        n_pairs = int(next(iter(pairs.values())).met.sum())
        known = (repeat, fold, n_test, n_subjects - n_test, n_pairs)
        aucs = {name: _plain_auc(one) for name, one in pairs.items()}
        rows.append(dict(zip(FOLD, known, strict=True)) | aucs)
    order = list(dict.fromkeys(predictions["model"]))
    return pd.DataFrame(rows)[[*FOLD, *order]]


def _row_units(predictions: pd.DataFrame, pairs: PairCounts) -> NDArray[np.intp]:
    scans = pd.Index(sorted(predictions["scan_id"].unique()))
    return np.asarray(pairs.units[scans.get_indexer(predictions["scan_id"])])


def _plain_auc(pairs: PairCounts) -> float:
    return pairs.auc(np.ones(len(pairs.units)))


def _with_interval(name: str, value: Floats) -> dict[str, Any]:
    draws = value[1:][np.isfinite(value[1:])]
    low, high = np.quantile(draws, [0.025, 0.975]) if len(draws) else (np.nan, np.nan)
    return {name: _number(value[0]), f"{name}_ci": [_number(low), _number(high)]}


def _predictive_row(found: Mapping[str, Any], prevalence: float) -> dict[str, Any]:
    """Compute both values at the rates found, and at the worst and best of their intervals."""
    sensitivity, specificity = (
        np.array([found[name], *found[f"{name}_ci"]], dtype=float)
        for name in ("sensitivity", "specificity")
    )
    values = predictive_values(sensitivity, specificity, prevalence)
    row: dict[str, Any] = {"prevalence": prevalence}
    for name, value in zip(("ppv", "npv"), values, strict=True):
        row |= {name: _number(value[0]), f"{name}_ci": [_number(value[1]), _number(value[2])]}
    return row


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
