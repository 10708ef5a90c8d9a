"""How the AUC grows with the number of people to learn from, and how many would be enough."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.crossval.fold_loop import NETWORK, Pipeline, fold_seed
from fmnet.crossval.reruns import run_once
from fmnet.data.folds import Fold
from fmnet.errors import ConfigError, Fault
from fmnet.evaluation.metrics import add_units
from fmnet.evaluation.power import Precision, learning_curve
from fmnet.training.scan_set import ScanSet
from fmnet.types import Count, PartialShare

#: Part of the seed that people are left out with.
THINNING = 6_000_000
#: Fewest training subjects of a class in each inner fold.
FEWEST = 2


@dataclass(frozen=True)
class LearningCurvePlan:
    """How a learning curve is measured.

    Parameters
    ----------
    shares : list of float
        Shares of the training subjects that are learned from, besides all of them; empty for no
        curve.
    n_repeats : int
        Repeats of the folds.
    """

    shares: Sequence[PartialShare] = ()
    n_repeats: Count = 1

    def __post_init__(self) -> None:
        if len(set(self.shares)) == 1 or 0 in self.shares:
            found, accepted = (
                f"{list(self.shares)}",
                "two or more different shares above 0, or none",
            )
            action = "for instance learning_curve.shares=[0.4,0.6,0.8]"
            raise ConfigError(Fault("learning_curve.shares", found, accepted, action))


def thin_fold(fold: Fold, label_of: dict[str, int], share: float, seed: int) -> Fold:
    """Keep a share of the training subjects of each class, dealt to the inner folds in turn.

    The test stays. Smaller shares are parts of larger ones. `FEWEST` of a class are kept in each
    inner fold.
    """
    rng = np.random.default_rng([seed, THINNING, fold.repeat, fold.fold])
    inner: list[list[str]] = [[] for _ in fold.validation]
    for label in (0, 1):
        parts = [
            [str(one) for one in rng.permutation([p for p in sorted(part) if label_of[p] == label])]
            for part in fold.validation
        ]
        total = sum(map(len, parts))
        n = min(total, max(FEWEST * len(parts), round(share * total)))
        turns = [(k, part) for k in range(max(map(len, parts))) for part in range(len(parts))]
        dealt = [(part, parts[part][k]) for k, part in turns if k < len(parts[part])]
        for part, person in dealt[:n]:
            inner[part].append(person)
    train = tuple(sorted(person for part in inner for person in part))
    return replace(fold, train=train, validation=tuple(tuple(sorted(part)) for part in inner))


def run_learning_curve(
    plan: LearningCurvePlan,
    pipeline: Pipeline,
    data: ScanSet,
    folds: list[Fold],
    predictions: pd.DataFrame,
    rival: str,
    precision: Precision,
    folder: Path,
) -> dict[str, Any]:
    """Learn from fewer people, test on the same, and say what more people would bring.

    Parameters
    ----------
    plan : LearningCurvePlan
        Which shares.
    pipeline, data, folds
        Of the study; test folds stay as they are.
    predictions : DataFrame
        The study's out-of-fold table, for all training subjects.
    rival : str
        Baseline that the network is compared with; empty for none.
    precision : Precision
        Of this study.
    folder : Path
        One out-of-fold table a share.

    Returns
    -------
    dict
        See `fmnet.evaluation.power.learning_curve`.
    """
    chosen = [fold for fold in folds if fold.repeat < plan.n_repeats]
    label_of = dict(zip(data.cohort.participant_ids, map(int, data.cohort.labels), strict=True))
    kept = {name: one for name, one in pipeline.baselines.items() if name == rival}
    quiet = replace(pipeline.without_loggers(), baselines=kept)
    models = [NETWORK, *kept]
    tables = {}
    sizes = {_mean_size(chosen)}
    for share in sorted(set(plan.shares)):
        thin = [thin_fold(fold, label_of, share, pipeline.seed) for fold in chosen]
        if _mean_size(thin) in sizes:  # too few people to be told apart from another share
            continue
        sizes.add(_mean_size(thin))
        again = replace(quiet, seed=fold_seed(pipeline.seed, THINNING, round(1000 * share)))
        title = f"{share:.0%} of people"
        table = run_once(again, data, thin, title, folder, f"share-{share:g}")
        tables[_mean_size(thin)] = table
    whole = predictions[predictions["repeat"] < plan.n_repeats]
    tables[_mean_size(chosen)] = whole[whole["model"].isin(models)]
    unit_of = data.cohort.unit_of
    named = {n: add_units(table, unit_of) for n, table in tables.items()}
    share_positive = float(data.cohort.labels.mean())
    return learning_curve(named, models, share_positive, precision, pipeline.seed)


def _mean_size(folds: list[Fold]) -> float:
    return float(np.mean([len(fold.train) for fold in folds]))
