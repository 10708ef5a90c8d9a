"""Figures of models from their out-of-fold scores, each with its interval over subjects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import binomtest
from scipy.stats import t as student

Floats = NDArray[np.float64]
Interval = list[float | None]

#: What probabilities are stated for: groups equally common. Who is above it is called positive.
BASE_RATE = 0.5
#: Prevalences at which predictive values are stated.
PREVALENCES = (0.02, 0.10, 0.50)
#: Equally wide bins of the expected calibration error.
N_BINS = 10
#: Probabilities are kept this far from 0 and 1 in the log loss.
CLIP = 1e-6
#: How much the variance that is expected counts beside that measured in the cohort, which a few
#: dozen people tell poorly: an AUC that is high by luck would be too sure of itself.
EXPECTED = 0.3
#: Columns of a table of folds that are no models.
FOLD = ("repeat", "fold", "n_test", "n_train", "n_pairs")


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

    def plain_auc(self) -> float:
        """AUC in which each scan counts once."""
        return self.auc(np.ones(len(self.units)))

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
        training people add is `training_variance`, nothing where `n_repeats` of cross-validation
        is None, as nobody who is tested has trained the model of another. Unless a subject has
        scans of both classes, `expected_logit_se` is weighed in, and what is expected at chance is
        the least: on this scale no other AUC varies less.

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
        by_unit = member.T @ ((self.won - auc * self.met) / total) @ member  # (U, U)
        # pairs within a subject stand once
        shared = by_unit + by_unit.T - np.diag(np.diag(by_unit))
        twice = np.triu(shared, 1)
        counts = self.n_units()
        few = np.prod([n / max(n - 1, 1) for n in counts])
        variance = few * ((shared.sum(axis=1) ** 2).sum() - (twice**2).sum())
        if n_repeats is not None:
            variance *= 1 + training_variance(auc)
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
    units = predictions.drop_duplicates("scan_id").set_index("scan_id")[_unit(predictions)]
    won, met = np.zeros((2, len(scans), len(scans)))
    for _, fold in predictions.groupby(["repeat", "fold"]):
        rows = scans.get_indexer(fold["scan_id"])
        label, score = fold["label"].to_numpy(int), fold["score"].to_numpy(float)
        positive, negative = label == 1, label == 0
        higher = np.sign(score[positive][:, None] - score[negative][None]) / 2 + 0.5
        cells = np.ix_(rows[positive], rows[negative])
        won[cells] += higher
        met[cells] += 1
    return PairCounts(won, met, pd.factorize(units.loc[scans])[0])


def add_units(predictions: pd.DataFrame, unit_of: Mapping[str, str]) -> pd.DataFrame:
    """Add what a bootstrap draws as one: column ``unit``, the family where there is one."""
    return predictions.assign(unit=[unit_of[name] for name in predictions["participant_id"]])


def _unit(predictions: pd.DataFrame) -> str:
    return "unit" if "unit" in predictions else "participant_id"


def draw_weights(n_units: int, n_draws: int, seed: int) -> Floats:
    """Draw subjects with replacement: how often each was drawn, (n_draws, n_units)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_draws).astype(float)


def rates(called: Floats, label: Floats, weights: Floats) -> dict[str, Floats]:
    """Compute what follows from calls, (R,), for each of D rows of weights, (D, R): (D,) each.

    NaN where a class has no weight. A model that calls everybody alike has an MCC of 0.
    """
    true_positive, false_negative = weights @ (called * label), weights @ ((1 - called) * label)
    false_positive = weights @ (called * (1 - label))
    true_negative = weights @ ((1 - called) * (1 - label))
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = true_positive / (true_positive + false_negative)
        specificity = true_negative / (true_negative + false_positive)
        scale = np.sqrt(
            (true_positive + false_positive)
            * (true_positive + false_negative)
            * (true_negative + false_positive)
            * (true_negative + false_negative)
        )
        mcc = (true_positive * true_negative - false_positive * false_negative) / scale
    mcc = np.where((scale == 0) & np.isfinite(sensitivity + specificity), 0.0, mcc)
    return {
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "mcc": mcc,
    }


def probability_errors(probability: Floats, label: Floats, weights: Floats) -> dict[str, Floats]:
    """Compute how far probabilities, (R,), are off, for each of D rows of weights: (D,) each.

    Both groups count alike, whatever their sizes, as probabilities are stated for groups equally
    common: whoever gives 0.5 to everybody has a Brier score of 0.25 and an expected calibration
    error (``ece``, over ten bins) of 0. NaN where a class has no weight.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        one, other = (
            own / own.sum(axis=1, keepdims=True) for own in (weights * label, weights * (1 - label))
        )
    alike = (one + other) / 2  # (D, R), rows sum to 1
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
    """Compute the figures of one model.

    All intervals share the bootstrap draws, of which those without one of the classes are dropped.
    `predictions` are its out-of-fold scores: repeat, fold, participant_id, scan_id, label, score,
    probability.

    Returns
    -------
    dict
        ``auc``, mean over all pairs within test folds, and ``auc_by_repeat``; `rates` of those
        called positive, whose probability is above `BASE_RATE`; `probability_errors`;
        ``predictive_values`` at stated prevalences. Each has its 95 % interval with it,
        ``<name>_ci``: that of the AUC by `auc_interval` from ``auc_logit_se``, those of the others
        percentiles over draws of subjects (families, where `add_units` was called), see also
        `widen_figures`.
    """
    pairs = count_pairs(predictions)
    draws = draw_weights(int(pairs.units.max()) + 1, n_draws, seed)
    # row 0 holds what was observed, the others the draws
    by_unit = np.vstack([np.ones(draws.shape[1]), draws])
    scans = pd.Index(sorted(predictions["scan_id"].unique()))
    weights = by_unit[:, pairs.units[scans.get_indexer(predictions["scan_id"])]]
    label = predictions["label"].to_numpy(float)
    probability = predictions["probability"].to_numpy(float)
    values = rates((probability > BASE_RATE).astype(float), label, weights)
    values |= probability_errors(probability, label, weights)
    auc = _number(pairs.plain_auc())
    n_folds = predictions.groupby("repeat")["fold"].nunique()
    is_crossvalidated = bool(n_folds.max() > 1)
    logit_se = pairs.logit_se(len(n_folds) if is_crossvalidated else None)
    found: dict[str, Any] = {
        "auc": auc,
        "auc_ci": auc_interval(auc, logit_se, *pairs.n_units()),
        "auc_logit_se": logit_se,
    }
    for name, value in values.items():
        known = value[1:][np.isfinite(value[1:])]
        low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
        found |= {name: _number(value[0]), f"{name}_ci": [_number(low), _number(high)]}
    found["auc_by_repeat"] = [
        count_pairs(rows).plain_auc() for _, rows in predictions.groupby("repeat")
    ]
    by_class = predictions.groupby("label")[_unit(predictions)].nunique()
    n_positive, n_negative = (int(by_class.get(label, 0)) for label in (1, 0))
    found = widen_figures(found, n_positive, n_negative, is_crossvalidated)
    # at the rates found, and at the worst and best of their intervals
    sensitivity, specificity = (
        np.array([found[name], *found[f"{name}_ci"]], dtype=float)
        for name in ("sensitivity", "specificity")
    )
    found["predictive_values"] = []
    for prevalence in PREVALENCES:
        row: dict[str, Any] = {"prevalence": prevalence}
        both = predictive_values(sensitivity, specificity, prevalence)
        for name, values_of_rates in zip(("ppv", "npv"), both, strict=True):
            middle, low, high = map(_number, values_of_rates)
            row |= {name: middle, f"{name}_ci": [low, high]}
        found["predictive_values"].append(row)
    return found


def auc_draws(predictions: pd.DataFrame, n_draws: int = 2000, seed: int = 0) -> Floats:
    """AUC of one model for each bootstrap draw of subjects: (n_draws,); other models draw alike."""
    pairs = count_pairs(predictions)
    draws = draw_weights(int(pairs.units.max()) + 1, n_draws, seed)
    return pairs.aucs(draws[:, pairs.units])


def fold_aucs(predictions: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the AUC of each test fold: its place and sizes, `FOLD`, and one column a model."""
    n_subjects = predictions["participant_id"].nunique()
    rows = []
    for (repeat, fold), tested in predictions.groupby(["repeat", "fold"]):
        n_test = tested["participant_id"].nunique()
        pairs = {str(name): count_pairs(one) for name, one in tested.groupby("model")}
        n_pairs = int(next(iter(pairs.values())).met.sum())
        known = (repeat, fold, n_test, n_subjects - n_test, n_pairs)
        aucs = {name: one.plain_auc() for name, one in pairs.items()}
        rows.append(dict(zip(FOLD, known, strict=True)) | aucs)
    order = list(dict.fromkeys(predictions["model"]))
    return pd.DataFrame(rows)[[*FOLD, *order]]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def training_variance(auc: float) -> float:
    """Say how much variance other training people add to an AUC, relative to other test people.

    An AUC of cross-validation varies with who is tested and with who is trained on. A bootstrap of
    people sees the former alone, as the trained models stay as they are: its 95 % intervals hold
    the truth in 92 % with one repeat and in 84 % with ten. What training adds can't be seen in one
    cohort, but it is known at chance: there a linear score is a sum over pairs of people, and a
    pair that tests one by training on the other does the reverse in another fold, so that half of
    the covariances are never counted, and the variance is twice that of the models as they are.

    So it is 1 at chance, and 0 for a perfect AUC, with which nothing is left to gain. In between
    it depends on how much of what there is to learn was learned, which one cohort doesn't tell.
    In simulated cohorts of 24 to 70 people with ten repeats it was .6 to 1.3 at an AUC of .65, .2
    to 1.3 at .8 and 0 to 1.1 at .92 for ridge regression on 12 to 2000 features (each with the
    larger values where more is left to learn); on smooth maps 1.1 to 1.2 throughout for a shrinkage
    LDA, but less than 0 for a linear SVM where the effect is strong. ``sqrt(4 * auc * (1 - auc))``,
    .95, .8 and .54, errs to the wide side in most of them. It is meant for cross-validation: where
    nobody who is tested has trained the model of another, nothing is added.
    """
    return float(np.sqrt(4 * auc * (1 - auc)))


def auc_variance(auc: float, n_positive: int, n_negative: int) -> float:
    """Variance of the AUC of a model tested on people it was not trained among.

    References
    ----------
    Hanley, J. A., & McNeil, B. J. (1982). The meaning and use of the area under a ROC curve.
    Radiology, 143.
    """
    both_positive = auc / (2 - auc)
    both_negative = 2 * auc**2 / (1 + auc)
    return (
        auc * (1 - auc)
        + (n_positive - 1) * (both_positive - auc**2)
        + (n_negative - 1) * (both_negative - auc**2)
    ) / (n_positive * n_negative)


def expected_logit_se(auc: float, n_positive: int, n_negative: int, n_repeats: int | None) -> float:
    """Compute the standard error of the logit of an AUC that so many people lead to expect.

    That of Hanley and McNeil, with what training adds in cross-validation (`n_repeats` is None for
    a model tested on people it was not trained among). Test people alone vary by 1.05 of their
    variance with one repeat, where each is held against a fifth of the others, and by 0.8 with
    many, over which the models' own luck is averaged (simulated as in `training_variance`).
    """
    variance = auc_variance(auc, n_positive, n_negative)
    if n_repeats is not None:
        variance *= (0.8 + 0.25 / n_repeats) * (1 + training_variance(auc))
    return float(np.sqrt(variance)) / (auc * (1 - auc))


def auc_interval(
    auc: float | None, logit_se: float | None, n_positive: int, n_negative: int
) -> Interval:
    """Make the 95 % interval of a model's AUC: the one place where this is done.

    It is made on the logit scale, so that it ends within 0 and 1 and is wider towards chance, with
    quantiles of Student's t. An AUC of 0 or 1 gets at least Wilson's interval of a fraction of the
    smaller class.

    `logit_se` is ``auc_logit_se`` of `model_metrics`, which hardly depends on the AUC, so that it
    also serves for one that was corrected. Low and high are None where nothing is known.

    References
    ----------
    Pepe, M. S. (2003). The statistical evaluation of medical tests for classification and
    prediction (intervals of the AUC on the logit scale). Oxford University Press.
    Bengio, Y., & Grandvalet, Y. (2004). No unbiased estimator of the variance of k-fold
    cross-validation. J. Mach. Learn. Res., 5.
    """
    fewest = min(n_positive, n_negative)
    if auc is None or logit_se is None or fewest < 1:
        return [None, None]
    n_pairs = n_positive * n_negative
    inner = (auc * n_pairs + 0.5) / (n_pairs + 1) if auc in {0.0, 1.0} else auc
    half = float(student.ppf(0.975, max(n_positive + n_negative - 2, 1))) * logit_se
    low, high = expit(logit(inner) - half), expit(logit(inner) + half)
    interval: Interval = [float(low), float(high)]
    return widen(interval, wilson(auc, fewest)) if auc in {0.0, 1.0} else interval


def wilson(fraction: float, n: int) -> tuple[float, float]:
    """Compute the 95 % interval of a fraction of `n` people, which may lie between two counts.

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference.
    J. Am. Stat. Assoc., 22.
    """
    bounds = [
        binomtest(int(round_(fraction * n)), n).proportion_ci(method="wilson")
        for round_ in (np.floor, np.ceil)
    ]
    return float(bounds[0].low), float(bounds[1].high)


def widen(interval: Interval, bounds: tuple[float, float]) -> Interval:
    """Take the wider of two intervals on each side; what is unknown gives way."""
    low, high = interval
    return [
        bounds[0] if low is None else min(low, bounds[0]),
        bounds[1] if high is None else max(high, bounds[1]),
    ]


def widen_figures(
    found: dict[str, Any], n_positive: int, n_negative: int, is_crossvalidated: bool
) -> dict[str, Any]:
    """Widen the bootstrap intervals of calls where they are too good to be true.

    A bootstrap of people who were all judged rightly never draws a mistake: its interval is
    [1, 1], whether there were four people or four hundred. Sensitivity and specificity get at least
    their Wilson interval.

    The intervals of balanced accuracy and MCC grow by what other training people would change, as
    that of the AUC does: by themselves they hold the truth in .82 to .90 of simulated cohorts of 24
    to 70 people, widened by somewhat less than this in .93 to .99. Those of sensitivity and
    specificity hold it in .92 to .97 as they are: what training does to one it undoes to the other.

    `found` holds the figures of a model with their ``_ci``; people (or families) of each class are
    counted; `is_crossvalidated` where people who are tested have trained the models of others.
    """
    changed = dict(found)
    accuracy = found["balanced_accuracy"]
    if is_crossvalidated and accuracy is not None:
        factor = float(np.sqrt(1 + training_variance(accuracy)))
        for name, least in (("balanced_accuracy", 0.0), ("mcc", -1.0)):
            value = found[name]
            if value is not None and None not in found[f"{name}_ci"]:
                edges = [value + factor * (edge - value) for edge in found[f"{name}_ci"]]
                changed[f"{name}_ci"] = [max(edges[0], least), min(edges[1], 1.0)]
    rates = {"sensitivity": n_positive, "specificity": n_negative}
    known = {name: n for name, n in rates.items() if found[name] is not None and n}
    bounds = {name: wilson(found[name], n) for name, n in known.items()}
    for name, own in bounds.items():
        changed[f"{name}_ci"] = widen(found[f"{name}_ci"], own)
    if len(bounds) == 2 and accuracy in {0.0, 1.0}:
        low, high = (float(np.mean([own[side] for own in bounds.values()])) for side in (0, 1))
        changed["balanced_accuracy_ci"] = widen(changed["balanced_accuracy_ci"], (low, high))
        changed["mcc_ci"] = widen(changed["mcc_ci"], (2 * low - 1, 2 * high - 1))
    return changed
