"""Lightning's loggers of MLflow and Weights & Biases, made fit for many trainings in a process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger, WandbLogger

from fmnet.progress.show import say


class WandbRun(WandbLogger):
    """Ends its run with its training, else W&B would take all trainings for one run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._wandb_init.pop("anonymous", None)  # W&B warns that it has no effect

    @property
    def experiment(self) -> Any:
        """The run of W&B, which is kept on this machine where its server doesn't answer."""
        try:
            return super().experiment
        except Exception as error:  # whatever its service does
            if self._wandb_init["mode"] == "offline":
                raise
            if "W&B" not in _lost:
                _lost.add("W&B")
                say(f"W&B does not answer, runs are kept in {self.save_dir}/wandb: {error}")
            self._wandb_init["mode"] = "offline"
            return super().experiment

    def finalize(self, status: str) -> None:
        """End the run."""
        super().finalize(status)
        if self._experiment is not None:
            self.experiment.finish(exit_code=0 if status == "success" else 1)


class MLflowTraining(MLFlowLogger):
    """Costs no training if its server is lost on the way."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, if the server takes them."""
        with _told_once("MLflow"):
            super().log_metrics(metrics, step)

    def log_hyperparams(self, params: Any) -> None:
        """Log settings, if the server takes them."""
        with _told_once("MLflow"):
            super().log_hyperparams(params)

    def finalize(self, status: str = "success") -> None:
        """End the run, if the server is there."""
        with _told_once("MLflow"):
            super().finalize(status)


#: Trackers of which it was said that they are lost.
_lost: set[str] = set()


@contextmanager
def _told_once(tracker: str) -> Iterator[None]:
    """Go on without a tracker that fails, and say so once."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (trackers raise whatever their services do)
        if tracker not in _lost:
            _lost.add(tracker)
            say(f"{tracker} does not take what is logged, the study goes on: {error}")
