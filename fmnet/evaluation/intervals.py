"""Intervals of figures: how far a figure of this cohort may lie from its mean over such cohorts.

An AUC of cross-validation varies with who is tested and with who is trained on. A bootstrap of
people sees the former alone, as the trained models stay as they are: its 95 % intervals hold the
truth in 92 % with one repeat and in 84 % with ten. What training adds can't be seen in one cohort,
but it is known at chance. There a linear score is a sum over pairs of people, and a pair that
tests one by training on the other does the reverse in another fold, so that half of the covariances
are never counted: the variance is twice that of the models as they are. With an AUC of 1 nothing
is left to gain by other training people. `training_share` goes from the one to the other.
"""

from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import binomtest
from scipy.stats import t as student

Interval = list[float | None]

#: How much the variance that is expected counts beside that measured in the cohort, which a few
#: dozen people tell poorly: an AUC that is high by luck would be too sure of itself.
EXPECTED = 0.3


def training_share(auc: float) -> float:
    """Say how much variance other training people add to an AUC, relative to other test people.

    1 at chance, by theory for linear models (see the module), and 0 for a perfect AUC. In between
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

    That of Hanley and McNeil, with what training adds. Test people alone vary by 1.05 of their
    variance with one repeat, where each is held against a fifth of the others, and by 0.8 with
    many, over which the models' own luck is averaged (simulated cohorts, as in `training_share`).

    Parameters
    ----------
    auc : float
        Between 0 and 1.
    n_positive, n_negative : int
        People.
    n_repeats : int or None
        Of cross-validation; None for a model tested on people it was not trained among.
    """
    variance = auc_variance(auc, n_positive, n_negative)
    if n_repeats is not None:
        variance *= (0.8 + 0.25 / n_repeats) * (1 + training_share(auc))
    return float(np.sqrt(variance)) / (auc * (1 - auc))


def auc_interval(
    auc: float | None, logit_se: float | None, n_positive: int, n_negative: int
) -> Interval:
    """Make the 95 % interval of a model's AUC: the one place where this is done.

    It is made on the logit scale, so that it ends within 0 and 1 and is wider towards chance, with
    quantiles of Student's t. An AUC of 0 or 1 gets at least Wilson's interval of a share of the
    smaller class.

    Parameters
    ----------
    auc : float or None
        The AUC, perhaps corrected for a choice.
    logit_se : float or None
        Standard error of its logit, ``auc_logit_se`` of `model_metrics`. That
        hardly depends on the AUC, so that it also serves for one that was corrected.
    n_positive, n_negative : int
        People, or families, of each class.

    Returns
    -------
    list
        Low and high; None, None where nothing is known.

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


def is_below_chance(figures: dict[str, Any]) -> bool:
    """Tell whether the interval of a model's AUC lies wholly below 0.5: worse than guessing."""
    high = figures["auc_ci"][1]
    return high is not None and high < 0.5


def wilson(share: float, n: int) -> tuple[float, float]:
    """Compute the 95 % interval of a share of `n` people; the share may lie between two counts.

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference.
    J. Am. Stat. Assoc., 22.
    """
    bounds = [
        binomtest(int(round_(share * n)), n).proportion_ci(method="wilson")
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

    Parameters
    ----------
    found : dict
        Figures of a model with their ``_ci``.
    n_positive, n_negative : int
        People (or families) of each class.
    is_crossvalidated : bool
        Whether people who are tested have trained the models of others.
    """
    changed = dict(found)
    accuracy = found["balanced_accuracy"]
    if is_crossvalidated and accuracy is not None:
        factor = float(np.sqrt(1 + training_share(accuracy)))
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
