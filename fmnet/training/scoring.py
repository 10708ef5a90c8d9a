"""Scores of prepared scans by a network."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.scan_set import Rows, ScanSet


@torch.no_grad()
def predict_scores(
    network: ScoreNetwork, images: FloatArray, batch_size: int = 8
) -> NDArray[np.float32]:
    """Score prepared scans, (N, C, X, Y, Z), in float32 where the network lies: (N,)."""
    device = next(network.parameters()).device
    batches = torch.split(torch.from_numpy(images), batch_size)
    scores = [network(batch.to(device)).cpu() for batch in batches]
    return np.asarray(torch.cat(scores).numpy(), dtype=np.float32)


def score_scans(network: ScoreNetwork, scans: ScanSet, rows: Rows) -> NDArray[np.float32]:
    """Score scans of a fitted set, each by all of its inputs: (N_rows,)."""
    return scans.scores(partial(predict_scores, network), rows)
