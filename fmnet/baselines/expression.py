"""Expression of a signature that somebody else published: nothing is fitted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fmnet.baselines.base import Baseline, Scores
from fmnet.data.nifti import read_volume
from fmnet.data.resample import place_on_grid
from fmnet.errors import ConfigError, Fault
from fmnet.training.scan_set import Rows, ScanSet


@dataclass(frozen=True)
class Expression(Baseline):
    """Similarity of each map to a weight map.

    On the command line: ``+baselines.nps._target_=fmnet.baselines.expression.Expression`` and
    ``+baselines.nps.weights=NPS.nii.gz``.

    Parameters
    ----------
    weights : str
        NIfTI weight map, any grid.
    measure : {"dot", "cosine", "correlation"}
        Over the voxels that both maps have.
    contrast : str, optional
        Which channel; the first if left out.
    space : str
        Space of the weight map.
    """

    weights: str
    measure: Literal["dot", "cosine", "correlation"] = "dot"
    contrast: str | None = None
    space: str = "MNI152"

    def lacks(self, data: ScanSet) -> str:
        """Check the weight map and the contrast before anything is computed.

        Raises
        ------
        VolumeError
            If the weight map can't be used.
        ConfigError
            If it has no weight in the mask, or the contrast doesn't exist.
        """
        contrasts = data.cohort.listing.contrasts
        if self.contrast is not None and self.contrast not in contrasts:
            accepted = ", ".join(contrasts)
            found, action = f"contrast '{self.contrast}'", "choose one of these"
            raise ConfigError(Fault(self.weights, found, accepted, action))
        if not np.nan_to_num(self._weights(data)).any():
            action = "check space and affine of the weight map"
            raise ConfigError(Fault(self.weights, "no weight in the mask", "a weight map", action))
        return ""

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Compare each test scan with the weights."""
        weights = self._weights(data)
        channel = data.cohort.listing.contrasts.index(self.contrast) if self.contrast else 0
        found = np.zeros(len(test))
        for i, row in enumerate(test):
            values = data.values[row, channel]
            known = np.isfinite(values) & np.isfinite(weights)
            one, other = values[known].astype(float), weights[known]
            if self.measure == "correlation":
                one, other = one - one.mean(), other - other.mean()
            size = 1.0
            if self.measure != "dot":
                size = float(np.linalg.norm(one) * np.linalg.norm(other)) or 1.0
            found[i] = float(one @ other) / size
        return found

    def _weights(self, data: ScanSet) -> Any:
        volume = read_volume(Path(self.weights), self.space)
        return place_on_grid(volume, data.cohort.grid)[0].astype(float)
