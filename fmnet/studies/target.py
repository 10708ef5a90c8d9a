"""What a study of another target than two groups does in its own way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.crossval.final import complete_finals
from fmnet.crossval.fold_loop import Pipeline, score_columns
from fmnet.crossval.further_networks import FurtherNetwork
from fmnet.crossval.outcome_permutation import (
    find_places,
    observed_statistics,
    run_outcome_permutations,
)
from fmnet.crossval.permutation import PERMUTATION, PERMUTATIONS, PermutationPlan
from fmnet.crossval.reruns import LearningCurvePlan, SensitivityPlan
from fmnet.crossval.sessions import study_sessions
from fmnet.crossval.single_tasks import study_tasks
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold
from fmnet.data.listing import Listing
from fmnet.data.outcomes import outcomes_of, with_outcomes
from fmnet.data.participants import read_participants
from fmnet.errors import ConfigError, Fault, FoldsError
from fmnet.evaluation.comparison import summarise_choice, summarise_null
from fmnet.evaluation.outcome_audit import audit_outcomes, person_scores
from fmnet.evaluation.outcome_study import add_outcome_units, evaluate_outcomes
from fmnet.networks.backbones import NetworkBuilder, with_head
from fmnet.report.methods import describe_runs
from fmnet.report.sentences import control
from fmnet.report.target_page import write_target_report
from fmnet.report.terminal import target_summary_lines
from fmnet.runs.checkpoints import FoldCheckpoints
from fmnet.runs.final_models import NETWORK_FOLDER, read_record
from fmnet.runs.record import Results
from fmnet.studies.lockbox import LockBox
from fmnet.targets.base import Target
from fmnet.targets.reading import read_target
from fmnet.targets.several import Several
from fmnet.training.processes import is_first
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK

#: Kinds of columns of the participants table that are usually to blame.
CONFOUNDS = ("motion", "age", "head size", "usual")
Plans = tuple[PermutationPlan, SensitivityPlan, LearningCurvePlan]


def read_study(
    target: Target, listing: Listing, plans: Plans, lockbox: LockBox, n_seeds: int
) -> tuple["StudyOfTarget", Listing]:
    """Read what a target predicts of the people of a listing.

    Raises
    ------
    ConfigError
        With all that only a study of two groups has, and was asked for.
    """
    permutation, sensitivity, learning_curve = plans
    asked = {
        "sensitivity": sensitivity.is_asked_for,
        "learning_curve.fractions": bool(learning_curve.fractions),
        "lockbox": bool(lockbox.subjects or lockbox.site or lockbox.fraction),
        "n_seeds": n_seeds > 1,
    }
    faults = [
        Fault(key, f"asked for with target={target.kind}", "a study of two groups", "leave it out")
        for key, is_asked in asked.items()
        if is_asked
    ]
    if faults:
        raise ConfigError(faults)
    whole, found = read_target(target, listing)
    return StudyOfTarget(whole, permutation), found


@dataclass(frozen=True, eq=False)
class StudyOfTarget:
    """What is to be found out about a target.

    Parameters
    ----------
    target : Target
        With nothing left open, see `fmnet.targets.base.Target.read`.
    permutation : PermutationPlan
        How often the whole pipeline is repeated on shuffled outcomes.
    """

    target: Target
    permutation: PermutationPlan

    write_report = staticmethod(write_target_report)
    summary_lines = staticmethod(target_summary_lines)

    def networks(
        self, network: NetworkBuilder, models: dict[str, FurtherNetwork]
    ) -> tuple[NetworkBuilder, dict[str, FurtherNetwork]]:
        """Let networks end in what the target's loss and scores need."""
        head = self.target.head()
        built = {
            name: replace(one, network=with_head(one.network, head)) for name, one in models.items()
        }
        return with_head(network, head), built

    def opened(self, everybody: Cohort, seed: int, is_shuffled: bool) -> Cohort:
        """Shuffle outcomes as the null hypothesis allows, for a negative control."""
        if not is_shuffled:
            return everybody
        outcomes, rng = outcomes_of(everybody), np.random.default_rng([seed, PERMUTATION])
        order = find_places(self.target, outcomes).draw(rng).order
        shuffled = self.target.exchanged(outcomes, order)
        strata = self.target.strata(shuffled)  # folds are dealt by what people are given
        pairs = zip(with_outcomes(everybody, shuffled).scans, strata, strict=True)
        return replace(everybody, scans=tuple(replace(one, stratum=own) for one, own in pairs))

    def check_trainings(self, scans: ScanSet, folds: Sequence[Fold]) -> None:
        """Refuse folds in which too little is to be learned from.

        Raises
        ------
        FoldsError
            With all of them.
        """
        faults = []
        for fold in folds:
            train = scans.outcomes.take(scans.rows(fold.train))
            where = f"repeat {fold.repeat}, fold {fold.fold}"
            faults += self.target.check_training(train, where)
        if faults:
            raise FoldsError(faults)

    def complete(
        self,
        models: Pipeline,
        results: Results,
        checkpoints: FoldCheckpoints,
        settings: dict[str, Any],
        folder: Path,
        is_resumed: bool,  # noqa: ARG002 (permutations lie in files of their own)
    ) -> dict[str, Any]:
        """Compute figures, fit the final model, permute, and say it all."""
        target, permutation, data = self.target, self.permutation, results.data
        cohort = data.cohort
        site_of = dict(zip(cohort.participant_ids, cohort.covariate("site"), strict=True))
        table = add_outcome_units(results.predictions, cohort.unit_of, site_of)
        table = target.with_null(table)
        kinds, titles = models.describe(results.n_epochs)
        scored = {name: kinds.get(name, "other") for name in map(str, table["model"].unique())}
        primary = vars(target.primary)
        given = (target.figures, target.details, primary, models.seed)
        facts = evaluate_outcomes(table, NETWORK, scored, *given)
        facts |= {
            "target": target.describe(),
            "summary": target.summary(data.outcomes),
            "titles": titles,
            "n_epochs": results.n_epochs,
            "lacking": results.lacking,
            "further": {name: {"n_epochs": own} for name, own in results.further_epochs.items()},
        }
        if data.series:
            facts["bold"] = describe_runs(cohort, data.reads_series, data.window_volumes)
        complete_finals(models, results, facts["models"], control(settings), folder)
        if not is_first():
            return facts
        trained = read_record(folder / NETWORK_FOLDER)
        facts["exported"] = {"model": NETWORK, "among": [NETWORK]}
        facts["path_shares"] = trained.get("path_shares", {})
        facts["final_epochs"], facts["pretrained"] = trained["n_epochs"], trained["pretrained"]
        if permutation.n:
            facts["permutation"] = self._permute(models, results, checkpoints, folder)
        facts["audit"] = self._audit(results, table)
        if isinstance(target, Several):
            work = (models, data, results.folds, results.predictions, "single targets")
            facts["several"] = study_tasks(*work)
        sessions = (data, results.predictions, models.usable(data), models.seed)
        if found := study_sessions(*sessions):
            facts["retest"] = found
        facts["verdict"] = [vars(one) for one in target.verdict(facts)]
        facts["tripod"] = [list(row) for row in target.tripod(facts)]
        return facts

    def _permute(
        self, models: Pipeline, results: Results, checkpoints: FoldCheckpoints, folder: Path
    ) -> dict[str, Any]:
        """Repeat the whole pipeline on exchanged outcomes, and see how often it does as well."""
        data, plan = results.data, self.permutation
        observed = observed_statistics(data, results.predictions, plan.n_repeats)
        places = (folder / PERMUTATIONS, checkpoints.folder / PERMUTATIONS)
        null = run_outcome_permutations(models, data, plan, *places, observed=observed)
        found = summarise_null(null, observed, plan.n_repeats, plan.stop_after, plan.n)
        # whichever of them is looked at
        permuted = list(found["models"])
        return found | {"chosen": summarise_choice(found["models"], permuted, plan.stop_after)}

    def _audit(self, results: Results, table: pd.DataFrame) -> dict[str, Any]:
        """Ask whether what is usually to blame explains the network's scores."""
        data = results.data
        if self.target.is_within:
            said = "Scans of one person are compared: what differs between people explains nothing."
            return {"n": 0, "confounds": [], "said": [{"text": said, "severity": "none"}]}
        participants = read_participants(data.cohort)
        usual = [
            name for name in map(str, participants.table) if participants.kinds[name] in CONFOUNDS
        ]
        scores = person_scores(table[table["model"] == NETWORK], score_columns(self.target))
        people = list(map(str, scores.index))
        everybody = np.arange(len(data.participant_ids))
        responses = pd.DataFrame(self.target.fit_null(data.outcomes, everybody).responses)
        of_people = responses.groupby(np.array(data.participant_ids)).mean().loc[people]
        unit_of = data.cohort.unit_of
        return audit_outcomes(
            scores.to_numpy(),
            of_people.to_numpy(float),
            participants.table[usual].loc[people],
            [unit_of[one] for one in people],
        )
