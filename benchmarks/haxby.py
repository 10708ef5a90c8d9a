"""Networks and linear models on real BOLD runs, from the 4-D file to the answer.

One person's 12 runs: whoever learns from 11 tells the two maps of the twelfth apart. This shows
that the way from BOLD runs to a trained network works on real data; it says nothing about people,
of whom there is one, and nothing about patients.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from benchmarks.decoding import decode_linearly
from benchmarks.haxby_runs import RunMaps, make_run_maps
from benchmarks.power.describe import describe
from benchmarks.race import Goal, write_results
from fmnet.baselines.base import Baseline, FoldScores
from fmnet.baselines.linear import LinearSvm, ShrinkageLda
from fmnet.crossval.fold_loop import Pipeline, crossvalidate, fold_rows
from fmnet.data.folds import Fold, build_folds, rows_of
from fmnet.data.nifti import to_image
from fmnet.data.tables import write_table
from fmnet.data.volume import FloatArray
from fmnet.evaluation.evaluate import study_metrics
from fmnet.evaluation.metrics import count_pairs
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.fit import Trainable
from fmnet.training.scan_set import MapScans
from fmnet.training.trainer import CPU_TRAINER, TrainerBuilder
from fmnet.types import NETWORK, NonNegative, NonNegativeCount, NonNegatives, Seed, Several

SVM, LDA, DECODER = "linear_svm", "shrinkage_lda", "nilearn_decoder"
#: Figures of a model that are reported.
FIGURES = ("balanced_accuracy", "auc")


@dataclass(frozen=True)
class Entrant:
    """A network and how it is trained.

    Parameters
    ----------
    build_network : callable
        Input shape to a fresh network.
    fwhm_mm : float
        Smoothing of its maps.
    """

    build_network: NetworkBuilder
    fwhm_mm: NonNegative = 0.0


@dataclass(frozen=True)
class Haxby:
    """Faces against houses in the brain of one person, leaving one run out at a time.

    Parameters
    ----------
    data : str or Path
        Folder of the data, see `benchmarks.haxby_runs`.
    networks : dict
        By name; the first is the one that the others are compared with.
    image, mask : str
        Name of the 4-D file in each run's folder, and of the mask on its grid in `data`.
    positive, negative : str
        Trial types.
    fwhm_mm : list of float
        Smoothing that the linear models choose from; nilearn's decoder takes the first.
    inner_splits : int
        Inner folds of the training runs, for every choice.
    n_shuffles : int
        How often the first network learns again with the two maps of every run in random order.
    trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    seed : int
        Of folds and trainings.
    """

    data: str | Path
    networks: dict[str, Entrant]
    image: str = "bold_25mm.nii.gz"
    mask: str = "haxby2001/sub001/masks/25mm/brain.nii.gz"
    positive: str = "face"
    negative: str = "house"
    fwhm_mm: NonNegatives = (0.0,)
    inner_splits: Several = 3
    n_shuffles: NonNegativeCount = 19
    trainer: TrainerBuilder = CPU_TRAINER
    seed: Seed = 0

    def run(self, out: Path) -> list[str]:
        """Write maps' scores and the table of models; return tables and goal in words."""
        with tempfile.TemporaryDirectory(prefix="fmnet-haxby-") as folder:
            conditions = (self.positive, self.negative)
            maps = make_run_maps(
                Path(self.data), self.image, self.mask, conditions, Path(folder) / "store"
            )
        n_runs = len(maps.runs)
        folds = build_folds(maps.cohort, n_runs, 1, self.inner_splits, self.seed)
        predictions = self._predict(maps, folds)
        out.mkdir(parents=True, exist_ok=True)
        write_table(predictions, out / "predictions.tsv")
        models = summarise(predictions, self.seed)
        auc = models.set_index("model")["auc"]
        first = next(iter(self.networks))
        goal = Goal(f"AUC of {first} less that of {SVM}", float(auc[first] - auc[SVM]), 0.0)
        grid = maps.cohort.grid
        settings = describe(self) | {"voxels": grid.n_voxels, "space": "the person's own"}
        tables = {"models": models, "runs": add_winners(maps.runs, predictions)}
        if self.n_shuffles:
            tables["shuffled"] = self._shuffle(maps, folds, float(auc[first]))
        return write_results(out, tables, [goal], settings)

    def _predict(self, maps: RunMaps, folds: list[Fold]) -> pd.DataFrame:
        """Let every model learn on each fold: the out-of-fold table."""
        tables = [
            self._train(name, entrant, maps, folds) for name, entrant in self.networks.items()
        ]
        return pd.concat([*tables, self._decode(maps, folds)], ignore_index=True)

    def _train(
        self, name: str, entrant: Entrant, maps: RunMaps, folds: list[Fold], title: str = ""
    ) -> pd.DataFrame:
        """Cross-validate a network as a study does, the first one with linear models beside it.

        A shuffle, which has a title, goes without.
        """
        settings = PreparationSettings(fwhm_mm=entrant.fwhm_mm)
        data = MapScans(maps.cohort, maps.values, settings)
        trainable = Trainable(entrant.build_network, self.trainer)
        planned = plan_compute(trainable, Compute(), data)
        baselines: dict[str, Baseline] = {}
        if not title and name == next(iter(self.networks)):
            baselines = {SVM: LinearSvm(self.fwhm_mm), LDA: ShrinkageLda(self.fwhm_mm)}
        pipeline = Pipeline(planned, baselines, build_folds, self.seed)
        rows, _ = crossvalidate(pipeline, data, folds, title or name)
        return rows.replace({"model": {NETWORK: name}})

    def _shuffle(self, maps: RunMaps, folds: list[Fold], auc: float) -> pd.DataFrame:
        """Tell how the first network does where there is nothing to learn."""
        name, entrant = next(iter(self.networks.items()))
        rng = np.random.default_rng(self.seed)
        found = []
        for number in range(self.n_shuffles):
            shuffled = replace(maps, values=shuffle_within_runs(maps.values, rng))
            scores = self._train(name, entrant, shuffled, folds, f"shuffle {number + 1}")
            found.append(count_pairs(scores).auc(np.ones(len(scores))))
        p = (1 + sum(one >= auc for one in found)) / (1 + len(found))
        row = {"model": name, "shuffles": len(found), "mean_auc": np.mean(found)}
        return pd.DataFrame([row | {"largest_auc": max(found), "p": p}])

    def _decode(self, maps: RunMaps, folds: list[Fold]) -> pd.DataFrame:
        cohort, affine = maps.cohort, maps.cohort.grid.affine
        images = [to_image(volume, affine) for volume in cohort.grid.unmask(maps.values[:, 0])]
        scores = decode_linearly(cohort, 1, folds, self.fwhm_mm[0], images)
        ends = np.cumsum([len(rows_of(fold.test, cohort.participant_ids)) for fold in folds])
        parts = np.split(scores, ends[:-1])
        return pd.concat(
            # nilearn gives no probabilities, and none are reported
            fold_rows(cohort, fold, DECODER, FoldScores(part, expit(part)))
            for fold, part in zip(folds, parts, strict=True)
        )


def shuffle_within_runs(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Swap the two maps of about half of the runs: (N, C, V), two after two of a run."""
    pairs = values.reshape(-1, 2, *values.shape[1:])
    is_swapped = rng.random(len(pairs)) < 0.5
    return np.where(is_swapped[:, None, None, None], pairs[:, ::-1], pairs).reshape(values.shape)


def summarise(predictions: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Tabulate models: balanced accuracy and AUC, with 95 % bootstrap intervals over runs."""
    found = study_metrics(predictions, seed)["models"]
    rows = []
    for model, figures in found.items():
        row = {"model": model}
        for name in FIGURES:
            low, high = figures[f"{name}_ci"]
            row |= {name: figures[name], f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def add_winners(runs: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Add, for each model, by how much it scores the positive map of each run higher."""
    by_label = predictions.pivot_table(
        index="participant_id", columns=["model", "label"], values="score", sort=False
    )
    added = runs.copy()
    for model in predictions["model"].unique():
        margin = by_label[model][1] - by_label[model][0]
        added[model] = margin.reindex(runs["run"]).to_numpy()
    return added
