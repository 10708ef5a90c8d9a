"""Agreement of the maps of folds, repeats and seeds, and whether they depend on the labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.baselines.base import Model
from fmnet.data.folds import Fold
from fmnet.evaluation.comparison import p_value
from fmnet.signature.map_agreement import (
    NO_WEIGHTS,
    Floats,
    agreement_of_maps,
    correlation_matrix,
    standard_weights,
)
from fmnet.training.scan_set import ScanSet

#: Largest fraction of maps under permuted labels that may be as alike as those of the same labels.
MAX_ALIKE = 0.05


def agreement_of_folds(
    model: Model,
    data: ScanSet,
    folds: Sequence[Fold],
    regions: NDArray[np.integer[Any]] | None = None,
    reseeded: Sequence[Model] = (),
) -> dict[str, Any]:
    """Learn a model on the training people of each fold and measure how far the maps agree.

    Parameters
    ----------
    model : Model
        One that gives weights of labelings.
    data : ScanSet
        N scans.
    folds : sequence of Fold
        M of them, of one repeat or more.
    regions : ndarray of int, shape (X, Y, Z), optional
        Regions on the grid, 0 for none.
    reseeded : sequence of Model
        The same model with other random numbers; for one that depends on them.

    Returns
    -------
    dict
        ``folds``: of the maps of the first repeat's folds, whose training people overlap;
        ``repeats``: of the means over the folds of each repeat; ``seeds``: of such means of the
        first repeat, by model; each as `agreement_of_maps` gives it, None for fewer than two maps.
        ``weights`` and ``maps``, ndarrays (M, C, V): weights in units of score per unit of the map,
        and standard weights. Or only a ``reason``.
    """
    weights = _fold_weights(model, data, folds)
    if weights is None:
        return {"reason": NO_WEIGHTS}
    first = [fold for fold in folds if fold.repeat == folds[0].repeat]
    others = [_fold_weights(one, data, first) for one in reseeded]
    known = [_standard(one, data, first).mean(axis=0) for one in others if one is not None]
    maps = _standard(weights, data, folds)
    return compare_folds(maps, folds, data, regions, known) | {"weights": weights, "maps": maps}


def compare_folds(
    maps: Floats,
    folds: Sequence[Fold],
    data: ScanSet,
    regions: NDArray[np.integer[Any]] | None = None,
    reseeded: Sequence[Floats] = (),
) -> dict[str, Any]:
    """Measure how far maps of folds, (M, C, V), agree that are there already.

    `reseeded` are means over the folds of the first repeat, (C, V), of the model with other random
    numbers. See `agreement_of_folds`.
    """
    places = None if regions is None else np.asarray(regions)[data.grid.mask]
    repeat = np.array([fold.repeat for fold in folds])
    means = [maps[repeat == one].mean(axis=0) for one in dict.fromkeys(repeat.tolist())]
    sets = {
        "folds": maps[repeat == repeat[0]],
        "repeats": np.stack(means),
        "seeds": np.stack([means[0], *reseeded]),
    }
    return {
        name: agreement_of_maps(own, places) if len(own) > 1 else None for name, own in sets.items()
    }


def _fold_weights(model: Model, data: ScanSet, folds: Sequence[Fold]) -> Floats | None:
    """Learn the labels observed on the training people of each fold: (M, C, V)."""
    found = []
    for fold in folds:
        weights = model.weights_of_labelings(data, fold, data.labels[None])
        if weights is None:
            return None
        found.append(weights[0])
    return np.stack(found).astype(np.float64)


def _standard(weights: Floats, data: ScanSet, folds: Sequence[Fold]) -> Floats:
    pairs = zip(weights, folds, strict=True)
    return np.stack(
        [standard_weights(one, data.values[data.rows(fold.train)]) for one, fold in pairs]
    )


def label_randomisation(observed: Floats, permuted: Floats, refitted: Floats) -> dict[str, Any]:
    """Check that the map depends on the labels.

    It passes where at most 5 % of the maps learnt under permuted labels are as much like the
    observed map, by the size of their correlation, as maps learnt under the observed labels in
    folds are on average. A map that comes from the scans, or from the model's form, whatever the
    labels are, fails; a map of nothing does not: whether labels can be told is another question.

    Parameters
    ----------
    observed : ndarray of float, shape (C, V)
        Standard weights of all people under the labels observed.
    permuted : ndarray of float, shape (L, C, V)
        The same under permuted labels.
    refitted : ndarray of float, shape (M, C, V)
        Under the labels observed, of the training people of folds.

    Returns
    -------
    dict
        ``is_passed``; ``fraction``, of the permuted maps that are as alike; mean |r| of the
        observed map with the ``r_permuted`` and the ``r_refitted``, and of the permuted ones
        ``r_among`` each other; ``p_unlike``, exact: of all labelings, the observed one counted, the
        part whose map is as little like those of all others; ``n_permutations``. Or only a
        ``reason``.
    """
    if not len(permuted):
        return {"reason": "no maps under permuted labels"}
    r = np.abs(correlation_matrix(np.concatenate([observed[None], permuted])))
    with_refitted = np.abs(correlation_matrix(np.concatenate([observed[None], refitted])))[0, 1:]
    n = len(permuted)
    to_others = (r.sum(axis=1) - np.diag(r)) / n  # (1 + L,)
    among = r[1:, 1:][np.triu_indices(n, 1)]
    fraction = float(np.mean(r[0, 1:] >= with_refitted.mean()))
    return {
        "is_passed": fraction <= MAX_ALIKE,
        "fraction": fraction,
        "r_permuted": float(r[0, 1:].mean()),
        "r_among": float(among.mean()) if n > 1 else None,
        "r_refitted": float(with_refitted.mean()),
        "p_unlike": p_value(-to_others[1:], -to_others[0]),
        "n_permutations": n,
    }
