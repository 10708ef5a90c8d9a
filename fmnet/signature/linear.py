"""What of a model is linear: its exact weight for each voxel, and what that comes from."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import MapPreparation, Preparation
from fmnet.networks.backbones import ScoreNetwork, mean_gradient
from fmnet.networks.heads import BinaryHead
from fmnet.networks.path_sums import PathSum


class LinearPart(NamedTuple):
    """The linear part of a model, as weights of maps as they come, unsmoothed, on its grid.

    Parameters
    ----------
    weights : ndarray of float32, shape (C, V)
        In units of score per unit of the map. For a map that is complete in the mask,
        ``(weights * map).sum() + intercept`` is what the linear part scores.
    intercept : float
    fraction : float
        Of the score, how much it is: 1 of linear models, else what its paths were given.
    """

    weights: FloatArray
    intercept: float
    fraction: float


def linear_part(network: ScoreNetwork, preparation: Preparation) -> LinearPart | None:
    """Work out the weights of what is linear in a network; None where nothing is.

    Of a network with paths that are its linear ones, each as much as it counts; products are left
    out, and with them what they add to the score.
    """
    backbone = network.backbone
    is_linear = isinstance(backbone, nn.Sequential) and [type(one) for one in backbone] == [
        nn.Flatten,
        nn.Linear,
    ]
    if not isinstance(preparation, MapPreparation) or not isinstance(network.head, BinaryHead):
        return None
    score: Callable[[torch.Tensor], torch.Tensor]
    if isinstance(backbone, PathSum) and backbone.linear_paths:
        score, numbers = backbone.linear_scores, list(backbone.linear_paths)
        fraction = float(backbone.fraction[numbers].sum())
    elif is_linear:
        score, fraction = network.forward, 1.0
    else:
        return None
    nothing = next(network.parameters()).new_zeros(1, *preparation.input_shape)
    gradient = mean_gradient(score, nothing).cpu().numpy()
    with torch.no_grad():
        at_mean = float(score(nothing))
    inside = gradient[:, preparation.grid.mask]
    intercept = at_mean + float(preparation.intercept_of_maps(inside))
    return LinearPart(preparation.weights_of_maps(inside), intercept, fraction)


def haufe_pattern(values: FloatArray, scores: FloatArray) -> FloatArray:
    """Compute the activation pattern of a score: how each voxel varies with it over people.

    Weights say how a score is computed; the pattern says where it comes from. A voxel may weigh a
    lot because it cancels noise of others, and vary with the score not at all.

    Parameters
    ----------
    values : ndarray, shape (N, C, V)
        Maps, missing voxels filled.
    scores : ndarray, shape (N,)
        Of the same scans.

    Returns
    -------
    ndarray of float32, shape (C, V)
        Covariance with the score over the score's SD: units of the map per SD of the score; 0 for
        scores that are all alike.

    References
    ----------
    Haufe and others (2014). On the interpretation of weight vectors of linear models in
    multivariate neuroimaging. NeuroImage, 87.
    """
    away = np.asarray(scores, dtype=np.float64) - np.mean(scores)
    norm = np.sqrt(np.sum(away**2))
    if norm == 0:
        return np.zeros(values.shape[1:], np.float32)
    standard = (away / norm / np.sqrt(max(len(away) - 1, 1))).astype(np.float32)
    return np.tensordot(standard, values - values.mean(axis=0), axes=1).astype(np.float32)


def variance_shares(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Divide what a linear score varies between people among voxels: fractions that sum to 1.

    A voxel's is its weight times its covariance with the score, over the score's variance: large
    where a voxel both weighs and varies with the score, so that neither noise that is cancelled nor
    a voxel that is merely correlated stands out. Negative where a voxel lessens the variance.

    Parameters
    ----------
    weights : ndarray, shape (C, V)
        In units of score per unit of the map.
    values : ndarray, shape (N, C, V)
        Maps of the people the weights were learned from, missing voxels filled.

    Returns
    -------
    ndarray of float32, shape (C, V)
        0 everywhere where people score alike.
    """
    scores = np.tensordot(values, weights, axes=2)
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    if sd == 0:
        return np.zeros(weights.shape, np.float32)
    return np.asarray(weights * haufe_pattern(values, scores) / sd, dtype=np.float32)
