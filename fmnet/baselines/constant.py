"""What no information looks like."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnet.baselines.base import Baseline, Scores
from fmnet.training.scan_set import Rows, ScanSet


@dataclass(frozen=True)
class Dummy(Baseline):
    """Scores everybody alike."""

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Score every scan with 0."""
        return np.zeros(len(test))
