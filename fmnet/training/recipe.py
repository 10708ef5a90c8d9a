"""How a network is trained, in plain values."""

from dataclasses import dataclass

from fmnet.errors import ConfigError, Fault


@dataclass(frozen=True)
class Recipe:
    """Optimiser settings and budget.

    Parameters
    ----------
    learning_rate, weight_decay : float
        Of AdamW.
    batch_size : int
        Scans per step.
    max_epochs : int
        Longest training considered; how many epochs are used is chosen on inner folds.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 8
    max_epochs: int = 30

    def __post_init__(self) -> None:
        limits = {
            "learning_rate": self.learning_rate > 0,
            "weight_decay": self.weight_decay >= 0,
            "batch_size": self.batch_size >= 2,
            "max_epochs": self.max_epochs >= 1,
        }
        if faults := [
            Fault(f"task.{name}", str(getattr(self, name)), "a larger value", "raise it")
            for name, is_fine in limits.items()
            if not is_fine
        ]:
            raise ConfigError(faults)
