"""The same pipeline once more: another site left out, sites harmonised, groups matched."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.crossval.fold_loop import Pipeline, crossvalidate
from fmnet.crossval.harmonise import (
    SiteHarmoniser,
    folds_lack_sites,
    harmonisation_lacks,
)
from fmnet.crossval.matching import match_pairs
from fmnet.data.covariates import find_columns
from fmnet.data.folds import Fold, build_site_folds, folds_table
from fmnet.data.participants import read_participants
from fmnet.errors import FmnetError
from fmnet.evaluation.evaluate import study_metrics
from fmnet.evaluation.metrics import add_units
from fmnet.runs.checkpoints import FoldCheckpoints, digest_of
from fmnet.runs.record import read_predictions, table_text
from fmnet.runs.run_folder import list_damaged, write_run_files
from fmnet.training.scan_set import ScanSet
from fmnet.types import Count

#: Why ComBat can't be run where the network would not read what it changes.
NO_MAPS = "a network that reads maps; time series are not harmonised"


@dataclass(frozen=True)
class SensitivityPlan:
    """Which reruns are made.

    Parameters
    ----------
    leave_site_out : bool
        Each site tested by what the others teach.
    harmonise_sites : bool
        ComBat between sites within each training fold.
    match : list of str
        Columns to match the groups on, one rerun for each that the cohort has, see
        `fmnet.data.covariates.find_columns`.
    models : list of str
        Baselines that are run beside the network.
    n_repeats : int
        Repeats of the folds.
    """

    leave_site_out: bool = False
    harmonise_sites: bool = False
    match: Sequence[str] = ()
    models: Sequence[str] = ("linear_svm", "logistic_ridge", "shrinkage_lda")
    n_repeats: Count = 1

    @property
    def is_asked_for(self) -> bool:
        """Tell whether there is any rerun to be made."""
        return self.leave_site_out or self.harmonise_sites or bool(self.match)


@dataclass(frozen=True, eq=False)
class Rerun:
    """One thing changed; `lacking` says why it can't be, or is empty.

    Parameters
    ----------
    name, title : str
        For files and for people.
    data : ScanSet
        Scans to run on.
    folds : list of Fold
        Their folds; empty if something is lacking.
    lacking : str
        What the cohort would have to have.
    """

    name: str
    title: str
    data: ScanSet
    folds: list[Fold]
    lacking: str = ""


def plan_reruns(plan: SensitivityPlan, pipeline: Pipeline, data: ScanSet) -> list[Rerun]:
    """Prepare every rerun asked for, and say of each that isn't possible why."""
    reruns = []
    if plan.leave_site_out:
        reruns.append(_site_rerun(pipeline, data))
    if plan.harmonise_sites:
        reruns.append(_harmonised_rerun(plan, pipeline, data))
    people = read_participants(data.cohort).table
    numbers = people.select_dtypes("number").columns.drop("label")
    matched = find_columns(plan.match, map(str, numbers))
    reruns += [_matched_rerun(plan, pipeline, data, people, column) for column in matched]
    if plan.match and not matched:
        lacking = f"a number for each person in column {' or '.join(plan.match)}"
        reruns.append(Rerun("matched", "groups matched on motion", data, [], lacking))
    return reruns


def run_reruns(
    plan: SensitivityPlan, pipeline: Pipeline, data: ScanSet, folder: Path
) -> dict[str, Any]:
    """Run what `folder` doesn't hold yet; one out-of-fold table a rerun.

    Returns
    -------
    dict
        By name: ``title``, and either ``lacking`` or the figures of `study_metrics`.
    """
    reruns = plan_reruns(plan, pipeline, data)
    kept = {name: one for name, one in pipeline.baselines.items() if name in plan.models}
    quiet = replace(pipeline.without_loggers(), baselines=kept)
    found: dict[str, Any] = {}
    for rerun in reruns:
        found[rerun.name] = {"title": rerun.title, "lacking": rerun.lacking}
        if not rerun.lacking:
            table = run_once(quiet, rerun.data, rerun.folds, rerun.title, folder, rerun.name)
            named = add_units(table, rerun.data.cohort.unit_of)
            found[rerun.name] |= study_metrics(named, pipeline.seed)
    return found


def run_once(
    pipeline: Pipeline, data: ScanSet, folds: list[Fold], title: str, folder: Path, name: str
) -> pd.DataFrame:
    """Cross-validate network and baselines, or read what an earlier call wrote for these folds."""
    path = folder / f"{name}_{_digest(folds, sorted(pipeline.baselines))}.tsv"
    listed = f"{folder.name}/{path.name}"
    if not path.exists() or list_damaged(folder.parent, [listed]):
        parts = FoldCheckpoints(path.with_suffix(".parts"))
        predictions, _ = crossvalidate(pipeline, data, folds, title, parts)
        write_run_files(folder.parent, {listed: table_text(predictions)})
        parts.remove()
    return read_predictions(path)


def _digest(folds: list[Fold], models: list[str]) -> str:
    return digest_of(folds_table(folds).to_csv(index=False) + ",".join(models))


def _site_rerun(pipeline: Pipeline, data: ScanSet) -> Rerun:
    name, title = "leave_site_out", "leave one site out"
    try:
        inner_splits = len(pipeline.build_folds(data.cohort)[0].validation)
        folds = build_site_folds(data.cohort, inner_splits, pipeline.seed)
    except FmnetError as error:
        return Rerun(name, title, data, [], _reasons(error))
    return Rerun(name, title, data, folds)


def _harmonised_rerun(plan: SensitivityPlan, pipeline: Pipeline, data: ScanSet) -> Rerun:
    name, title = "harmonised", "sites harmonised by ComBat"
    if data.reads_series:
        return Rerun(name, title, data, [], NO_MAPS)
    if lacking := harmonisation_lacks(data.cohort):
        return Rerun(name, title, data, [], lacking)
    folds, sites = pipeline.build_folds(data.cohort), data.cohort.covariate("site")
    site_of = dict(zip(data.cohort.participant_ids, sites, strict=True))
    if lacking := folds_lack_sites(folds, site_of):
        return Rerun(name, title, data, [], lacking)
    harmonised = data.harmonised(SiteHarmoniser(tuple(sites)))
    return Rerun(name, title, harmonised, _first(folds, plan))


def _matched_rerun(
    plan: SensitivityPlan, pipeline: Pipeline, data: ScanSet, people: pd.DataFrame, column: str
) -> Rerun:
    # the name becomes that of a file
    name, title = re.sub(r"\W+", "_", f"matched_{column}"), f"groups matched on {column}"
    pairs = match_pairs(people, column)
    members = tuple(sorted(person for pair in pairs for person in pair))
    if not pairs:
        return Rerun(name, title, data, [], "people of both groups who are alike in it")
    try:
        matched = data.subset(members)
        folds = pipeline.build_folds(matched.cohort)
    except FmnetError as error:
        lacking = f"folds of the {len(pairs)} pairs that are alike in it: {_reasons(error)}"
        return Rerun(name, title, data, [], lacking)
    return Rerun(name, title, matched, _first(folds, plan))


def _first(folds: list[Fold], plan: SensitivityPlan) -> list[Fold]:
    return [fold for fold in folds if fold.repeat < plan.n_repeats]


def _reasons(error: FmnetError) -> str:
    return "; ".join(f"{f.accepted} (found for {f.where}: {f.found})" for f in error.faults)
