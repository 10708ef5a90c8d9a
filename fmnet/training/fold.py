"""Train on the subjects of folds, every choice made on their inner folds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnet.data.folds import Fold
from fmnet.errors import Fault, TrainingError
from fmnet.inference.calibration import Calibration
from fmnet.inference.preparation import Preparation
from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.calibration import fit_calibration
from fmnet.training.datamodule import Training
from fmnet.training.fit import Fitted, Trainable, fit_networks
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.training.scoring import score_scans


@dataclass(frozen=True, eq=False)
class FoldTask:
    """One fold to train on.

    Parameters
    ----------
    scans : ScanSet
        All scans; those of ``fold.test`` are not touched.
    fold : Fold
        Who trains.
    seed : int
        Of this fold.
    name : str
        Of this fold in the logs.
    """

    scans: ScanSet
    fold: Fold
    seed: int
    name: str

    def inner_trainings(self, max_epochs: int) -> list[Training]:
        """One training for each inner fold, at full length."""
        return [
            self._inner(part, f"{self.name}_inner-{number}", max_epochs)
            for number, part in enumerate(self.fold.validation)
        ]

    def whole_training(self, n_epochs: int) -> Training:
        """Train on all training subjects."""
        rows = self.scans.rows(self.fold.train)
        return Training(self.scans.fit(rows), rows, None, n_epochs, self.seed, self.name)

    def _inner(self, held_out: tuple[str, ...], name: str, max_epochs: int) -> Training:
        train = self.scans.rows(tuple(set(self.fold.train) - set(held_out)))
        fitted = self.scans.fit(train)
        return Training(fitted, train, self.scans.rows(held_out), max_epochs, self.seed, name)


@dataclass(frozen=True, eq=False)
class TrainedFold:
    """A network with the scans as it was trained to see them.

    Parameters
    ----------
    network : ScoreNetwork
        In evaluation mode.
    fitted : ScanSet
        Its preparation is fitted on the same subjects.
    n_epochs : int
        Length of training that the inner folds chose.
    inner_loss : ndarray of float, shape (max_epochs,) or (max_epochs + 1,)
        Validation loss after each epoch, mean over inner folds; where the network started from the
        training scans, the first is from before any epoch.
    calibration : Calibration or None
        Fitted on the scores that the networks of the inner folds gave to the subjects held out;
        None where it was not asked for.
    name : str
        Of this training, for messages.
    """

    network: ScoreNetwork
    fitted: ScanSet
    n_epochs: int
    inner_loss: NDArray[np.float64]
    calibration: Calibration | None
    name: str = "the network"

    @property
    def preparation(self) -> Preparation:
        """What turns a new scan into the network's input."""
        assert self.fitted.preparation is not None
        return self.fitted.preparation

    def scores(self, rows: Rows) -> NDArray[np.float32]:
        """Score scans of the cohort: (N_rows,)."""
        scores = score_scans(self.network, self.fitted, rows)
        check_finite(self.name, scores)
        return scores


def train_on_folds(
    trainable: Trainable,
    tasks: list[FoldTask],
    on_epoch: Callable[[int], Any] = lambda _: None,
    is_calibrated: bool = True,
) -> list[TrainedFold]:
    """Choose each fold's number of epochs on its inner folds, then train on all its subjects.

    Parameters
    ----------
    trainable : Trainable
        What and how; of all trainings here, as many as it says run side by side.
    tasks : list of FoldTask
        On what.
    on_epoch : callable
        Called after each epoch with the number of trainings that it belonged to.
    is_calibrated : bool
        Whether a calibration is fitted. Where it isn't, and there are no epochs to choose from,
        inner folds are not trained at all.

    Raises
    ------
    TrainingError
        If a training diverges.
    """
    max_epochs = trainable.recipe.max_epochs
    if is_calibrated or max_epochs > 0:
        inner = [task.inner_trainings(max_epochs) for task in tasks]
        flat = [one for trainings in inner for one in trainings]
        fitted = iter(fit_networks(trainable, flat, on_epoch))
        choices = [_choose(task, [next(fitted) for _ in task.fold.validation]) for task in tasks]
    else:
        choices = [_Choice(0, np.empty(0), None)] * len(tasks)
    whole = [
        task.whole_training(choice.n_epochs) for task, choice in zip(tasks, choices, strict=True)
    ]
    trained = []
    for one, choice, done in zip(
        whole, choices, fit_networks(trainable, whole, on_epoch), strict=True
    ):
        check_finite(one.name, *(part.detach().numpy() for part in done.network.parameters()))
        parts = (choice.n_epochs, choice.inner_loss, choice.calibration)
        trained.append(TrainedFold(done.network, one.scans, *parts, one.name))
    return trained


@dataclass(frozen=True, eq=False)
class _Choice:
    """What the inner folds decide."""

    n_epochs: int
    inner_loss: NDArray[np.float64]
    calibration: Calibration | None


def _choose(task: FoldTask, inner: list[Fitted]) -> _Choice:
    for number, done in enumerate(inner):
        check_finite(f"{task.name}_inner-{number}", done.losses, *done.scores)
    inner_loss = np.mean([done.losses for done in inner], axis=0)
    first_epoch = inner[0].first_epoch
    best = int(inner_loss.argmin())
    held_out = np.concatenate([task.scans.rows(part) for part in task.fold.validation])
    unseen = np.concatenate([done.scores[best] for done in inner])
    people = [task.scans.participant_ids[row] for row in held_out]
    calibration = fit_calibration(unseen, task.scans.labels[held_out], people)
    return _Choice(first_epoch + best, inner_loss, calibration)


def check_finite(name: str, *found: ArrayLike) -> None:
    """Refuse what a training came to where it holds anything but finite numbers.

    Raises
    ------
    TrainingError
        With the name of the training.
    """
    if not all(np.isfinite(values).all() for values in found):
        raise TrainingError(
            Fault(
                f"training {name}",
                "losses, weights or scores that are not finite: it diverged",
                "a training whose numbers stay finite",
                "lower task.learning_rate",
            )
        )
