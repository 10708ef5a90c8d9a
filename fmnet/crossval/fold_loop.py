"""Cross-validation of the network and its baselines in the same folds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from fmnet import types
from fmnet.baselines.base import Baseline, FoldScores, score_fold
from fmnet.crossval.workers import map_units
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.errors import ConfigError, Fault
from fmnet.runs.checkpoints import FoldCheckpoints, ScoredFold, Shard
from fmnet.training.fit import FoldTask, Trainable, TrainedFold, train_on_folds
from fmnet.training.processes import is_first
from fmnet.training.scan_set import ScanSet

NETWORK = types.NETWORK
#: Part of the seeds of trainings that differ in nothing but random numbers.
SEEDS = 4_000_000


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Everything between labelled scans and out-of-fold scores, all choices included.

    Parameters
    ----------
    trainable : Trainable
        The network and how it is trained.
    baselines : dict
        By name.
    build_folds : callable
        Cohort to folds.
    seed : int
        Everything random derives from it.
    n_jobs : int
        Processes among which folds and permutations are shared.
    is_calibrated : bool
        Whether scores come with probabilities. Without, inner folds are trained only where
        something is chosen on them, and scores are the same.
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

    def without_loggers(self) -> "Pipeline":
        """Leave out logs and checkpoints, which only the study's own trainings are worth."""
        return replace(self, trainable=self.trainable.quiet())

    def folds_together(self, folds: list[Fold]) -> int:
        """Count the folds whose inner trainings fill the networks that are trained at once."""
        return -(-self.trainable.n_stacked // len(folds[0].validation))


def fold_seed(seed: int, *path: int) -> int:
    """Derive a seed for one training, the same whatever ran before it."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0])


def crossvalidate(
    pipeline: Pipeline,
    data: ScanSet,
    folds: list[Fold],
    title: str = "",
    parts: FoldCheckpoints | None = None,
) -> tuple[pd.DataFrame, list[int]]:
    """Let every model learn on each fold and score its test subjects once.

    Parameters
    ----------
    pipeline, data, folds
        What learns, from what. Baselines that the cohort lacks something for are passed over.
    title : str
        Before the progress bar; empty for none.
    parts : FoldCheckpoints or None
        Where folds are kept that are done, and not done again.

    Returns
    -------
    tuple
        Predictions, model by model, and the number of epochs that each fold chose.
    """
    done = score_all(pipeline, data, folds, title, parts)
    rows = pd.concat([scored.rows for scored in done], ignore_index=True)
    models = [NETWORK, *usable_baselines(pipeline, data)]
    tables = [rows[rows["model"] == model] for model in models]
    return pd.concat(tables, ignore_index=True), [scored.n_epochs for scored in done]


def score_all(
    pipeline: Pipeline, data: ScanSet, folds: list[Fold], title: str, parts: FoldCheckpoints | None
) -> list[ScoredFold]:
    """Read the folds that are done and work on the others, in as many processes as asked for."""
    done: dict[Fold, ScoredFold] = {}
    if parts is not None:
        done |= {fold: scored for fold in folds if (scored := parts.read(fold))}
    missing = [fold for fold in folds if fold not in done]
    size = pipeline.folds_together(folds)
    units = [missing[start : start + size] for start in range(0, len(missing), size)]
    # several processes would write over each other's bars
    inner_title = title if pipeline.n_jobs == 1 else ""
    bar = tqdm(
        total=len(folds),
        initial=len(done),
        desc=title,
        unit="fold",
        leave=False,
        disable=not (title and is_first()),
    )
    with bar:
        for unit, found in map_units(
            _score_unit, (pipeline, data, inner_title), units, pipeline.n_jobs
        ):
            done |= dict(zip(unit, found, strict=True))
            if parts is not None and is_first():
                for fold in unit:
                    parts.write(fold, done[fold])
            bar.update(len(unit))
    return [done[fold] for fold in folds]


def _score_unit(shared: tuple[Pipeline, ScanSet, str], folds: list[Fold]) -> list[ScoredFold]:
    pipeline, data, title = shared
    return score_folds(pipeline, [(data, fold) for fold in folds], title)


def score_folds(
    pipeline: Pipeline, work: list[tuple[ScanSet, Fold]], title: str = ""
) -> list[ScoredFold]:
    """Train the networks of several folds together, then fit the baselines of each.

    Parameters
    ----------
    pipeline : Pipeline
        What learns.
    work : list of (ScanSet, Fold)
        From what; the labels may differ from one to the next.
    title : str
        Before the progress bar; empty for none.
    """
    tasks = [FoldTask(data, fold, _seed_of(pipeline, fold), _name_of(fold)) for data, fold in work]
    is_calibrated = pipeline.is_calibrated
    said = title and f"{title}: training"
    trained = train_with_progress(pipeline.trainable, tasks, said, is_calibrated)
    scored = []
    for (data, fold), one in zip(work, trained, strict=True):
        score = one.scores(data.rows(fold.test)).astype(float)
        unknown = np.full(len(score), np.nan)
        probability = one.calibration.probability(score) if one.calibration else unknown
        found = {NETWORK: FoldScores(score, probability)}
        found |= {
            name: score_fold(baseline, data, fold, is_calibrated)
            for name, baseline in usable_baselines(pipeline, data).items()
        }
        tables = [fold_rows(data.cohort, fold, name, scores) for name, scores in found.items()]
        scored.append(ScoredFold(pd.concat(tables, ignore_index=True), one.n_epochs))
    return scored


def usable_baselines(pipeline: Pipeline, data: ScanSet) -> dict[str, Baseline]:
    """Pick the baselines that the cohort has what they need for."""
    return {n: one for n, one in pipeline.baselines.items() if not one.lacks(data)}


def lacking_baselines(pipeline: Pipeline, data: ScanSet) -> dict[str, str]:
    """Say of the others what the cohort lacks."""
    found = {name: one.lacks(data) for name, one in pipeline.baselines.items()}
    return {name: lack for name, lack in found.items() if lack}


def crossvalidate_seeds(
    pipeline: Pipeline,
    data: ScanSet,
    folds: list[Fold],
    n_seeds: int,
    parts: FoldCheckpoints | None,
) -> pd.DataFrame:
    """Train the network again on the folds of the first repeat, with other random numbers.

    Returns
    -------
    DataFrame
        The out-of-fold table of `n_seeds` - 1 further trainings, with a column ``seed``.
    """
    tables = []
    for number in range(1, n_seeds):
        other, title, kept = _with_seed(pipeline, number, n_seeds, parts)
        table, _ = crossvalidate(other, data, _first_repeat(folds), title, kept)
        tables.append(table.assign(seed=number))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def score_shard(
    shard: Shard,
    pipeline: Pipeline,
    data: ScanSet,
    folds: list[Fold],
    n_seeds: int,
    parts: FoldCheckpoints,
) -> int:
    """Work on a share of the folds, and of those under other seeds; count them."""
    own, again = shard.own(folds), shard.own(_first_repeat(folds))
    if own:
        score_all(pipeline, data, own, "folds", parts)
    for number in range(1, n_seeds if again else 1):
        other, title, kept = _with_seed(pipeline, number, n_seeds, parts)
        score_all(other, data, again, title, kept)
    return len(own) + (n_seeds - 1) * len(again)


def _first_repeat(folds: list[Fold]) -> list[Fold]:
    return [fold for fold in folds if fold.repeat == 0]


def _with_seed(
    pipeline: Pipeline, number: int, n_seeds: int, parts: FoldCheckpoints | None
) -> tuple[Pipeline, str, FoldCheckpoints | None]:
    """Only the network, with other random numbers; its title, and where its folds are kept."""
    quiet = replace(pipeline.without_loggers(), baselines={})
    other = replace(quiet, seed=fold_seed(pipeline.seed, SEEDS, number))
    return other, f"seed {number + 1} of {n_seeds}", parts and parts.below(f"seed-{number}")


def train_with_progress(
    trainable: Trainable, tasks: list[FoldTask], title: str, is_calibrated: bool = True
) -> list[TrainedFold]:
    """Train on folds with a progress bar over epochs, or without one if it has no title."""
    n_epochs = trainable.longest
    needs_inner = is_calibrated or n_epochs > 0
    n_trainings = sum(needs_inner * len(task.fold.validation) + 1 for task in tasks)
    unit, total = ("epoch", n_trainings * n_epochs) if n_epochs else ("training", n_trainings)
    is_hidden = not (title and is_first())
    with tqdm(total=total, desc=title, unit=unit, leave=False, disable=is_hidden) as bar:
        return train_on_folds(trainable, tasks, bar.update, is_calibrated)


def _seed_of(pipeline: Pipeline, fold: Fold) -> int:
    return fold_seed(pipeline.seed, fold.repeat, fold.fold)


def _name_of(fold: Fold) -> str:
    return f"repeat-{fold.repeat}_fold-{fold.fold}"


def mean_scores(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Average a model's out-of-fold scores over repeats: one row per scan."""
    rows = predictions[predictions["model"] == model]
    return rows.groupby(["participant_id", "scan_id"], as_index=False)[["label", "score"]].mean()


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
