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
    scores: ArrayLike, labels: ArrayLike, participants: ArrayLike, models: ArrayLike
) -> UnseenScores:
    """Give each person one score, spread as the scores of a single model are.

    The mean of a person's scores by several models is surer than the score that one model will give
    to somebody new; so means are moved away from that of their group until they lie as far from it
    as single scores do.

    Parameters
    ----------
    scores : array-like of float, shape (N,)
        Out-of-fold scores, of several scans and by several models perhaps.
    labels : array-like of int, shape (N,)
        1 for the positive group, else 0.
    participants, models : array-like, shape (N,)
        Whose scores they are, and by which models.
    """
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=int)
    whose = np.unique(np.asarray(participants).astype(str), return_inverse=True)[1]
    del models
    found = []
    for label in (1, 0):
        own = y == label
        _, number, counts = np.unique(whose[own], return_inverse=True, return_counts=True)
        means = np.bincount(number, x[own]) / counts
        middle = means.mean()
        # of single scores, people counting alike
        single = float(np.mean(np.bincount(number, (x[own] - middle) ** 2) / counts))
        spread = float(np.mean((means - middle) ** 2))
        factor = np.sqrt(single / spread) if spread > 0 else 1.0
        found.append(np.sort(middle + factor * (means - middle)))
    return UnseenScores(*found)


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
