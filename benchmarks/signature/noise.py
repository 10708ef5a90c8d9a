"""How backgrounds vary, and how strongly the maps of a cohort speak for each candidate place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from benchmarks.power.oracle import LEAST_SD
from benchmarks.power.planted import PlantedCohort
from fmnet.data.volume import FloatArray

Floats = NDArray[np.float64]

#: Parts of the cohort whose backgrounds are looked at along axes learned from the others, and how
#: many candidates they are compared with.
N_FOLDS, N_TRIED = 5, 1500


@dataclass(frozen=True, eq=False)
class Spread:
    """Backgrounds as normally distributed: a few axes that were seen, and all directions alike.

    Parameters
    ----------
    weight : ndarray of float32, shape (D,)
        One over the SD of each value; 0 where it doesn't vary.
    axes : ndarray of float32, shape (R, D)
        Orthonormal, of values times `weight`.
    share : ndarray of float32, shape (R,)
        Of the variance along each axis, how much is beyond `rest`.
    rest : float
        Variance in every direction, the axes included, of what has the form of candidates.
    """

    weight: FloatArray
    axes: FloatArray
    share: FloatArray
    rest: float

    def whitened(self, rows: Any) -> tuple[Any, FloatArray]:
        """Split rows of values, (A, D) dense or sparse, so that products are about the noise.

        Returns
        -------
        tuple
            Rows over the SD of what is alike in all directions, (A, D), and their parts along the
            axes, (A, R): the product of two rows about the inverse covariance is the product of the
            first less that of the second.
        """
        scaled = rows * (self.weight / np.sqrt(self.rest))[None]
        scaled = scaled.tocsr() if hasattr(scaled, "tocsr") else scaled
        return scaled, np.asarray(scaled @ self.axes.T * np.sqrt(self.share), dtype=np.float32)


class _Axes(NamedTuple):
    """Directions, (R, D), in which standardised people differ, the largest first; `weight` (D,)."""

    weight: FloatArray
    axes: FloatArray


def _find_axes(centred: FloatArray) -> _Axes:
    sd = centred.std(axis=0)
    # where nobody has data, the mean that is filled in varies by rounding alone
    varies = sd > LEAST_SD * np.median(sd)
    weight = np.divide(1, sd, out=np.zeros_like(sd), where=varies)
    standard = centred * weight
    variance, vectors = np.linalg.eigh(np.asarray(standard @ standard.T, dtype=float))
    variance, vectors = variance[::-1], vectors[:, ::-1]
    kept = variance > variance[0] * 1e-6
    axes = (vectors[:, kept] / np.sqrt(variance[kept])).T @ standard
    return _Axes(weight, axes.astype(np.float32))


def fit_spread(
    background: FloatArray, centred: FloatArray, families: Sequence[str], shapes: Any
) -> Spread:
    """Learn how backgrounds, (N, D), vary: along axes of people, and otherwise by unseen people.

    People differ along their own axes by more than others do along these, and by nothing beside
    them. So variances, along axes as along all other directions, are those of people left out.

    Parameters
    ----------
    background, centred : ndarray, shape (N, D)
        As they are, and with means taken off, of which the axes are.
    families : sequence of str
        Who is left out together.
    shapes : sparse or dense array, shape (M, D)
        What is looked for. Backgrounds are smooth, and so vary more in its form than in others.
    """
    along, beside = [], []
    whole = _find_axes(centred)
    for train, test in GroupKFold(N_FOLDS).split(background, groups=families):
        mean = background[train].mean(axis=0)
        weight, axes = _find_axes(background[train] - mean)
        unseen = (background[test] - mean) * weight
        parts = unseen @ axes.T
        own = shapes * weight[None]
        own = own.tocsr() if hasattr(own, "tocsr") else own
        left = own @ (unseen - parts @ axes).T  # (M, N_test)
        size = product_with_itself(own, own @ axes.T)
        known = size > 1e-3 * np.median(size)
        beside.append(float((left[known] ** 2 / size[known, None]).mean()))
        ranks = np.linspace(0, 1, len(axes)), np.linspace(0, 1, len(whole.axes))
        along.append(np.interp(ranks[1], ranks[0], (parts**2).mean(axis=0)))
    rest, variance = float(np.mean(beside)), np.mean(along, axis=0)
    share = np.maximum(1 - rest / variance, 0)  # Woodbury
    return Spread(*whole, share.astype(np.float32), rest)


def center_groups(background: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
    """Take each group's mean off its backgrounds, (N, D): how far the means lie apart is lost."""
    centred = background.copy()
    for label in (0, 1):
        centred[labels == label] -= centred[labels == label].mean(axis=0)
    return centred


def contrast_of(labels: NDArray[np.int64]) -> FloatArray:
    """Weigh people so that their sum is the difference of the groups' means: (N,)."""
    is_one = labels == 1
    weights = np.where(is_one, 1 / is_one.sum(), -1 / (~is_one).sum())
    return np.asarray(weights, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a cohort says of each of M candidates for the difference of the groups, and of pairs.

    Products are about the noise.

    Parameters
    ----------
    fit : ndarray, shape (M,)
        Product of each with what was seen.
    shapes : sparse or dense array, shape (M, V)
        Candidates, in units of the noise that is alike in all directions.
    along : ndarray, shape (M, R)
        Their parts along the axes.
    spread : Spread
        How backgrounds vary within the groups.
    variance : float
        What their covariance is multiplied by for the difference of two groups' means.
    """

    fit: Floats
    shapes: Any
    along: FloatArray
    spread: Spread
    variance: float

    @property
    def size(self) -> Floats:
        """Product of each candidate with itself: (M,)."""
        return product_with_itself(self.shapes, self.along)

    def beside(self, one: int) -> Floats:
        """Product of a candidate with all: (M,)."""
        row = self.shapes[[one]].toarray()[0]
        return np.asarray(self.shapes @ row - self.along @ self.along[one], dtype=float)


def product_with_itself(shapes: Any, along: FloatArray) -> Floats:
    """Multiply each whitened row with itself about the inverse covariance: (A,)."""
    own = np.asarray((shapes * shapes).sum(axis=1)).ravel()
    return np.asarray(own - (along**2).sum(axis=1), dtype=float)


def weigh_difference(planted: PlantedCohort, shapes: Any, rng: Generator) -> Evidence:
    """Compare the difference of the groups' means with what each candidate would make it.

    How backgrounds vary is what they do within the groups: the difference of the groups'
    backgrounds stays unknown, as does their mean.

    Parameters
    ----------
    planted : PlantedCohort
        Of the first contrast alone.
    shapes : sparse or dense array, shape (M, V)
        What candidates add to the mean of the patients, in SDs of the voxels times the amplitude.
    rng : Generator
        Chooses candidates that noise is tried with.
    """
    labels, background = planted.labels, planted.background[:, 0]
    contrast = contrast_of(labels)
    root = np.float32(1 / np.sqrt((contrast**2).sum()))
    scale = np.asarray(planted.effect.size * planted.effect.noise_sd, dtype=np.float32)
    scaled = shapes * scale.ravel()[None]
    scaled = scaled.tocsr() if hasattr(scaled, "tocsr") else scaled
    tried = rng.permutation(scaled.shape[0])[:N_TRIED]
    centred = center_groups(background, labels)
    spread = fit_spread(background, centred, planted.families, scaled[tried])
    whitened, along = spread.whitened(scaled * root)
    seen, seen_along = spread.whitened((contrast @ planted.values[:, 0])[None] * root)
    fit = np.asarray(whitened @ seen[0] - along @ seen_along[0], dtype=float)
    return Evidence(fit, whitened, along, spread, 1 / float(root) ** 2)
