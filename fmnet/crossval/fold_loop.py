"""Cross-validate networks and baselines in the same folds."""

import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning.callbacks import ProgressBar

from fmnet.baselines.base import FoldScores, Model, Scores
from fmnet.crossval.workers import map_units
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.data.outcomes import Outcomes, outcomes_of
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault
from fmnet.inference.calibration import Calibration
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.rebuild import describe_builder
from fmnet.progress.show import moves_bars, paused, step
from fmnet.runs.checkpoints import FoldCheckpoints, ScoredFold
from fmnet.runs.final_models import network_kind, network_title
from fmnet.targets.base import Target
from fmnet.training.data import Training
from fmnet.training.fit import (
    FoldTask,
    Trainable,
    TrainedFold,
    scores_of_labelings,
    train_on_folds,
)
from fmnet.training.processes import is_first
from fmnet.training.scan_set import ScanSet
from fmnet.training.voxel_weights import weights_of_labelings
from fmnet.types import NETWORK, ModelKind

#: Part of the seeds of trainings that differ in nothing but random numbers.
SEEDS = 4_000_000
#: Why sites can't be harmonised where a network would not read what that changes.
NO_MAPS = "a network that reads maps; time series are not harmonised"


@dataclass(frozen=True, eq=False)
class TrainedNetwork(Model):
    """A network that is trained on each fold, its length of training chosen on inner folds.

    Parameters
    ----------
    trainable : Trainable
        What is trained.
    seed : int
        Everything random derives from it.
    name : str
        What its trainings are called in logs; empty for the network of the study.
    fwhm_mm : float, optional
        Smoothing of the maps that it reads, where that isn't the study's.
    """

    trainable: Trainable
    seed: int
    name: str = ""
    fwhm_mm: float | None = None

    @property
    def n_stacked(self) -> int:
        """How many trainings it does side by side."""
        return self.trainable.n_stacked

    def describe(self, name: str) -> tuple[ModelKind, str]:  # noqa: ARG002 (its title is its own)
        """Say what it is, and what it is called in reports."""
        return describe_network(self.trainable, [self.trainable.longest])

    def lacks(self, data: ScanSet) -> str:
        """Say that it doesn't read what is harmonised."""
        is_unchanged = data.harmonise is not None and self.own_scans(data).reads_series
        return NO_MAPS if is_unchanged else ""

    def quiet(self) -> Self:
        """Leave out loggers, and callbacks that only watch."""
        return replace(self, trainable=self.trainable.quiet())

    def own_scans(self, scans: ScanSet) -> ScanSet:
        """Let it read the scans in its own way, where that isn't the study's."""
        if not self.name:
            return scans
        return scans.with_smoothing(self.fwhm_mm).for_network(self.trainable.build_network)

    def score_folds(
        self, work: Sequence[tuple[ScanSet, Fold]], is_calibrated: bool = True, title: str = ""
    ) -> list[FoldScores]:
        """Train on several folds together, see `Model`."""
        prefix, tasks = self.name and f"{self.name}_", []
        for scans, fold in work:
            name = f"{prefix}repeat-{fold.repeat}_fold-{fold.fold}"
            seed = fold_seed(self.seed, fold.repeat, fold.fold)
            tasks.append(FoldTask(self.own_scans(scans), fold, seed, name))
        said = title and f"training {self.name.replace('_', ' ')}".strip()
        found = []
        for task, one in zip(
            tasks, train_with_progress(self.trainable, tasks, said, is_calibrated), strict=True
        ):
            score = one.scores(task.scans.rows(task.fold.test)).astype(float)
            probability, outputs = np.full(len(score), np.nan), {}
            if isinstance(one.calibration, Calibration):
                probability = one.calibration.probability(score)
            elif one.calibration is not None:
                outputs = one.calibration.outputs(score)
            found.append(FoldScores(score, probability, one.n_epochs, outputs))
        return found

    def scores_of_labelings(
        self, data: ScanSet, fold: Fold, labelings: NDArray[np.int64]
    ) -> Scores:
        """Fit a closed form to all labelings at once, see `Model`."""
        seed = fold_seed(self.seed, fold.repeat, fold.fold)
        task = FoldTask(self.own_scans(data), fold, seed, self.name or NETWORK)
        scores = scores_of_labelings(self.trainable, task, labelings)
        return super().scores_of_labelings(data, fold, labelings) if scores is None else scores

    def scores_of_responses(self, data: ScanSet, fold: Fold, orders: Sequence[Outcomes]) -> Scores:
        """Fit a closed form to all outcomes at once, see `Model`."""
        seed = fold_seed(self.seed, fold.repeat, fold.fold)
        task = FoldTask(self.own_scans(data), fold, seed, self.name or NETWORK)
        assert data.target is not None
        train = data.rows(fold.train)
        learned = np.zeros(
            (len(orders), len(data.participant_ids), data.target.n_scores), np.float32
        )
        for number, own in enumerate(orders):
            learned[number, train] = data.target.fit_null(own, train).responses[train]
        scores = scores_of_labelings(self.trainable, task, learned)
        return super().scores_of_responses(data, fold, orders) if scores is None else scores

    def weights_of_labelings(
        self, data: ScanSet, fold: Fold, labelings: NDArray[np.int64]
    ) -> FloatArray | None:
        """Fit a closed form to all labelings at once, train others on each, see `Model`."""
        seed = fold_seed(self.seed, fold.repeat, fold.fold)
        task = FoldTask(self.own_scans(data), fold, seed, self.name or NETWORK)
        return weights_of_labelings(self.trainable, task, labelings)


def describe_network(trainable: Trainable, n_epochs: Collection[int]) -> tuple[ModelKind, str]:
    """Say what a network is, and what it is called in reports, by its lengths of training."""
    built = describe_builder(trainable.build_network, ())
    described = (built.builder, built.settings, n_epochs)
    return network_kind(*described), network_title(*described)


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Everything between labelled scans and out-of-fold scores, all choices included.

    Everything random derives from `seed`; folds and permutations are computed in `n_jobs`
    processes. With `is_calibrated`, scores come with probabilities; without, inner folds are
    trained only where something is chosen on them, and scores are the same. `baselines` are all
    models but the network of the study, further networks among them.
    """

    trainable: Trainable
    baselines: Mapping[str, Model]
    build_folds: Callable[[Cohort], list[Fold]]
    seed: int
    n_jobs: int = 1
    is_calibrated: bool = True

    def __post_init__(self) -> None:
        if NETWORK in self.baselines:
            accepted, action = f"any name but '{NETWORK}'", f"give baselines.{NETWORK} another name"
            raise ConfigError(Fault("baselines", f"one named '{NETWORK}'", accepted, action))

    def usable(self, scans: ScanSet) -> dict[str, Model]:
        """Pick the baselines that the cohort has what they need for."""
        return {name: one for name, one in self.baselines.items() if not _lack_of(one, scans)}

    def lacking(self, scans: ScanSet) -> dict[str, str]:
        """Say of the others what the cohort lacks."""
        found = {name: _lack_of(one, scans) for name, one in self.baselines.items()}
        return {name: lack for name, lack in found.items() if lack}

    def describe(self, n_epochs: Collection[int]) -> tuple[dict[str, ModelKind], dict[str, str]]:
        """Say by name what the models are, and what they are called in reports.

        `n_epochs` are the network's lengths of training, one for each fold.
        """
        described = {NETWORK: describe_network(self.trainable, n_epochs)}
        described |= {name: one.describe(name) for name, one in self.baselines.items()}
        often = Counter(title for _, title in described.values())
        titles = {
            name: title if often[title] == 1 else f"{title} ({name.replace('_', ' ')})"
            for name, (_, title) in described.items()
        }
        return {name: kind for name, (kind, _) in described.items()}, titles

    def rerun(self, names: Collection[str] = (), seed: int | None = None) -> "Pipeline":
        """Train again for another purpose: without loggers, with some of the baselines."""
        kept = {name: one.quiet() for name, one in self.baselines.items() if name in names}
        seed = self.seed if seed is None else seed
        return replace(self, trainable=self.trainable.quiet(), baselines=kept, seed=seed)

    def folds_together(self, folds: list[Fold]) -> int:
        """Count the folds whose inner trainings fill the networks that are trained at once."""
        n_stacked = [self.trainable.n_stacked, *(one.n_stacked for one in self.baselines.values())]
        return -(-max(n_stacked) // len(folds[0].validation))


def _lack_of(model: Model, scans: ScanSet) -> str:
    """Say what a cohort lacks for a model; empty if nothing is missing."""
    if model.is_for_outcomes == (scans.target is None) and not isinstance(model, TrainedNetwork):
        return "a target other than two groups" if model.is_for_outcomes else "two groups"
    return model.lacks(scans)


def fold_seed(seed: int, *path: int) -> int:
    """Derive a seed for one training, the same whatever ran before it."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0])


def crossvalidate(
    pipeline: Pipeline,
    scans: ScanSet,
    folds: list[Fold],
    title: str = "",
    checkpoints: FoldCheckpoints | None = None,
) -> tuple[pd.DataFrame, dict[str, list[int]]]:
    """Let every model learn on each fold and score its test subjects once.

    Baselines that the cohort lacks something for are passed over; folds that `checkpoints` hold are
    not done again. `title` is that of a step of `fmnet.progress`; empty for none.

    Returns
    -------
    tuple
        Out-of-fold table, model by model; and of each network the epochs that each fold chose.
    """
    done: dict[Fold, ScoredFold] = {}
    if checkpoints is not None:
        done |= {fold: scored for fold in folds if (scored := checkpoints.read(fold))}
    missing = [fold for fold in folds if fold not in done]
    size = pipeline.folds_together(folds)
    units = [missing[start : start + size] for start in range(0, len(missing), size)]
    given, shown = (pipeline, scans, title), title if is_first() else ""
    with step(shown, len(folds), done=len(done)) as advance:
        for unit, found in map_units(_score_unit, given, units, pipeline.n_jobs):
            done |= dict(zip(unit, found, strict=True))
            if checkpoints is not None and is_first():
                for fold in unit:
                    checkpoints.write(fold, done[fold])
            advance(len(unit))
    rows = pd.concat([done[fold].rows for fold in folds], ignore_index=True)
    tables = [rows[rows["model"] == model] for model in (NETWORK, *pipeline.usable(scans))]
    return pd.concat(tables, ignore_index=True), _epochs_by_network([done[one] for one in folds])


def _epochs_by_network(scored: list[ScoredFold]) -> dict[str, list[int]]:
    each = [{NETWORK: one.n_epochs, **one.further_epochs} for one in scored]
    return {name: [epochs[name] for epochs in each] for name in each[0]}


def _score_unit(given: tuple[Pipeline, ScanSet, str], folds: list[Fold]) -> list[ScoredFold]:
    pipeline, scans, title = given
    return score_folds(pipeline, [(scans, fold) for fold in folds], title)


def score_folds(
    pipeline: Pipeline, work: list[tuple[ScanSet, Fold]], title: str = "", covers: int | None = None
) -> list[ScoredFold]:
    """Let every model learn on several folds, networks on all of them together.

    The labels of the scans may differ from one fold to the next. With a `title` a step of
    `fmnet.progress` is shown, which stands for so many units of the step around it as it `covers`,
    by default one for each fold.
    """
    network = TrainedNetwork(pipeline.trainable, pipeline.seed)
    models: dict[str, Model] = {NETWORK: network} | pipeline.usable(work[0][0])
    scored = {}
    shown = "models" if title and is_first() else ""
    with step(shown, len(models), covers=covers or len(work)) as advance:
        for name, model in models.items():
            scored[name] = model.score_folds(work, pipeline.is_calibrated, title)
            advance()
    found = []
    for number, (scans, fold) in enumerate(work):
        own = {name: scores[number] for name, scores in scored.items()}
        rows = pd.concat(
            [
                fold_rows(scans.cohort, fold, name, scores, scans.target)
                for name, scores in own.items()
            ],
            ignore_index=True,
        )
        n_epochs = {name: one.n_epochs for name, one in own.items() if one.n_epochs is not None}
        found.append(ScoredFold(rows, n_epochs.pop(NETWORK), n_epochs))
    return found


def crossvalidate_seeds(
    pipeline: Pipeline,
    scans: ScanSet,
    folds: list[Fold],
    n_seeds: int,
    checkpoints: FoldCheckpoints | None,
) -> pd.DataFrame:
    """Train the network again on those of these folds that are of the first repeat.

    Returns
    -------
    DataFrame
        The out-of-fold table of `n_seeds` - 1 trainings with other random numbers, with a column
        ``seed``; empty for none.
    """
    first = [fold for fold in folds if fold.repeat == 0]
    tables, numbers = [], range(1, n_seeds if first else 1)
    with step("further seeds" if numbers and is_first() else "", len(numbers)) as advance:
        for number in numbers:
            other = pipeline.rerun(seed=fold_seed(pipeline.seed, SEEDS, number))
            title = f"seed {number + 1} of {n_seeds}"
            kept = checkpoints and checkpoints.below(f"seed-{number}")
            table, _ = crossvalidate(other, scans, first, title, kept)
            tables.append(table.assign(seed=number))
            advance()
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def train_with_progress(
    trainable: Trainable,
    tasks: list[FoldTask],
    title: str,
    is_calibrated: bool = True,
    on_inner: Callable[[Training, ScoreNetwork], Any] | None = None,
) -> list[TrainedFold]:
    """Train on folds, and show how many epochs are done, or nothing if it has no title.

    For `on_inner` see `train_on_folds`.
    """
    n_epochs = trainable.longest
    needs_inner = is_calibrated or n_epochs > 0
    n_trainings = sum(needs_inner * len(task.fold.validation) + 1 for task in tasks)
    unit, total = ("epoch", n_trainings * n_epochs) if n_epochs else ("training", n_trainings)
    # two bars at once would write over each other
    shows_own = any(isinstance(one, ProgressBar) for one in trainable.callbacks)
    shows_own = shows_own and moves_bars(sys.stdout)
    shown = "" if shows_own or not is_first() else title
    with (
        paused() if shows_own else nullcontext(),
        step(shown, total, unit) as advance,
    ):
        return train_on_folds(trainable, tasks, advance, is_calibrated, on_inner)


def fold_rows(
    cohort: Cohort, fold: Fold, model: str, scores: FoldScores, target: Target | None = None
) -> pd.DataFrame:
    """List what a model says about a test fold: one row per scan of the out-of-fold table."""
    rows = rows_of(fold.test, cohort.participant_ids)
    scan: dict[str, Any] = {
        "participant_id": [cohort.participant_ids[row] for row in rows],
        "scan_id": [cohort.scans[row].scan_id for row in rows],
        "repeat": fold.repeat,
        "fold": fold.fold,
        "model": model,
    }
    if target is None:
        own = {"score": scores.score, "probability": scores.probability}
        return pd.DataFrame({**scan, "label": cohort.labels[rows], **own})
    outcomes = outcomes_of(cohort).take(rows).values
    columns = score_columns(target)
    found = {f"outcome_{role}": values for role, values in outcomes.items()}
    found |= {column: scores.score[:, k] for k, column in enumerate(columns)}
    return pd.DataFrame({**scan, **found, **scores.outputs})


def score_columns(target: Target) -> tuple[str, ...]:
    """Name the columns of the out-of-fold table that hold a target's scores."""
    names = target.score_names
    return ("score",) if len(names) == 1 else tuple(f"score_{name}" for name in names)
