"""The linear map whose dot product with a person's map comes nearest to a network's score."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from fmnet.data.volume import FloatArray
from fmnet.errors import FmnetError
from fmnet.inference.preparation import MapPreparation
from fmnet.networks.backbones import ScoreNetwork
from fmnet.signature.attribution import frozen, gradients
from fmnet.training.fit import predict_scores

#: Penalties of the ridge to choose from, in units of the mean squared norm of scans; infinite for
#: none of it.
PENALTIES = (np.inf, 100.0, 10.0, 1.0, 0.1, 0.01)

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A linear map that stands for a whole network, products and all.

    Parameters
    ----------
    weights : ndarray of float32, shape (C, V)
        In units of score per unit of the unsmoothed map: of a map that is complete in the mask,
        ``(weights * map).sum() + intercept`` is near the network's score.
    intercept : float
    r2 : float
        Fraction of the variance of scores that it explains, in people held out of its fit; below
        0 where the mean score would be nearer.
    slope : float
        Of these people's scores on what it gives for them; 1 is best.
    kind : str
        How it was made: ``mean gradient``, ``ridge``, or both.
    input_weights : ndarray of float32, shape (C, V)
        The same map for prepared inputs.
    input_intercept : float
    """

    weights: FloatArray
    intercept: float
    r2: float
    slope: float
    kind: str
    input_weights: FloatArray
    input_intercept: float

    def scores(self, inputs: FloatArray, mask: NDArray[np.bool_]) -> Floats:
        """Score prepared inputs, (N, C, X, Y, Z), with an in-mask voxel each V: (N,)."""
        values = inputs[:, :, mask].reshape(len(inputs), -1)
        scores = values.astype(float) @ self.input_weights.ravel() + self.input_intercept
        return np.asarray(scores)


class _Form(NamedTuple):
    """What is looked for: with the mean gradient or not, and how much ridge."""

    has_gradient: bool
    penalty: float

    @property
    def kind(self) -> str:
        names = [("mean gradient", self.has_gradient), ("ridge", np.isfinite(self.penalty))]
        return " and ".join(name for name, is_in in names if is_in) or "constant"


class _Products(NamedTuple):
    """Inner products of N scans, (N, N), of scans (rows) with gradients, (N, N), and scores."""

    scans: Floats
    gradients: Floats | None
    scores: Floats


class _Line(NamedTuple):
    """Scores of all N scans, and factors: of the mean gradient, and of each scan fitted to."""

    scores: Floats
    gradient: float
    each: Floats


def fit_surrogate(
    network: ScoreNetwork,
    preparation: MapPreparation,
    values: FloatArray,
    units: Sequence[str],
    seed: int,
    n_folds: int = 5,
) -> Surrogate:
    """Fit the linear map that comes nearest to the score of a whole network.

    The map is the mean gradient of the score over the people, scaled; a ridge regression of the
    score on their scans; or the first, and the second for what it leaves. Which, and how strong a
    ridge, is chosen by squared error in people left out; R2 is that of others, left out of the
    choice too. Where the network was trained on all of them, `explained_variance` in people whom it
    hasn't seen is what counts.

    Parameters
    ----------
    network : ScoreNetwork
    preparation : MapPreparation
        Of the network.
    values : ndarray, shape (N, C, V)
        Unsmoothed maps of people, NaN where missing.
    units : sequence of str
        Whose scan it is, or which family's: what is never split.
    seed : int
        Of the folds.
    n_folds : int
        At most so many, inside and outside.
    """
    inputs = preparation.prepare(values)
    mask = preparation.grid.mask
    with frozen(network):
        scores = predict_scores(network, inputs).astype(float)
    scans = inputs[:, :, mask].reshape(len(inputs), -1)
    try:
        slopes = gradients(network, inputs)[:, :, mask].reshape(len(inputs), -1)
    except FmnetError:  # no gradients: the ridge alone
        slopes = None
    across = None if slopes is None else (scans @ slopes.T).astype(float)
    products = _Products((scans @ scans.T).astype(float), across, scores)
    groups = np.asarray(units)
    everybody = np.arange(len(scores))
    guessed, means = np.empty((2, len(scores)))
    for train, held_out in _folds(everybody, groups, n_folds, seed):
        form = _choose(products, train, groups, n_folds, seed)
        guessed[held_out] = _fit(products, train, form).scores[held_out]
        means[held_out] = scores[train].mean()
    form = _choose(products, everybody, groups, n_folds, seed)
    line = _fit(products, everybody, form)
    weights = line.each @ (scans - scans.mean(0))
    if slopes is not None:
        weights += line.gradient * slopes.mean(0)
    weights = weights.reshape(values.shape[1:]).astype(np.float32)
    at_mean = float(line.scores.mean() - scans.mean(0, dtype=float) @ weights.ravel())
    return Surrogate(
        preparation.weights_of_maps(weights),
        at_mean + float(preparation.intercept_of_maps(weights)),
        _r2(scores, guessed, means),
        _slope(scores, guessed),
        form.kind,
        weights,
        at_mean,
    )


def explained_variance(
    fits: Iterable[tuple[Surrogate, ScoreNetwork, FloatArray]], mask: NDArray[np.bool_]
) -> float:
    """Tell which part of the variance of networks' scores surrogates explain in people unseen.

    Of people whom a network has learned from, R2 flatters: what their scores owe to chance, a line
    along the labels follows.

    Parameters
    ----------
    fits : iterable of (Surrogate, ScoreNetwork, ndarray of shape (N, C, X, Y, Z))
        Of each fold: both, fitted on its training people, and prepared scans of others.
    mask : ndarray of bool, shape (X, Y, Z)
        Of the grid.

    Returns
    -------
    float
        R2 over all folds, scores of each taken from their mean; below 0 where the mean is nearer.
    """
    missed, total = 0.0, 0.0
    for surrogate, network, inputs in fits:
        with frozen(network):
            scores = predict_scores(network, inputs).astype(float)
        missed += float(np.square(scores - surrogate.scores(inputs, mask)).sum())
        total += float(np.square(scores - scores.mean()).sum())
    return 1 - missed / total if total > 0 else 0.0


def _folds(
    rows: Rows, groups: NDArray[np.str_], n_folds: int, seed: int
) -> list[tuple[Rows, Rows]]:
    """Split rows by unit: rows to fit to, and rows held out, of each fold."""
    n_splits = min(n_folds, len(np.unique(groups[rows])))
    splitter = GroupKFold(n_splits, shuffle=True, random_state=seed)
    return [(rows[one], rows[other]) for one, other in splitter.split(rows, groups=groups[rows])]


def _choose(
    products: _Products, rows: Rows, groups: NDArray[np.str_], n_folds: int, seed: int
) -> _Form:
    """Choose what has the least squared error in people left out."""
    has_gradient = [False] if products.gradients is None else [True, False]
    forms = [_Form(*one) for one in product(has_gradient, PENALTIES)]
    folds = _folds(rows, groups, n_folds, seed)
    errors = np.zeros(len(forms))
    for train, held_out in folds:
        for number, form in enumerate(forms):
            guessed = _fit(products, train, form).scores[held_out]
            errors[number] += np.square(products.scores[held_out] - guessed).sum()
    return forms[int(errors.argmin())]


def _fit(products: _Products, rows: Rows, form: _Form) -> _Line:
    """Fit to some rows and score all."""
    y = products.scores[rows]
    along, factor = np.zeros(len(products.scores)), 0.0
    if form.has_gradient and products.gradients is not None:
        along = products.gradients[:, rows].mean(1)
        away = along[rows] - along[rows].mean()
        factor = float(away @ y / max(away @ away, np.finfo(float).tiny))
    line = y.mean() + factor * (along - along[rows].mean())
    each = np.zeros(len(rows))
    if np.isfinite(form.penalty):
        kernel = products.scans[:, rows]
        kernel = kernel - kernel[rows].mean(0)  # both from the mean of the rows
        kernel -= kernel.mean(1, keepdims=True)
        own = kernel[rows]
        ridge = form.penalty * np.diag(own).mean() * np.eye(len(rows))
        each = np.linalg.solve(own + ridge, y - line[rows])
        line = line + kernel @ each
    return _Line(line, factor, each)


def _r2(scores: Floats, guessed: Floats, means: Floats | float) -> float:
    total = np.square(scores - means).sum()
    return float(1 - np.square(scores - guessed).sum() / total) if total > 0 else 0.0


def _slope(scores: Floats, guessed: Floats) -> float:
    away = guessed - guessed.mean()
    return float(away @ scores / total) if (total := away @ away) > 0 else 0.0
