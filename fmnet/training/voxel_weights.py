"""What voxels weigh in networks that learned under many labelings of the same scans."""

import numpy as np
import torch
from numpy.typing import NDArray

from fmnet.data.cohort import relabel
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import MapPreparation
from fmnet.networks.backbones import ClosedFormBackbone, mean_gradient
from fmnet.training.fit import (
    FoldTask,
    Trainable,
    TrainedFold,
    check_finite,
    fresh_closed_form,
    full_precision,
    train_on_folds,
)


def weights_of_labelings(
    trainable: Trainable, task: FoldTask, labelings: NDArray[np.int64]
) -> FloatArray | None:
    """Say what voxels of maps weigh in the network that learns a fold under each labeling.

    A network in closed form is fitted to all labelings, (L, N), at once; others are trained once
    for each of them, every choice made anew.

    Returns
    -------
    ndarray of float32, shape (L, C, V), or None
        In units of score per unit of the unsmoothed map. Of a network with paths, what the linear
        ones weigh; of others the mean gradient of the score over the training scans. None for
        networks that read series.
    """
    if task.scans.reads_series:
        return None
    fresh = fresh_closed_form(trainable, task)
    if fresh is None:
        return _train_one_by_one(trainable.quiet(), task, labelings)
    backbone, training, folds = fresh
    preparation = training.scans.preparation
    assert isinstance(preparation, MapPreparation)
    images, own = training.scans.inputs(training.train), labelings[:, training.train]
    train, labels, numbers, inside = (
        torch.from_numpy(one).to(trainable.device)
        for one in (images, own, folds, preparation.grid.mask)
    )
    with full_precision():
        weights = backbone.weights_of_labelings(train, labels, numbers, inside)
    if weights is None:
        return None
    check_finite(task.name, found := weights.cpu().numpy())
    return preparation.weights_of_maps(found)


def _train_one_by_one(
    trainable: Trainable, task: FoldTask, labelings: NDArray[np.int64]
) -> FloatArray | None:
    weights = []
    for labels in labelings:
        scans = task.scans.relabel(relabel(task.scans.cohort, labels))
        one = FoldTask(scans, task.fold, task.seed, task.name)
        (trained,) = train_on_folds(trainable, [one], is_calibrated=False)
        own = weights_of_trained(trained, scans.rows(task.fold.train))
        if own is None:
            return None
        weights.append(own)
    return np.stack(weights)


def weights_of_trained(trained: TrainedFold, rows: NDArray[np.intp]) -> FloatArray | None:
    """Say what voxels of maps weigh in a trained network: (C, V), see `weights_of_labelings`.

    `rows` are the scans over which the gradient of what is not linear is averaged.
    """
    preparation, backbone = trained.preparation, trained.network.backbone
    if not isinstance(preparation, MapPreparation):
        return None
    images = torch.from_numpy(trained.scans.inputs(rows))
    if isinstance(backbone, ClosedFormBackbone):
        weights = backbone.voxel_weights(images)
    else:
        weights = mean_gradient(trained.network, images)
    if weights is None:
        return None
    return preparation.weights_of_maps(weights.numpy()[:, preparation.grid.mask])
