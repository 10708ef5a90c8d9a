"""What voxels add to the linear part of a score, and what a score loses without a region."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.data.signature_map import SignatureMap
from fmnet.data.volume import FloatArray
from fmnet.inference.bundle import Bundle
from fmnet.inference.bundle_files import is_number

#: Inputs that are scored at a time.
N_AT_ONCE = 8


def contributions_of(
    values: FloatArray, weights: SignatureMap, mean: FloatArray
) -> tuple[FloatArray, float | None]:
    """Compute what each voxel adds to the linear part of the score, and the score that it adds to.

    Parameters
    ----------
    values : ndarray, shape (C, V)
        One person's maps on the grid; where there is no data, NaN, nothing is added.
    weights : SignatureMap
        In units of score per unit of the map; ``about["Intercept"]`` completes the score.
    mean : ndarray, shape (C, V)
        Of the training scans, as smooth as the model reads them.

    Returns
    -------
    contributions : ndarray, shape (C, V)
        Weights times what lies above the mean.
    start : float or None
        The linear part at the mean; with the sum of the contributions it is that of the scan. None
        where no intercept is known.
    """
    above = np.where(np.isfinite(values), values - mean, np.float32(0))
    contributions = (weights.values * above).astype(np.float32)
    intercept: Any = weights.about.get("Intercept")
    if not is_number(intercept):
        return contributions, None
    at_mean = float((weights.values.astype(np.float64) * mean).sum())
    return contributions, float(intercept) + at_mean


def effects_of_regions(
    bundle: Bundle, values: FloatArray, regions: NDArray[np.int64], labels: Sequence[int]
) -> NDArray[np.float64]:
    """Compute each region's effect: the score less that with the region at the training mean.

    Parameters
    ----------
    bundle : Bundle
        Of maps, or of maps made from runs.
    values : ndarray, shape (C, V)
        One scan's maps on the grid.
    regions : ndarray of int, shape (V,)
        Number of each in-mask voxel's region, 0 for none.
    labels : sequence of int, R of them
        Which regions.

    Returns
    -------
    ndarray, shape (R,)
        Positive where the region raises the score. All contrasts are set to the mean at once, which
        is 0 in the network's input.
    """
    (image,) = bundle.preparation.inputs(values)  # (C, X, Y, Z)
    placed = bundle.preparation.grid.unmask(regions.astype(np.float32))
    (whole,) = bundle.score(image[None])
    scores = []
    for first in range(0, len(labels), N_AT_ONCE):
        some = labels[first : first + N_AT_ONCE]
        batch = np.stack([np.where(placed == label, np.float32(0), image) for label in some])
        scores.append(bundle.score(batch))
    return np.asarray(whole - np.concatenate(scores), dtype=np.float64)
