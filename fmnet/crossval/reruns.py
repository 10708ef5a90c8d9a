"""Rerun the pipeline: a site left out, sites harmonised, groups matched, fewer subjects."""

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2_contingency

from fmnet.crossval.exchange import find_cells
from fmnet.crossval.fold_loop import NO_MAPS, Pipeline, crossvalidate, fold_seed
from fmnet.crossval.permutation import PERMUTATIONS, PermutationPlan, run_permutations
from fmnet.data.cohort import Cohort
from fmnet.data.covariates import find_columns
from fmnet.data.folds import Fold, build_site_folds, folds_table
from fmnet.data.participants import read_participants
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault, FmnetError
from fmnet.evaluation.comparison import best_rival, study_aucs, summarise_permutations
from fmnet.evaluation.evaluate import study_metrics
from fmnet.evaluation.metrics import add_units
from fmnet.evaluation.power import Precision, learning_curve
from fmnet.inference.preparation import MIN_TRAINING_FRACTION
from fmnet.inference.study_results import say_p
from fmnet.progress.show import track
from fmnet.runs.checkpoints import FoldCheckpoints, digest_of
from fmnet.runs.record import Results, read_predictions, table_text
from fmnet.runs.run_folder import list_damaged, write_run_files
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import NETWORK, Count, PartialShare


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
        Baselines that are run as well as the network.
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

    `name` is that of its files, `title` that in reports.
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
        site = Rerun("leave_site_out", "leave one site out", data, [])
        try:
            inner_splits = len(pipeline.build_folds(data.cohort)[0].validation)
            folds = build_site_folds(data.cohort, inner_splits, pipeline.seed)
            reruns.append(replace(site, folds=folds))
        except FmnetError as error:
            reruns.append(replace(site, lacking=_reasons(error)))
    if plan.harmonise_sites:
        reruns.append(_harmonised_rerun(plan, pipeline, data))
    participants = read_participants(data.cohort).table
    numbers = participants.select_dtypes("number").columns.drop("label")
    matched = find_columns(plan.match, map(str, numbers))
    reruns += [_matched_rerun(plan, pipeline, data, participants, column) for column in matched]
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
    quiet = pipeline.rerun(plan.models)
    found: dict[str, Any] = {}
    for rerun in track(reruns, "reruns", len(reruns)):
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
    models = ",".join(sorted(pipeline.baselines))
    digest = digest_of(folds_table(folds).to_csv(index=False) + models)
    path = folder / f"{name}_{digest}.tsv"
    listed = f"{folder.name}/{path.name}"
    if not path.exists() or list_damaged(folder.parent, [listed]):
        checkpoints = FoldCheckpoints(path.with_suffix(".parts"))
        predictions, _ = crossvalidate(pipeline, data, folds, title, checkpoints)
        write_run_files(folder.parent, {listed: table_text(predictions)})
        checkpoints.remove()
    return read_predictions(path)


def _harmonised_rerun(plan: SensitivityPlan, pipeline: Pipeline, data: ScanSet) -> Rerun:
    rerun = Rerun("harmonised", "sites harmonised by ComBat", data, [])
    if lacking := NO_MAPS if data.reads_series else harmonisation_lacks(data.cohort):
        return replace(rerun, lacking=lacking)
    folds, sites = pipeline.build_folds(data.cohort), data.cohort.covariate("site")
    site_of = dict(zip(data.cohort.participant_ids, sites, strict=True))
    if lacking := folds_lack_sites(folds, site_of):
        return replace(rerun, lacking=lacking)
    harmonised = data.harmonised(SiteHarmoniser(tuple(sites)))
    return replace(rerun, data=harmonised, folds=_first(folds, plan))


def _matched_rerun(
    plan: SensitivityPlan,
    pipeline: Pipeline,
    data: ScanSet,
    participants: pd.DataFrame,
    column: str,
) -> Rerun:
    # the name becomes that of a file
    name, title = re.sub(r"\W+", "_", f"matched_{column}"), f"groups matched on {column}"
    rerun, pairs = Rerun(name, title, data, []), match_pairs(participants, column)
    members = tuple(sorted(participant for pair in pairs for participant in pair))
    if not pairs:
        return replace(rerun, lacking="people of both groups who are alike in it")
    try:
        matched = data.subset(members)
        folds = pipeline.build_folds(matched.cohort)
    except FmnetError as error:
        lacking = f"folds of the {len(pairs)} pairs that are alike in it: {_reasons(error)}"
        return replace(rerun, lacking=lacking)
    return replace(rerun, data=matched, folds=_first(folds, plan))


def _first(folds: list[Fold], plan: SensitivityPlan) -> list[Fold]:
    return [fold for fold in folds if fold.repeat < plan.n_repeats]


def _reasons(error: FmnetError) -> str:
    return "; ".join(f"{f.accepted} (found for {f.where}: {f.found})" for f in error.faults)


#: Fewest scans of a site: with five folds and three inner ones, two are left to learn from.
MIN_PER_SITE = 6
#: Fewest participants of a site in a training: one has no spread.
LEAST = 2
ALPHA = 0.05


def harmonisation_lacks(cohort: Cohort) -> str:
    """Say why sites can't be harmonised; empty if they can.

    Where site and label go together, taking the site out takes the label out too, and keeping the
    label in would write it into the maps.
    """
    sites = pd.Series(cohort.covariate("site"))
    if (sites == "").any() or sites.nunique() < 2:
        return "two or more sites, known for everybody"
    counts = pd.crosstab(sites, cohort.labels)
    if few := [str(site) for site, n in counts.sum(axis=1).items() if n < MIN_PER_SITE]:
        return f"{MIN_PER_SITE} scans at each site (fewer at {', '.join(few)})"
    if pure := [str(site) for site, row in counts.iterrows() if (row == 0).any()]:
        return f"both groups at each site (one only at {', '.join(pure)})"
    p = float(chi2_contingency(counts.to_numpy()).pvalue)
    if p < ALPHA:
        return f"sites that don't tell the groups apart (chi-squared test, {say_p(p)})"
    if find_spec("combatlearn") is None:
        return "combatlearn: pip install 'fmnet[harmonise]'"
    return ""


def folds_lack_sites(folds: Sequence[Fold], site_of: Mapping[str, str]) -> str:
    """Say if some training, inner ones included, has too few subjects of a site to learn it."""
    sites = set(site_of.values())
    for fold in folds:
        inner = [set(fold.train) - set(part) for part in fold.validation]
        for train in ({*fold.train}, *inner):
            counts = Counter(site_of[participant] for participant in train)
            if short := sorted(site for site in sites if counts[site] < LEAST):
                return f"{LEAST} people of each site in every training (fewer of {short[0]})"
    return ""


@dataclass(frozen=True, eq=False)
class SiteHarmoniser:
    """Location and scale of each site, with empirical Bayes shrinkage; labels are not looked at.

    `sites` has one for each scan.

    References
    ----------
    Johnson, W. E., Li, C., & Rabinovic, A. (2007). Adjusting batch effects in microarray expression
    data using empirical Bayes methods. Biostatistics, 8.
    """

    sites: tuple[str, ...]

    def __call__(self, values: FloatArray, train: Rows) -> FloatArray:
        """Harmonise all scans, (N, C, V), as the training scans ask for; missing stays missing."""
        flat = values.reshape(len(values), -1)
        known = np.isfinite(flat)
        usable = known[train].mean(axis=0) >= MIN_TRAINING_FRACTION
        count = np.maximum(known[train].sum(axis=0), 1)
        mean = np.where(known[train], flat[train], 0).sum(axis=0, dtype=np.float64) / count
        frame = pd.DataFrame(np.where(known, flat, mean)[:, usable])
        # Here, because it takes seconds to import, and most runs don't need it.
        from combatlearn import ComBat

        model = ComBat(pd.Series(self.sites))
        with warnings.catch_warnings():
            # about voxels that hardly vary: the floor of the preparation sees to them
            warnings.simplefilter("ignore")
            model.fit(frame.iloc[train])
            changed = model.transform(frame)
        harmonised = flat.copy()
        harmonised[:, usable] = np.asarray(changed, dtype=np.float32)
        harmonised[~known] = np.nan
        return harmonised.reshape(values.shape)


#: Largest difference within a pair, in SDs of the covariate (Austin 2011).
CALIPER = 0.2


def match_pairs(participants: pd.DataFrame, covariate: str) -> list[tuple[str, str]]:
    """Pair as many participants as possible, and among such pairings take the closest.

    `participants` has columns ``label`` (0 or 1) and the covariate, a number or missing.

    Returns
    -------
    list of tuple
        Negative and positive of each pair; participants without a value are in none.

    References
    ----------
    Austin, P. C. (2011). Optimal caliper widths for propensity-score matching. Pharmaceutical
    Statistics, 10.
    """
    known = participants[["label", covariate]].dropna()
    groups = [known[known["label"] == label][covariate] for label in (0, 1)]
    caliper = CALIPER * np.sqrt(np.mean([group.var() for group in groups]))
    distance = np.abs(np.subtract.outer(groups[0].to_numpy(), groups[1].to_numpy()))
    allowed = distance <= caliper
    # A pair too far apart costs more than all pairs within the caliper together.
    cost = np.where(allowed, distance, (caliper + 1) * (len(known) + 1))
    return [
        (str(groups[0].index[int(one)]), str(groups[1].index[int(other)]))
        for one, other in zip(*linear_sum_assignment(cost), strict=True)
        if allowed[one, other]
    ]


#: Part of the seed that participants are left out with.
THINNING = 6_000_000
#: Fewest training subjects of a class in each inner fold.
FEWEST = 2


@dataclass(frozen=True)
class LearningCurvePlan:
    """How a learning curve is measured.

    Parameters
    ----------
    fractions : list of float
        Fractions of the training subjects that are learned from, besides all of them; empty for
        no curve.
    n_repeats : int
        Repeats of the folds.
    """

    fractions: Sequence[PartialShare] = ()
    n_repeats: Count = 1

    def __post_init__(self) -> None:
        if len(set(self.fractions)) == 1 or 0 in self.fractions:
            found, accepted = str(list(self.fractions)), "two or more above 0 that differ, or none"
            action = "for instance learning_curve.fractions=[0.4,0.6,0.8]"
            raise ConfigError(Fault("learning_curve.fractions", found, accepted, action))


def thin_fold(fold: Fold, label_of: dict[str, int], fraction: float, seed: int) -> Fold:
    """Keep a fraction of the training subjects of each class, dealt to the inner folds in turn.

    The test stays. Smaller fractions lie within larger ones. `FEWEST` of a class are kept in each
    inner fold.
    """
    rng = np.random.default_rng([seed, THINNING, fold.repeat, fold.fold])
    inner: list[list[str]] = [[] for _ in fold.validation]
    for label in (0, 1):
        shuffled = [
            [str(one) for one in rng.permutation([p for p in sorted(own) if label_of[p] == label])]
            for own in fold.validation
        ]
        total = sum(map(len, shuffled))
        n = min(total, max(FEWEST * len(shuffled), round(fraction * total)))
        turns = range(max(map(len, shuffled)))
        dealt = [(i, own[k]) for k in turns for i, own in enumerate(shuffled) if k < len(own)]
        for i, participant in dealt[:n]:
            inner[i].append(participant)
    train = tuple(sorted(participant for own in inner for participant in own))
    return replace(fold, train=train, validation=tuple(tuple(sorted(own)) for own in inner))


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
    """Learn from fewer subjects, test on the same, and say what more of them would bring.

    Test folds stay as they are; `rival` is a baseline, or empty for none. Returns what
    `fmnet.evaluation.power.learning_curve` does.
    """
    chosen = [fold for fold in folds if fold.repeat < plan.n_repeats]
    label_of = dict(zip(data.cohort.participant_ids, map(int, data.cohort.labels), strict=True))
    quiet = pipeline.rerun([rival])
    models = [NETWORK, *quiet.baselines]
    tables: dict[float, pd.DataFrame] = {}
    whole = predictions[predictions["repeat"] < plan.n_repeats]
    tables[_mean_size(chosen)] = whole[whole["model"].isin(models)]
    fractions = sorted(set(plan.fractions))
    for fraction in track(fractions, "learning curve", len(fractions)):
        thin = [thin_fold(fold, label_of, fraction, pipeline.seed) for fold in chosen]
        if _mean_size(thin) in tables:  # too few subjects to be told apart from another fraction
            continue
        again = replace(quiet, seed=fold_seed(pipeline.seed, THINNING, round(1000 * fraction)))
        title = f"{fraction:.0%} of the subjects"
        tables[_mean_size(thin)] = run_once(again, data, thin, title, folder, f"share-{fraction:g}")
    named = {n: add_units(table, data.cohort.unit_of) for n, table in tables.items()}
    positive = float(data.cohort.labels.mean())
    return learning_curve(named, models, positive, precision, pipeline.seed)


def _mean_size(folds: list[Fold]) -> float:
    return float(np.mean([len(fold.train) for fold in folds]))


def run_further_trainings(
    plans: tuple[PermutationPlan, SensitivityPlan, LearningCurvePlan],
    pipeline: Pipeline,
    results: Results,
    metrics: dict[str, Any],
    before: dict[str, Any],
    folder: Path,
    checkpoints: FoldCheckpoints,
) -> dict[str, Any]:
    """Train again as asked: under shuffled labels, with one thing changed, on fewer subjects.

    What `folder` holds already is not run again, and what an earlier call found, `before`, stays.
    """
    permutation, sensitivity, curve = plans
    data, predictions = results.data, results.predictions
    reruns = run_reruns(sensitivity, pipeline, data, folder / "sensitivity")
    found = before | {"sensitivity": before.get("sensitivity", {}) | reruns}
    if permutation.n:
        given = checkpoints.folder / PERMUTATIONS
        n_repeats, h = permutation.n_repeats, permutation.stop_after
        observed = study_aucs(predictions, n_repeats)
        place = folder / PERMUTATIONS
        null = run_permutations(pipeline, data, permutation, place, given, observed=observed)
        summary = summarise_permutations(null, predictions, n_repeats, h, permutation.n)
        kept = [fold for fold in results.folds if fold.repeat < n_repeats]
        is_within = find_cells(data.cohort, kept, pipeline.seed) is not None
        found["permutation"] = summary | {"within_folds": is_within}
    if curve.fractions:
        power = metrics["power"]
        precision = Precision(
            metrics["n_subjects"], power.get("inflation") or 1.0, power.get("difference")
        )
        found["learning_curve"] = run_learning_curve(
            curve,
            pipeline,
            data,
            results.folds,
            predictions,
            best_rival(metrics["models"], metrics["kinds"]),
            precision,
            folder / "learning_curve",
        )
    return found
