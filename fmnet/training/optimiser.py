"""How a network is trained, in plain values."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from fmnet.types import NonNegative, Positive, Several


@dataclass(frozen=True)
class Recipe:
    """Optimiser settings and budget.

    Parameters
    ----------
    learning_rate, weight_decay : float
        Of AdamW.
    batch_size : int
        Scans per step, of all devices together; normalisation and shuffling need two at least.
    max_epochs : int
        Longest training considered; how many epochs are used is chosen on inner folds. With 0 a
        network is used as it starts from the training scans; others need 1 at least.
    """

    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 1e-2
    batch_size: Several = 8
    max_epochs: Annotated[int, Ge(0)] = 30
