"""Learn each of several targets alone, in the same folds: what it gains, and what is shared."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from fmnet.crossval.fold_loop import Pipeline, crossvalidate
from fmnet.data.folds import Fold
from fmnet.errors import ConfigError
from fmnet.evaluation.outcome_study import add_outcome_units
from fmnet.evaluation.shared_signature import Task, gains, transfer_matrix
from fmnet.networks.backbones import with_head
from fmnet.targets.contrast import Contrast
from fmnet.targets.several import Several
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK


def run_single_tasks(
    pipeline: Pipeline, scans: ScanSet, folds: Sequence[Fold], title: str = ""
) -> dict[str, pd.DataFrame]:
    """Let the network learn each of several targets alone, in the same folds.

    It is trained on the training people of whom the target is known, and scores all who are tested:
    who isn't known for this target may be for another.

    Parameters
    ----------
    pipeline : Pipeline
        Of the study.
    scans : ScanSet
        Whose target is `Several`.
    folds : list of Fold
        Those of the study, or some of them.
    title : str
        Shown before progress bars; empty for none.

    Returns
    -------
    dict of DataFrame
        By target, an out-of-fold table in its own words, of the network alone; outcomes are NaN
        where not known.

    Raises
    ------
    ConfigError
        If the people of a training fold are too few for a target.
    """
    target = scans.target
    assert isinstance(target, Several)
    found = {}
    for name, one in target.targets.items():
        own = target.outcomes_for(name, scans.outcomes)
        known = target.known_for(name, scans.outcomes)
        people = {scans.participant_ids[row] for row in np.flatnonzero(known)}
        reduced = [_among(fold, people) for fold in folds]
        faults = [
            fault
            for fold in reduced
            for fault in one.check_training(
                own.take(known & np.isin(scans.participant_ids, fold.train)),
                f"{name}, repeat {fold.repeat}, fold {fold.fold}",
            )
        ]
        if faults:
            raise ConfigError(faults)
        data = replace(scans.with_outcomes(own), target=one)
        said = title and f"{title}: {name} alone"
        again = pipeline.rerun()
        build = with_head(again.trainable.build_network, one.head())
        again = replace(again, trainable=replace(again.trainable, build_network=build))
        found[name], _ = crossvalidate(again, data, reduced, said)
    return found


def study_tasks(
    pipeline: Pipeline,
    scans: ScanSet,
    folds: Sequence[Fold],
    table: pd.DataFrame,
    title: str = "",
    n_bootstrap: int = 500,
) -> dict[str, Any]:
    """Test what each of several targets gains by the others, and what they share.

    Parameters
    ----------
    pipeline, scans, folds, title
        See `run_single_tasks`.
    table : DataFrame
        The study's out-of-fold table.
    n_bootstrap : int
        See `fmnet.evaluation.shared_signature.gains`.

    Returns
    -------
    dict
        ``gains``, see `fmnet.evaluation.shared_signature.gains`; ``transfer``, see
        `fmnet.evaluation.shared_signature.transfer_matrix`, of the targets that are two groups;
        None where fewer than two are.
    """
    target = scans.target
    assert isinstance(target, Several)
    people = scans.participant_ids
    unit_of = dict(zip(people, scans.units, strict=True))
    site_of = dict(zip(people, scans.cohort.covariate("site"), strict=True))
    kept = {(fold.repeat, fold.fold) for fold in folds}
    rows = add_outcome_units(table[table["model"] == NETWORK], unit_of, site_of)
    rows = rows[[one in kept for one in zip(rows["repeat"], rows["fold"], strict=True)]]
    alone = {
        name: add_outcome_units(own, unit_of, site_of)
        for name, own in run_single_tasks(pipeline, scans, folds, title).items()
    }
    tasks = [Task(name, one.figures, vars(one.primary)) for name, one in target.targets.items()]
    together = {name: target.rows_for(name, rows) for name in target.targets}
    of_known = {
        name: own.merge(together[name][["scan_id", "repeat"]], on=["scan_id", "repeat"])
        for name, own in alone.items()
    }
    found = gains(tasks, together, of_known, pipeline.seed, n_bootstrap)
    return {"gains": found, "transfer": _transfer(target.targets, alone, pipeline.seed)}


def _transfer(
    targets: Mapping[str, Any], alone: Mapping[str, pd.DataFrame], seed: int
) -> dict[str, Any] | None:
    names = [name for name, one in targets.items() if isinstance(one, Contrast)]
    if len(names) < 2:
        return None
    keys = ["scan_id", "repeat"]
    joined = alone[names[0]][["participant_id", "unit", "site", "fold", *keys]]
    for name in names:
        own = alone[name][[*keys, "score", "outcome_group"]]
        renamed = own.rename(columns={"score": f"score_{name}", "outcome_group": f"label_{name}"})
        joined = joined.merge(renamed, on=keys, validate="one_to_one")
    return transfer_matrix(joined, names, seed)


def _among(fold: Fold, people: set[str]) -> Fold:
    """Train on some of the people only; test all."""
    train = tuple(one for one in fold.train if one in people)
    inner = (tuple(one for one in part if one in people) for part in fold.validation)
    return replace(fold, train=train, validation=tuple(part for part in inner if part))
