"""Checks of a signature that score people anew, each by a model that had not seen them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.networks.backbones import ScoreNetwork, mean_gradient
from fmnet.signature.checks import FRACTIONS, Score, deletion_insertion
from fmnet.signature.linear import linear_part
from fmnet.signature.map_agreement import Floats, standard_weights
from fmnet.signature.studied import FittedModel, StudiedModel
from fmnet.training.fit import predict_scores

#: Random maps: with one less none could be told from chance at 5 %.
N_RANDOM = 20


def deletion_of_folds(
    studied: StudiedModel, fitted: Sequence[FittedModel], standard: Floats
) -> dict[str, Any] | None:
    """Delete and insert voxels in people out of fold, in the order of their own fold's map.

    Each fold has its own map, so that no order of voxels knows the people it is tried on; curves
    are means over folds.

    Parameters
    ----------
    studied : StudiedModel
        Whose people.
    fitted : sequence of FittedModel
        The model of each fold of one repeat.
    standard : ndarray, shape (M, C, V)
        Standard weights of the same models.

    Returns
    -------
    dict or None
        None where no test fold holds both groups. ``fractions`` of the voxels; ``deletion`` and
        ``insertion``: AUC at each by map, that of the ``signature``, of the rival by its title, and
        ``random`` ones, a list for each; ``gap``, by how much inserting is better than deleting,
        and ``gap_random``, the mean of random maps'; ``p``. ``faithful_gap``,
        ``faithful_gap_random`` and ``p_faithful`` are the same of the correlation with the model's
        own scores: labels of few people hide much in AUC.
    """
    data, found = studied.data, []
    for one, values, fold in zip(fitted, standard, studied.folds, strict=False):
        labels = data.labels[one.test]
        if len(set(labels.tolist())) < 2:
            continue
        rivals = {}
        if studied.rival is not None:
            title, model = studied.rival
            weights = model.weights_of_labelings(data, fold, data.labels[None])
            if weights is not None:
                rivals[title] = standard_weights(weights[0], data.values[one.train])
        inputs = one.inputs(data, one.test)
        score = quick_score(one, inputs.shape[1:])
        seed = studied.seed + fold.fold
        found.append(
            deletion_insertion(
                score, inputs, labels, values.astype(np.float32), data.grid,
                {name: rival.astype(np.float32) for name, rival in rivals.items()}, seed, N_RANDOM,
            )
        )  # fmt: skip
    if not found:
        return None
    result: dict[str, Any] = {"fractions": list(FRACTIONS)}
    names = ["map", *found[0]["rivals"]]
    for kind in ("deletion", "insertion"):
        curves = {
            name: np.mean([_part(one, name)[kind] for one in found], axis=0).tolist()
            for name in names
        }
        curves["signature"] = curves.pop("map")
        random = np.mean([[draw[kind] for draw in one["random"]] for one in found], axis=0)
        result[kind] = {"signature": curves.pop("signature"), **curves, "random": random.tolist()}
    for gap, p in (("gap", "p"), ("faithful_gap", "p_faithful")):
        own = float(np.mean([one["map"][gap] for one in found]))
        random_gaps = np.mean([[draw[gap] for draw in one["random"]] for one in found], axis=0)
        n_as_large = int((random_gaps >= own).sum())
        result |= {gap: own, f"{gap}_random": float(random_gaps.mean())}
        result[p] = (1 + n_as_large) / (1 + len(random_gaps))
    return result


def _part(one: dict[str, Any], name: str) -> dict[str, Any]:
    part: dict[str, Any] = one["map"] if name == "map" else one["rivals"][name]
    return part


def quick_score(fitted: FittedModel, input_shape: tuple[int, ...]) -> Score:
    """Score prepared scans; a model that is linear altogether by one product."""
    network = fitted.network
    linear = linear_part(network, fitted.preparation)
    if linear is None or linear.fraction < 1:
        return lambda inputs: predict_scores(network, inputs)
    weights, at_zero = _line(network, input_shape)

    def score(inputs: FloatArray) -> NDArray[np.float64]:
        return np.asarray(inputs.reshape(len(inputs), -1) @ weights + at_zero)

    return score


def _line(network: ScoreNetwork, input_shape: tuple[int, ...]) -> tuple[FloatArray, float]:
    nothing = torch.zeros(1, *input_shape)
    weights = mean_gradient(network, nothing).numpy().ravel()
    with torch.no_grad():
        return np.asarray(weights), float(network(nothing))
