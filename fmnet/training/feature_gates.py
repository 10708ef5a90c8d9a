"""Fit the gate of a model's features to scans of people who are left out of what it learned from.

A network lays the features of those that it was trained on closer together, and so does a
preparation. How far new people lie is therefore seen by models of the same kind that others were
fitted without.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from fmnet.data.folds import Fold
from fmnet.data.volume import FloatArray
from fmnet.inference.feature_gate import FeatureGate, distances_left_out, fit_features
from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.data import Training
from fmnet.training.scan_set import Rows, ScanSet

#: Scans whose features are computed at once.
BATCH = 8


@dataclass(frozen=True, eq=False)
class LeftOut:
    """How far scans lie from those of other people, gathered fold by fold.

    Parameters
    ----------
    scans : ScanSet
        Of the study, N of them.

    Attributes
    ----------
    distances : ndarray of float, shape (N,)
        See `fmnet.inference.feature_gate.distances_left_out`; NaN for those not yet left out.
    """

    scans: ScanSet
    distances: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "distances", np.full(len(self.scans.participant_ids), np.nan))

    def add(self, training: Training, network: ScoreNetwork) -> None:
        """Take the scans that a training held out, by the network that it came to."""
        if training.validation is not None:
            self.add_rows(network, training.scans, training.train, training.validation)

    def add_rows(self, network: ScoreNetwork, scans: ScanSet, train: Rows, held_out: Rows) -> None:
        """Take scans held out, by a network and scans that were fitted to those of `train`."""
        learned, others = (compute_features(network, scans, rows) for rows in (train, held_out))
        self.distances[held_out] = distances_left_out(learned, others)

    def add_folds(self, network: ScoreNetwork, fold: Fold) -> None:
        """Take all scans, where nothing but the preparation has seen those that are learned from.

        It is fitted once for each inner fold, to the people of the others.
        """
        for train, held_out in self.scans.inner_rows(fold):
            self.add_rows(network, self.scans.fit(train), train, held_out)

    def fit(self, network: ScoreNetwork, scans: ScanSet) -> FeatureGate | None:
        """Fit the gate of a network and scans that were fitted to all people.

        None where there are too few, or somebody was never left out.
        """
        if not np.isfinite(self.distances).all():
            return None
        features = compute_features(network, scans, np.arange(len(self.distances)))
        return fit_features(features, scans.units, self.distances)


@torch.no_grad()
def compute_features(network: ScoreNetwork, scans: ScanSet, rows: Rows) -> FloatArray:
    """Compute the features of scans of a fitted set, of series the mean over windows: (N, F)."""
    device = next(network.parameters()).device

    def compute(images: FloatArray) -> FloatArray:
        batches = torch.split(torch.from_numpy(images), BATCH)
        found = [network.features(batch.to(device)).cpu() for batch in batches]
        return np.asarray(torch.cat(found).numpy(), dtype=np.float32)

    return scans.scores(compute, rows)
