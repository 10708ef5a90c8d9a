"""Models that race: networks by name, and baselines, all in the same folds."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.power.planted import PlantedCohort
from fmnet.baselines.base import Baseline, score_fold
from fmnet.crossval.fold_loop import Pipeline, crossvalidate, fold_rows
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, build_folds
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder
from fmnet.training.augmentation import Augmentation
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.fit import ADAMW, Trainable
from fmnet.training.module import OptimizerBuilder
from fmnet.training.scan_set import ScanSet
from fmnet.training.trainer import TrainerBuilder
from fmnet.types import NonNegativeCount

#: The folds of every model: outer, repeated how often, and inner for every choice.
FOLDS = {"n_splits": 5, "n_repeats": 1, "inner_splits": 3}


class Maps(Protocol):
    """People whose maps models learn from: planted cohorts, and real ones with labels."""

    @property
    def cohort(self) -> Cohort:
        """Who they are."""
        ...

    @property
    def seed(self) -> int:
        """Of what is learned from them."""
        ...

    def prepare(self, settings: PreparationSettings) -> ScanSet:
        """Smooth the maps for a model."""
        ...


class LabelledRacer(Protocol):
    """Whatever learns from labelled maps of folds and scores the test people."""

    def predict(self, maps: Maps, folds: list[Fold]) -> pd.DataFrame:
        """Learn on each fold, score its test people; empty if it can't."""
        ...


class Racer(Protocol):
    """Whatever scores the test people of folds, be it that it knows what was planted."""

    def predict(self, maps: PlantedCohort, folds: list[Fold]) -> pd.DataFrame:
        """Learn on each fold, score its test people: ``fold, label, score``; empty if it can't."""
        ...


@dataclass(frozen=True)
class Contender:
    """A network that enters the race, and everything that decides what it learns.

    Parameters
    ----------
    build_network : callable
        Input shape to a fresh network.
    max_epochs : int or None
        See `fmnet.training.fit.Trainable`.
    optimizer : callable
        See `fmnet.training.module.OptimizerBuilder`.
    preparation : PreparationSettings
        Of its scans; mask and voxels have to be those of the cohorts.
    augmentation : Augmentation or None
        Changes training images.
    """

    build_network: NetworkBuilder
    max_epochs: NonNegativeCount | None = None
    optimizer: OptimizerBuilder = ADAMW
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    augmentation: Augmentation | None = None


@dataclass(frozen=True)
class NetworkRacer:
    """A contender with the machine it trains on.

    Parameters
    ----------
    contender : Contender
        What is trained.
    build_trainer, compute
        Where and how many at once; what comes out is the same up to rounding.
    """

    contender: Contender
    build_trainer: TrainerBuilder
    compute: Compute

    def predict(self, maps: Maps, folds: list[Fold]) -> pd.DataFrame:
        """Cross-validate as a study does."""
        one = self.contender
        data = maps.prepare(one.preparation)
        trainable = Trainable(
            one.build_network,
            self.build_trainer,
            one.max_epochs,
            one.optimizer,
            augmentation=one.augmentation,
        )
        planned = plan_compute(trainable, self.compute, data)
        # probabilities would take three trainings more for each fold, and change no score
        pipeline = Pipeline(planned, {}, build_folds, maps.seed, is_calibrated=False)
        return crossvalidate(pipeline, data, folds)[0]


@dataclass(frozen=True)
class BaselineRacer:
    """A baseline; it smooths the maps anew, so that its time is all its own."""

    baseline: Baseline

    def predict(self, maps: Maps, folds: list[Fold]) -> pd.DataFrame:
        """Cross-validate as a study does."""
        data = maps.prepare(PreparationSettings(fwhm_mm=0.0))
        if self.baseline.lacks(data):
            return pd.DataFrame(columns=["fold", "label", "score"])
        tables = [
            fold_rows(data.cohort, fold, "baseline", score_fold(self.baseline, data, fold, False))
            for fold in folds
        ]
        return pd.concat(tables, ignore_index=True)


def draw_folds(planted: PlantedCohort) -> list[Fold]:
    """Split a cohort; whoever shares a background stays together."""
    return build_folds(planted.cohort, **FOLDS, seed=planted.seed)


def mean_auc(predictions: pd.DataFrame) -> float:
    """Average the AUC within each test fold; NaN if nothing was scored."""
    aucs = [roc_auc_score(rows["label"], rows["score"]) for _, rows in predictions.groupby("fold")]
    return float(np.mean(aucs)) if aucs else float("nan")
