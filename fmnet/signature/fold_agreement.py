"""Agreement of the maps of folds, repeats and seeds, and whether they depend on the labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.data.folds import Fold
from fmnet.data.volume import FloatArray
from fmnet.evaluation.comparison import p_value
from fmnet.signature.map_agreement import Floats, agreement_of_maps, correlation_matrix
from fmnet.training.scan_set import ScanSet

#: Largest fraction of maps under permuted labels that may be as alike as those of the same labels.
MAX_ALIKE = 0.05


def compare_folds(
    maps: Floats,
    folds: Sequence[Fold],
    data: ScanSet,
    regions: NDArray[np.integer[Any]] | None = None,
    reseeded: Sequence[Floats] = (),
) -> dict[str, Any]:
    """Measure how far the maps of folds agree, of their means over repeats, and of other seeds'.

    Parameters
    ----------
    maps : ndarray of float, shape (M, C, V)
        Standard weights of the model learnt on the training people of each fold.
    folds : sequence of Fold
        M of them, of one repeat or more.
    data : ScanSet
        What was learnt from.
    regions : ndarray of int, shape (X, Y, Z), optional
        Regions on the grid, 0 for none.
    reseeded : sequence of ndarray of float, shape (C, V)
        Means over the folds of the first repeat of the same model with other random numbers; for
        one that depends on them.

    Returns
    -------
    dict
        ``folds``: of the first repeat, whose training people overlap; ``repeats``: of the means
        over the folds of each, which are of the same people; ``seeds``: of such means of the first
        repeat. Each as `agreement_of_maps` gives it, None for fewer than two maps.
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


def label_randomisation(
    observed: Floats, permuted: Floats | FloatArray, refitted: Floats
) -> dict[str, Any]:
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
    r, with_refitted = (
        np.abs(correlation_matrix(np.concatenate([observed[None].astype(maps.dtype), maps])))
        for maps in (permuted, refitted)
    )
    with_refitted = with_refitted[0, 1:]
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
