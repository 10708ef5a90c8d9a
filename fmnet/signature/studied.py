"""The model of a study that a signature is of, and the same model without the people of a fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnet.baselines.base import Model
from fmnet.baselines.linear import VoxelModel
from fmnet.crossval.final import best_of, exportable_linear, final_fold, fit_linear
from fmnet.crossval.fold_loop import SEEDS, Pipeline, TrainedNetwork, fold_seed
from fmnet.data.folds import Fold
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import Preparation, read_preparation
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.rebuild import TRUSTED, read_network
from fmnet.runs.final_models import LINEAR_FOLDER, NETWORK_FOLDER, read_record
from fmnet.runs.record import Results
from fmnet.training.fit import FoldTask, fit_networks
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import NETWORK


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A network with its preparation, and the people whom it didn't learn from.

    Parameters
    ----------
    network : ScoreNetwork
        In evaluation mode; of a linear model, its weights as a network.
    preparation : Preparation
        Fitted on the same people.
    train, test : ndarray of int
        Rows of the scans it learned from, and of those it did not; the latter may be empty.
    """

    network: ScoreNetwork
    preparation: Preparation
    train: Rows
    test: Rows

    def inputs(self, scans: ScanSet, rows: Rows) -> FloatArray:
        """Prepare scans of maps: (N_rows, C, X, Y, Z)."""
        return scans.prepared_by(self.preparation).inputs(rows)


@dataclass(frozen=True, eq=False)
class StudiedModel:
    """The exported model of a study.

    Parameters
    ----------
    name, title : str
        In the out-of-fold table, and in reports.
    model : Model
        Learns it from any people.
    data : ScanSet
        The scans of the study, as this model reads them.
    final : FittedModel
        Learned from everybody.
    fold : Fold
        Of the final training: everybody, and the inner folds on which choices were made.
    folds : list of Fold
        Of all repeats, or of the first where each takes a training by gradients.
    n_epochs : list of int
        Lengths of training that these folds chose.
    n_first : int
        How many of the folds are of the first repeat, in which everybody is tested once.
    seed : int
        Everything random derives from it.
    n_seeds : int
        How many seeds the study trains its network under.
    rival : (str, VoxelModel), optional
        Title of the best linear model, where that isn't the one studied, and what learns it.
    scale : (float, float), optional
        Half-way between the groups, and SD within them, of the final model's scores of new people.
    """

    name: str
    title: str
    model: Model
    data: ScanSet
    final: FittedModel
    fold: Fold
    folds: list[Fold]
    n_epochs: Sequence[int]
    n_first: int
    seed: int
    n_seeds: int = 1
    rival: tuple[str, VoxelModel] | None = None
    scale: tuple[float, float] | None = None

    @property
    def takes_gradients(self) -> bool:
        """Whether it is trained by gradients, so that each fit is a training."""
        return isinstance(self.model, TrainedNetwork) and self.model.trainable.longest > 0

    @property
    def reads_series(self) -> bool:
        """Whether it reads time series, so that maps are of its seeds and networks."""
        return self.final.preparation.reads_series

    def filled(self) -> FloatArray:
        """Fill in the mean over scans where one has no data: maps as they are, (N, C, V)."""
        values = self.data.values
        known = np.isfinite(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values, 0).sum(axis=0, dtype=np.float64) / count
        return np.where(known, values, mean).astype(np.float32)

    def without_test_people(self) -> list[FittedModel]:
        """Learn it on each of the folds again, with the length of training chosen there."""
        if isinstance(self.model, TrainedNetwork):
            return self._networks(self.model, self.folds, self.seed)
        assert isinstance(self.model, VoxelModel)
        found = []
        for fold in self.folds:
            one = fit_linear(self.name, self.model, self.data, fold, needs_scale=False)
            rows = (self.data.rows(fold.train), self.data.rows(fold.test))
            found.append(FittedModel(one.network, one.preparation, *rows))
        return found

    def reseeded(self) -> list[list[FittedModel]]:
        """Train a network on the folds of the first repeat again, once for each further seed.

        Of a model that is fitted without gradient steps, which depends on no seed, nothing.
        """
        if not self.takes_gradients:
            return []
        assert isinstance(self.model, TrainedNetwork)
        first = self.folds[: self.n_first]
        seeds = [fold_seed(self.seed, SEEDS, number) for number in range(1, self.n_seeds)]
        return [self._networks(self.model, first, seed) for seed in seeds]

    def _networks(
        self, model: TrainedNetwork, folds: Sequence[Fold], seed: int
    ) -> list[FittedModel]:
        trainings = []
        for fold, n_epochs in zip(folds, self.n_epochs, strict=False):
            own = fold_seed(seed, fold.repeat, fold.fold)
            task = FoldTask(self.data, fold, own, f"signature_fold-{fold.fold}")
            trainings.append(task.outer_training(n_epochs))
        found = []
        for one, done, fold in zip(
            trainings, fit_networks(model.trainable, trainings), folds, strict=True
        ):
            assert one.scans.preparation is not None
            rows = (one.train, self.data.rows(fold.test))
            found.append(FittedModel(done.network, one.scans.preparation, *rows))
        return found


def studied_model(
    pipeline: Pipeline, results: Results, facts: dict[str, Any], folder: Path
) -> StudiedModel:
    """Take the model of a study that export takes by default, with its final network."""
    name = facts["exported"]["model"]
    is_network = name == NETWORK
    own = folder / (NETWORK_FOLDER if is_network else LINEAR_FOLDER)
    network, _ = read_network(own, (*TRUSTED, _package_of(pipeline)))
    folds, everybody = results.folds, np.arange(len(results.data.cohort.scans))
    n_first = sum(fold.repeat == folds[0].repeat for fold in folds)
    n_folds = n_first if is_network and pipeline.trainable.longest > 0 else len(folds)
    scale = read_record(own).get("score_scale")
    model = TrainedNetwork(pipeline.trainable.quiet(), pipeline.seed)
    return StudiedModel(
        name=name,
        title=facts["titles"][name],
        model=model if is_network else pipeline.baselines[name],
        data=results.data,
        final=FittedModel(network, read_preparation(own), everybody, everybody[:0]),
        fold=final_fold(results, pipeline.seed),
        folds=folds[:n_folds],
        n_epochs=results.n_epochs[:n_folds],
        n_first=n_first,
        seed=pipeline.seed,
        n_seeds=1 + (results.again["seed"].nunique() if len(results.again) else 0),
        rival=_rival(pipeline, results, facts) if is_network else None,
        scale=(scale["middle"], scale["sd"]) if scale else None,
    )


def _rival(
    pipeline: Pipeline, results: Results, facts: dict[str, Any]
) -> tuple[str, VoxelModel] | None:
    linear = exportable_linear(pipeline, results.data)
    if not linear:
        return None
    name = best_of(linear, facts["models"])
    return facts["titles"][name], linear[name]


def _package_of(pipeline: Pipeline) -> str:
    """Name the package that the network comes from: a study has already run it."""
    build: Any = pipeline.trainable.build_network
    return str(getattr(build, "func", build).__module__).partition(".")[0]
