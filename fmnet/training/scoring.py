"""Scores of scans by a network, as they lie in memory or on disk."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.networks.backbones import ScoreNetwork


@torch.no_grad()
def predict_scores(
    network: ScoreNetwork, images: FloatArray, batch_size: int = 8
) -> NDArray[np.float32]:
    """Score prepared scans, (N, C, X, Y, Z), in float32 where the network lies: (N,)."""
    device = next(network.parameters()).device
    batches = torch.split(torch.from_numpy(images), batch_size)
    scores = [network(batch.to(device)).cpu() for batch in batches]
    return np.asarray(torch.cat(scores).numpy(), dtype=np.float32)


def mean_scores_of_windows(
    network: ScoreNetwork, scans: Iterable[FloatArray], batch_size: int = 8
) -> NDArray[np.float32]:
    """Score the windows of each scan, (W, T, X, Y, Z), and average: (N,).

    Scans are read one after the other, so that one is in memory at a time.
    """
    scores = [predict_scores(network, windows, batch_size).mean() for windows in scans]
    return np.array(scores, dtype=np.float32)
