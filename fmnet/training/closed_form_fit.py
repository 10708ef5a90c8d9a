"""Networks that start from training scans instead of random numbers."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from fmnet.networks.backbones import ClosedFormBackbone, ScoreNetwork
from fmnet.networks.series import SeriesBackbone
from fmnet.training.datamodule import Training
from fmnet.training.scan_set import SeriesScans
from fmnet.training.series import Volumes

#: Parts of the training people, each of which is left out once while choices are made.
N_PARTS = 3


def can_start(network: ScoreNetwork) -> bool:
    """Tell whether a network has scores to give once it started, before any epoch."""
    return isinstance(network.backbone, ClosedFormBackbone) and network.backbone.is_complete


def start_network(network: ScoreNetwork, training: Training) -> ScoreNetwork:
    """Let a network that can do so start from the training scans; leave others as they are."""
    backbone, scans = network.backbone, training.scans
    if not isinstance(backbone, ClosedFormBackbone):
        return network
    labels = scans.labels[training.train]
    units = [scans.units[row] for row in training.train]
    known = torch.from_numpy(labels)
    parts = torch.from_numpy(split_units(labels, units, training.seed))
    if isinstance(scans, SeriesScans):
        assert isinstance(backbone, SeriesBackbone)
        backbone.fit_series(Volumes(scans, training.train), known, parts)
    else:
        backbone.fit(torch.from_numpy(scans.inputs(training.train)), known, parts)
    return network


def split_units(labels: NDArray[np.int64], units: list[str], seed: int) -> NDArray[np.int64]:
    """Part training people, stratified: the number of each scan's part, (N,).

    All are in one part where some part would leave no people of a class to the others.
    """
    parts = np.zeros(len(labels), dtype=np.int64)
    fewest = min(
        len({unit for unit, own in zip(units, labels, strict=True) if own == label})
        for label in np.unique(labels)
    )
    if fewest < N_PARTS:
        return parts
    splitter = StratifiedGroupKFold(N_PARTS, shuffle=True, random_state=seed % 2**32)
    for number, (others, held_out) in enumerate(splitter.split(labels, labels, units)):
        if len(set(labels[others])) < len(set(labels)):  # large families can take a class along
            return np.zeros(len(labels), dtype=np.int64)
        parts[held_out] = number
    return parts
