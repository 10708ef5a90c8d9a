"""Cross-validate the network and its baselines in the same folds."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from fmnet.baselines.base import Baseline, FoldScores, score_fold
from fmnet.crossval.workers import map_units
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.errors import ConfigError, Fault
from fmnet.networks.rebuild import describe_builder
from fmnet.runs.checkpoints import FoldCheckpoints, ScoredFold
from fmnet.runs.final_models import network_title
from fmnet.training.fit import FoldTask, Trainable, TrainedFold, train_on_folds
from fmnet.training.processes import is_first
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK, ModelKind

#: Part of the seeds of trainings that differ in nothing but random numbers.
SEEDS = 4_000_000


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Everything between labelled scans and out-of-fold scores, all choices included.

    Everything random derives from `seed`; folds and permutations are computed in `n_jobs`
    processes. With `is_calibrated`, scores come with probabilities; without, inner folds are
    trained only where something is chosen on them, and scores are the same.
    """

    trainable: Trainable
    baselines: dict[str, Baseline]
    build_folds: Callable[[Cohort], list[Fold]]
    seed: int
    n_jobs: int = 1
    is_calibrated: bool = True

    def __post_init__(self) -> None:
        if NETWORK in self.baselines:
            accepted, action = f"any name but '{NETWORK}'", f"give baselines.{NETWORK} another name"
            raise ConfigError(Fault("baselines", f"one named '{NETWORK}'", accepted, action))

    def usable(self, scans: ScanSet) -> dict[str, Baseline]:
        """Pick the baselines that the cohort has what they need for."""
        return {name: one for name, one in self.baselines.items() if not one.lacks(scans)}

    def lacking(self, scans: ScanSet) -> dict[str, str]:
        """Say of the others what the cohort lacks."""
        found = {name: one.lacks(scans) for name, one in self.baselines.items()}
        return {name: lack for name, lack in found.items() if lack}

    def describe(self, n_epochs: Collection[int]) -> tuple[dict[str, ModelKind], dict[str, str]]:
        """Say by name what the models are, and what they are called in reports.

        `n_epochs` are the network's lengths of training, one for each fold.
        """
        built = describe_builder(self.trainable.build_network, ())
        title = network_title(built.builder, built.settings, n_epochs)
        network: tuple[ModelKind, str] = "gradient" if any(n_epochs) else "closed form", title
        described = {NETWORK: network}
        described |= {name: one.describe(name) for name, one in self.baselines.items()}
        often = Counter(title for _, title in described.values())
        titles = {
            name: title if often[title] == 1 else f"{title} ({name.replace('_', ' ')})"
            for name, (_, title) in described.items()
        }
        return {name: kind for name, (kind, _) in described.items()}, titles

    def rerun(self, names: Collection[str] = (), seed: int | None = None) -> "Pipeline":
        """Train again for another purpose: without loggers, with some of the baselines."""
        kept = {name: one for name, one in self.baselines.items() if name in names}
        seed = self.seed if seed is None else seed
        return replace(self, trainable=self.trainable.quiet(), baselines=kept, seed=seed)

    def folds_together(self, folds: list[Fold]) -> int:
        """Count the folds whose inner trainings fill the networks that are trained at once."""
        return -(-self.trainable.n_stacked // len(folds[0].validation))


def fold_seed(seed: int, *path: int) -> int:
    """Derive a seed for one training, the same whatever ran before it."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0])


def crossvalidate(
    pipeline: Pipeline,
    scans: ScanSet,
    folds: list[Fold],
    title: str = "",
    checkpoints: FoldCheckpoints | None = None,
) -> tuple[pd.DataFrame, list[int]]:
    """Let every model learn on each fold and score its test subjects once.

    Baselines that the cohort lacks something for are passed over; folds that `checkpoints` hold are
    not done again. `title` is shown before the progress bar; empty for none.

    Returns
    -------
    tuple
        Out-of-fold table, model by model, and the number of epochs that each fold chose.
    """
    done: dict[Fold, ScoredFold] = {}
    if checkpoints is not None:
        done |= {fold: scored for fold in folds if (scored := checkpoints.read(fold))}
    missing = [fold for fold in folds if fold not in done]
    size = pipeline.folds_together(folds)
    units = [missing[start : start + size] for start in range(0, len(missing), size)]
    # several processes would write over each other's bars
    given = (pipeline, scans, title if pipeline.n_jobs == 1 else "")
    is_hidden = not (title and is_first())
    progress = {"total": len(folds), "initial": len(done)}
    with tqdm(**progress, desc=title, unit="fold", leave=False, disable=is_hidden) as bar:
        for unit, found in map_units(_score_unit, given, units, pipeline.n_jobs):
            done |= dict(zip(unit, found, strict=True))
            if checkpoints is not None and is_first():
                for fold in unit:
                    checkpoints.write(fold, done[fold])
            bar.update(len(unit))
    rows = pd.concat([done[fold].rows for fold in folds], ignore_index=True)
    tables = [rows[rows["model"] == model] for model in (NETWORK, *pipeline.usable(scans))]
    return pd.concat(tables, ignore_index=True), [done[fold].n_epochs for fold in folds]


def _score_unit(given: tuple[Pipeline, ScanSet, str], folds: list[Fold]) -> list[ScoredFold]:
    pipeline, scans, title = given
    return score_folds(pipeline, [(scans, fold) for fold in folds], title)


def score_folds(
    pipeline: Pipeline, work: list[tuple[ScanSet, Fold]], title: str = ""
) -> list[ScoredFold]:
    """Train the networks of several folds together, then fit the baselines of each.

    The labels of the scans may differ from one fold to the next.
    """
    tasks = []
    for scans, fold in work:
        seed = fold_seed(pipeline.seed, fold.repeat, fold.fold)
        tasks.append(FoldTask(scans, fold, seed, f"repeat-{fold.repeat}_fold-{fold.fold}"))
    is_calibrated, said = pipeline.is_calibrated, title and f"{title}: training"
    trained = train_with_progress(pipeline.trainable, tasks, said, is_calibrated)
    scored = []
    for (scans, fold), one in zip(work, trained, strict=True):
        score = one.scores(scans.rows(fold.test)).astype(float)
        unknown = np.full(len(score), np.nan)
        probability = one.calibration.probability(score) if one.calibration else unknown
        found = {NETWORK: FoldScores(score, probability)}
        for name, baseline in pipeline.usable(scans).items():
            found[name] = score_fold(baseline, scans, fold, is_calibrated)
        tables = [fold_rows(scans.cohort, fold, name, scores) for name, scores in found.items()]
        scored.append(ScoredFold(pd.concat(tables, ignore_index=True), one.n_epochs))
    return scored


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
    tables = []
    for number in range(1, n_seeds if first else 1):
        other = pipeline.rerun(seed=fold_seed(pipeline.seed, SEEDS, number))
        title = f"seed {number + 1} of {n_seeds}"
        kept = checkpoints and checkpoints.below(f"seed-{number}")
        table, _ = crossvalidate(other, scans, first, title, kept)
        tables.append(table.assign(seed=number))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def train_with_progress(
    trainable: Trainable, tasks: list[FoldTask], title: str, is_calibrated: bool = True
) -> list[TrainedFold]:
    """Train on folds with a progress bar over epochs, or without one if it has no title."""
    n_epochs = trainable.longest
    needs_inner = is_calibrated or n_epochs > 0
    n_trainings = sum(needs_inner * len(task.fold.validation) + 1 for task in tasks)
    unit, total = ("epoch", n_trainings * n_epochs) if n_epochs else ("training", n_trainings)
    # two bars at once would write over each other
    shows_own = any(isinstance(one, ProgressBar) for one in trainable.callbacks)
    is_hidden = shows_own or not (title and is_first())
    with tqdm(total=total, desc=title, unit=unit, leave=False, disable=is_hidden) as bar:
        return train_on_folds(trainable, tasks, bar.update, is_calibrated)


def fold_rows(cohort: Cohort, fold: Fold, model: str, scores: FoldScores) -> pd.DataFrame:
    """List what a model says about a test fold: one row per scan of the out-of-fold table."""
    rows = rows_of(fold.test, cohort.participant_ids)
    return pd.DataFrame(
        {
            "participant_id": [cohort.participant_ids[row] for row in rows],
            "scan_id": [cohort.scans[row].scan_id for row in rows],
            "repeat": fold.repeat,
            "fold": fold.fold,
            "model": model,
            "label": cohort.labels[rows],
            "score": scores.score,
            "probability": scores.probability,
        }
    )
