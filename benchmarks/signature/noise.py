"""How backgrounds vary, and how strongly the maps of a cohort speak for each candidate place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from benchmarks.power.oracle import LEAST_SD
from benchmarks.power.planted import PlantedCohort
from fmnet.data.volume import FloatArray

Floats = NDArray[np.float64]

#: Variance in every direction, beside that along the axes in which the cohort's backgrounds differ,
#: relative to the mean over all directions. Of 0.1, 0.5, 1 and 2, the one with which a region of
#: 9 mm stands out most from backgrounds under random labels (see docs/signature_benchmark.md).
REST = 0.5
#: Parts of the cohort whose backgrounds are looked at by noise learned from the others, and how
#: many candidates it is tried with: they fit better than such a model of noise has it.
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
        Variance in every direction, the axes included.
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


def fit_spread(centred: FloatArray, n_means: int) -> Spread:
    """Learn how backgrounds, (N, D), vary about `n_means` means that were taken off."""
    sd = centred.std(axis=0)
    # where nobody has data, the mean that is filled in varies by rounding alone
    varies = sd > LEAST_SD * np.median(sd)
    weight = np.divide(1, sd, out=np.zeros_like(sd), where=varies)
    standard = centred * weight
    eigenvalues, vectors = np.linalg.eigh(np.asarray(standard @ standard.T, dtype=float))
    kept = eigenvalues > eigenvalues.max() * 1e-6
    axes = (vectors[:, kept] / np.sqrt(eigenvalues[kept])).T @ standard
    variance = eigenvalues[kept] / (len(centred) - n_means)
    rest = REST * float(variance.sum() / centred.shape[1])
    share = variance / (variance + rest)  # Woodbury
    return Spread(weight, axes.astype(np.float32), share.astype(np.float32), rest)


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

    Products are about the noise, whose size is calibrated on backgrounds that it isn't of.

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
    centred = center_groups(background, labels)
    spread = fit_spread(centred, n_means=2)
    contrast = contrast_of(labels)
    root = np.float32(1 / np.sqrt((contrast**2).sum()))
    scale = np.asarray(planted.effect.size * planted.effect.noise_sd, dtype=np.float32)
    scaled = shapes * scale.ravel()[None]
    scaled = scaled.tocsr() if hasattr(scaled, "tocsr") else scaled
    whitened, along = spread.whitened(scaled * root)
    seen, seen_along = spread.whitened((contrast @ planted.values[:, 0])[None] * root)
    fit = np.asarray(whitened @ seen[0] - along @ seen_along[0], dtype=float)
    tried = rng.permutation(scaled.shape[0])[:N_TRIED]
    inflation = _inflation(background, planted.families, scaled[tried])
    size = np.float32(np.sqrt(inflation))
    variance = inflation / float(root) ** 2
    return Evidence(fit / inflation, whitened / size, along / size, spread, variance)


def _inflation(background: FloatArray, families: Sequence[str], shapes: Any) -> float:
    """Say how many times as large as it is taken for the noise of unseen people is: 1 or more."""
    sizes = []
    for train, test in GroupKFold(N_FOLDS).split(background, groups=families):
        mean = background[train].mean(axis=0)
        spread = fit_spread(background[train] - mean, n_means=1)
        whitened, along = spread.whitened(shapes)
        seen, seen_along = spread.whitened(background[test] - mean)
        fit = np.asarray(whitened @ seen.T - along @ seen_along.T)  # (M, N_test)
        size = np.maximum(product_with_itself(whitened, along), 1e-12)
        sizes.append(float((fit**2 / size[:, None]).mean()))
    return max(1.0, float(np.mean(sizes)))
