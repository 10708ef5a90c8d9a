"""Train on the subjects of one fold, every choice made on its inner folds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnet.data.folds import Fold, rows_of
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.deploy.calibration import Calibration
from fmnet.deploy.preparation import Preparation, PreparationSettings, fit_preparation
from fmnet.errors import Fault, TrainingError
from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.datamodule import Examples
from fmnet.training.fit import Fitted, Trainable, fit_network, predict_scores
from fmnet.training.platt import fit_calibration

Rows = NDArray[np.intp]
#: All scans, (N, C, V), and the rows of those that may be learned from, to all scans harmonised.
Harmoniser = Callable[[FloatArray, Rows], FloatArray]


@dataclass(frozen=True, eq=False)
class FittedCohort:
    """All scans as the training scans of one fold ask for.

    Parameters
    ----------
    values : ndarray of float32, shape (N, C, V)
        On the grid, smoothed and, if so asked, harmonised.
    labels : ndarray of int, shape (N,)
        0 or 1.
    preparation : Preparation
        Fitted on the training scans.
    """

    values: FloatArray
    labels: NDArray[np.int64]
    preparation: Preparation

    def images(self, rows: Rows) -> FloatArray:
        """Prepare these scans for the network: (N_rows, C, X, Y, Z)."""
        return self.preparation.images(self.values[rows])

    def examples(self, rows: Rows) -> Examples:
        """Prepare these scans for training."""
        return Examples(self.images(rows), self.labels[rows])


@dataclass(frozen=True, eq=False)
class SmoothedCohort:
    """Scans of a cohort, smoothed but with nothing fitted to them.

    Parameters
    ----------
    values : ndarray of float32, shape (N, C, V)
        On the grid, smoothed by ``settings.fwhm_mm``, NaN where missing.
    labels : ndarray of int, shape (N,)
        0 or 1.
    participant_ids : list of str
        Whose scan it is.
    grid : Grid
        Where the values lie.
    contrasts : tuple of str
        Names of the channels.
    settings : PreparationSettings
        How scans are prepared.
    harmonise : callable, optional
        See `Harmoniser`.
    """

    values: FloatArray
    labels: NDArray[np.int64]
    participant_ids: list[str]
    grid: Grid
    contrasts: tuple[str, ...]
    settings: PreparationSettings
    harmonise: Harmoniser | None = None

    def rows(self, subjects: tuple[str, ...]) -> Rows:
        """Find the scans of these subjects."""
        return rows_of(subjects, self.participant_ids)

    def fit(self, train: Rows) -> FittedCohort:
        """Learn from these scans alone how all scans are harmonised and prepared."""
        values = self.values if self.harmonise is None else self.harmonise(self.values, train)
        preparation = fit_preparation(values[train], self.grid, self.contrasts, self.settings)
        return FittedCohort(values, self.labels, preparation)


@dataclass(frozen=True, eq=False)
class TrainedFold:
    """A network with the scans as it was trained to see them.

    Parameters
    ----------
    network : ScoreNetwork
        In evaluation mode.
    fitted : FittedCohort
        Its preparation is fitted on the same subjects.
    n_epochs : int
        Length of training that the inner folds chose.
    inner_loss : ndarray of float, shape (max_epochs,)
        Validation loss after each epoch, mean over inner folds.
    calibration : Calibration
        Fitted on the scores that the networks of the inner folds gave to the subjects held out.
    name : str
        Of this training, for messages.
    """

    network: ScoreNetwork
    fitted: FittedCohort
    n_epochs: int
    inner_loss: NDArray[np.float64]
    calibration: Calibration
    name: str = "the network"

    @property
    def preparation(self) -> Preparation:
        """What turns a new scan into the network's input."""
        return self.fitted.preparation

    def scores(self, rows: Rows) -> NDArray[np.float32]:
        """Score scans of the cohort: (N_rows,)."""
        scores = predict_scores(self.network, self.fitted.images(rows))
        check_finite(self.name, scores)
        return scores


def train_on_fold(
    trainable: Trainable,
    cohort: SmoothedCohort,
    fold: Fold,
    seed: int,
    name: str,
    on_epoch: Callable[[], Any] = lambda: None,
) -> TrainedFold:
    """Choose the number of epochs on the inner folds, then train on all training subjects.

    Parameters
    ----------
    trainable : Trainable
        What and how.
    cohort : SmoothedCohort
        All scans; those of ``fold.test`` are not touched.
    fold : Fold
        Who trains.
    seed : int
        Of this fold.
    name : str
        Of this fold in the logs.
    on_epoch : callable
        Called after each epoch of each training.

    Raises
    ------
    TrainingError
        If a training diverges.
    """
    inner = [
        _fit_inner(trainable, cohort, fold, part, seed, f"{name}_inner-{part}", on_epoch)
        for part in range(len(fold.validation))
    ]
    inner_loss = np.mean([done.losses for done in inner], axis=0)
    n_epochs = int(inner_loss.argmin()) + 1
    held_out = np.concatenate([cohort.rows(part) for part in fold.validation])
    unseen = np.concatenate([done.scores[n_epochs - 1] for done in inner])
    calibration = fit_calibration(unseen, cohort.labels[held_out])
    rows = cohort.rows(fold.train)
    fitted = cohort.fit(rows)
    done = fit_network(trainable, fitted.examples(rows), None, n_epochs, seed, name, on_epoch)
    check_finite(name, *(weights.detach().numpy() for weights in done.network.parameters()))
    return TrainedFold(done.network, fitted, n_epochs, inner_loss, calibration, name)


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


def _fit_inner(
    trainable: Trainable,
    cohort: SmoothedCohort,
    fold: Fold,
    part: int,
    seed: int,
    name: str,
    on_epoch: Callable[[], Any],
) -> Fitted:
    held_out = fold.validation[part]
    train = cohort.rows(tuple(set(fold.train) - set(held_out)))
    fitted = cohort.fit(train)
    done = fit_network(
        trainable,
        fitted.examples(train),
        fitted.examples(cohort.rows(held_out)),
        trainable.recipe.max_epochs,
        seed,
        name,
        on_epoch,
    )
    check_finite(name, done.losses, *done.scores)
    return done
