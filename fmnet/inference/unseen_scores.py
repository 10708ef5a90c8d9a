"""Scores of a study's people by models that had not seen them: what new scores are judged by.

A run writes them as ``unseen.json``, without names and in ascending order.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnet.errors import BundleError, Fault
from fmnet.inference.bundle_files import Kind, is_number, read_fields

Floats = NDArray[np.float64]
#: As how many times fewer people's scores, were they independent, out-of-fold scores tell what new
#: people get from the exported model. They are not: models of different folds share most of their
#: people, whoever is scored was learned from by the models that score the others, and the exported
#: model has a middle and a spread of its own, which theirs show in the mean alone. Set by
#: simulation, see ``suite=coverage``.
DEPENDENCE = 2.0
#: The same for intervals of probabilities and predictive values, to which the separation of the
#: groups matters more than to sets.
INTERVAL_DEPENDENCE = 3.0
#: Largest score, of any sign, that is taken for one, and most people of a group.
MAX_SCORE, MAX_PEOPLE = 1e6, 100_000


def _is_scores(value: Any) -> bool:
    is_filled = isinstance(value, list) and 0 < len(value) <= MAX_PEOPLE
    return is_filled and all(is_number(one) and abs(one) <= MAX_SCORE for one in value)


_SCORES = Kind(f"a list of numbers up to {MAX_SCORE:g}, one for each person", _is_scores)
#: What is relied on of the file.
FIELDS = {"positive": _SCORES, "negative": _SCORES}


@dataclass(frozen=True, eq=False)
class UnseenScores:
    """One out-of-fold score of each person of a study, on the scale of the exported model.

    Parameters
    ----------
    positive, negative : ndarray of float, shapes (N_positive,) and (N_negative,)
        In ascending order, see `gather_unseen`.
    """

    positive: Floats
    negative: Floats

    def to_json(self) -> dict[str, Any]:
        """Write as plain values, six digits each."""
        return {
            name: [float(f"{score:.6g}") for score in np.sort(getattr(self, name))]
            for name in FIELDS
        }


def gather_unseen(
    scores: ArrayLike,
    labels: ArrayLike,
    participants: ArrayLike,
    models: ArrayLike,
    scale: tuple[float, float] | None = None,
) -> UnseenScores:
    """Give each person one score, on the scale of the exported model and spread as its scores are.

    How models of folds differ in their scales is a part of what isn't known of the exported model,
    and stays in; but where its scale is known, theirs are taken out, each as far as they differ by
    more than a fold's few people do by chance. The mean of a person's scores by several models is
    surer than the score that one model will give to somebody new; so means are moved away from that
    of their group until they lie as far from it as single scores do.

    Parameters
    ----------
    scores : array-like of float, shape (N,)
        Out-of-fold scores, of several scans and by several models perhaps.
    labels : array-like of int, shape (N,)
        1 for the positive group, else 0.
    participants, models : array-like, shape (N,)
        Whose scores they are, and by which models.
    scale : (float, float), optional
        Half-way between the groups, and SD within them, of the exported model's scores of people it
        has not seen; None where it is like those of folds.
    """
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=int)
    if scale is not None:
        x = _on_one_scale(x, y, np.unique(np.asarray(models), return_inverse=True)[1], scale)
    whose = np.asarray(participants).astype(str)
    found = []
    for label in (1, 0):
        own = x[y == label]
        _, number, counts = np.unique(whose[y == label], return_inverse=True, return_counts=True)
        means = np.bincount(number, own) / counts
        middle = means.mean()
        # people count alike, however many scores there are of them
        single = float(np.mean(np.bincount(number, (own - middle) ** 2) / counts))
        spread = float(np.mean((means - middle) ** 2))
        factor = np.sqrt(single / spread) if spread > 0 else 1.0
        found.append(np.sort(middle + factor * (means - middle)))
    return UnseenScores(*found)


def _on_one_scale(
    x: Floats, y: NDArray[np.int_], models: NDArray[np.intp], scale: tuple[float, float]
) -> Floats:
    """Bring scores of several models, numbered from 0, onto one scale: (N,)."""
    middles, logs, counts = [], [], []
    for number in range(models.max() + 1):
        groups = [x[(models == number) & (y == label)] for label in (1, 0)]
        sizes = [len(own) for own in groups]
        variance = 0.0
        if min(sizes) > 0 and sum(sizes) > 2:
            variance = sum(((own - own.mean()) ** 2).sum() for own in groups) / (sum(sizes) - 2)
        is_known = variance > 0
        middles.append((groups[0].mean() + groups[1].mean()) / 2 if is_known else np.nan)
        logs.append(np.log(variance) / 2 if is_known else np.nan)
        counts.append((sum(sizes) - 2, sum(1 / max(size, 1) for size in sizes) / 4))
    known = np.isfinite(logs)
    if not known.any():
        return x
    freedom, inverse = np.array(counts, dtype=float).T
    sds = np.exp(_shrink(np.array(logs), 1 / (2 * np.maximum(freedom, 1)), known))
    own_middles = _shrink(np.array(middles), sds**2 * inverse, known)
    return np.asarray(scale[0] + scale[1] * (x - own_middles[models]) / sds[models])


def _shrink(values: Floats, variances: Floats, known: NDArray[np.bool_]) -> Floats:
    """Draw values, (K,), to their mean as far as their variances explain how they differ.

    Those that aren't known become the mean.
    """
    own, chance = values[known], variances[known]
    mean = float(np.average(own, weights=1 / chance))
    beyond = 0.0
    if len(own) > 1:
        beyond = max(0.0, float(((own - mean) ** 2).sum() / (len(own) - 1) - chance.mean()))
    shrunken = np.full(len(values), mean)
    shrunken[known] += (own - mean) * beyond / (beyond + chance)
    return shrunken


def read_unseen(path: Path) -> UnseenScores:
    """Read scores that a run wrote.

    Raises
    ------
    BundleError
        If the file can't be read, or holds something else.
    """
    fields = read_fields(path, FIELDS)
    read = [np.array(fields[name], dtype=float) for name in FIELDS]
    if any((np.diff(one) < 0).any() for one in read):
        accepted, action = "scores in ascending order", "export again"
        raise BundleError(Fault(str(path), "scores in another order", accepted, action))
    return UnseenScores(*read)


def write_unseen(unseen: UnseenScores, path: Path) -> None:
    """Write scores without names, in ascending order."""
    path.write_text(json.dumps(unseen.to_json(), indent=1, allow_nan=False) + "\n", "utf-8")
