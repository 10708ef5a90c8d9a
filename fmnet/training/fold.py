"""Train on the subjects of one fold, every choice made on its inner folds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.data.folds import Fold, rows_of
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.deploy.calibration import Calibration, fit_calibration
from fmnet.deploy.preparation import Preparation, PreparationSettings, fit_preparation
from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.datamodule import Examples
from fmnet.training.fit import Fitted, Trainable, fit_network, predict_scores


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
    """

    values: FloatArray
    labels: NDArray[np.int64]
    participant_ids: list[str]
    grid: Grid
    contrasts: tuple[str, ...]
    settings: PreparationSettings

    def rows(self, subjects: tuple[str, ...]) -> NDArray[np.intp]:
        """Find the scans of these subjects."""
        return rows_of(subjects, self.participant_ids)

    def fit_preparation(self, rows: NDArray[np.intp]) -> Preparation:
        """Fit the preparation on these scans alone."""
        return fit_preparation(self.values[rows], self.grid, self.contrasts, self.settings)

    def examples(self, rows: NDArray[np.intp], preparation: Preparation) -> Examples:
        """Prepare these scans for the network."""
        return Examples(preparation.images(self.values[rows]), self.labels[rows])


@dataclass(frozen=True, eq=False)
class TrainedFold:
    """A network with the preparation it belongs to.

    Parameters
    ----------
    network : ScoreNetwork
        In evaluation mode.
    preparation : Preparation
        Fitted on the same subjects.
    n_epochs : int
        Length of training that the inner folds chose.
    inner_loss : ndarray of float, shape (max_epochs,)
        Validation loss after each epoch, mean over inner folds.
    calibration : Calibration
        Fitted on the scores that the networks of the inner folds gave to the subjects held out.
    """

    network: ScoreNetwork
    preparation: Preparation
    n_epochs: int
    inner_loss: NDArray[np.float64]
    calibration: Calibration

    def scores(self, cohort: SmoothedCohort, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Score scans: (N,)."""
        return predict_scores(self.network, self.preparation.images(cohort.values[rows]))


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
    """
    inner = [
        _fit_inner(trainable, cohort, fold, part, seed, f"{name}_inner-{part}", on_epoch)
        for part in range(len(fold.validation))
    ]
    inner_loss = np.mean([fitted.losses for fitted in inner], axis=0)
    n_epochs = int(inner_loss.argmin()) + 1
    held_out = np.concatenate([cohort.rows(part) for part in fold.validation])
    unseen = np.concatenate([fitted.scores[n_epochs - 1] for fitted in inner])
    calibration = fit_calibration(unseen, cohort.labels[held_out])
    rows = cohort.rows(fold.train)
    preparation = cohort.fit_preparation(rows)
    examples = cohort.examples(rows, preparation)
    fitted = fit_network(trainable, examples, None, n_epochs, seed, name, on_epoch)
    return TrainedFold(fitted.network, preparation, n_epochs, inner_loss, calibration)


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
    preparation = cohort.fit_preparation(train)
    return fit_network(
        trainable,
        cohort.examples(train, preparation),
        cohort.examples(cohort.rows(held_out), preparation),
        trainable.recipe.max_epochs,
        seed,
        name,
        on_epoch,
    )
