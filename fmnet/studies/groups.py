"""What a study of two groups does in its own way: figures, final models, signature, words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.crossval.exchange import permute_labels
from fmnet.crossval.final import complete_finals, export_choice, judge_choice
from fmnet.crossval.fold_loop import Pipeline
from fmnet.crossval.further_networks import FurtherNetwork
from fmnet.crossval.permutation import PERMUTATION, PermutationPlan
from fmnet.crossval.reruns import LearningCurvePlan, SensitivityPlan, run_further_trainings
from fmnet.crossval.sessions import study_sessions
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold
from fmnet.data.participants import read_participants
from fmnet.evaluation.audit import AuditPlan
from fmnet.evaluation.evaluate import conclude, evaluate
from fmnet.evaluation.metrics import add_units
from fmnet.inference.calibration import read_calibration
from fmnet.networks.backbones import NetworkBuilder
from fmnet.report.methods import describe_runs
from fmnet.report.page import write_report
from fmnet.report.sentences import control, put_into_words
from fmnet.report.terminal import summary_lines
from fmnet.runs.checkpoints import FoldCheckpoints
from fmnet.runs.final_models import LINEAR_FOLDER, NETWORK_FOLDER, read_record
from fmnet.runs.record import Results, read_further_trainings
from fmnet.signature.study_signature import SignaturePlan, make_signature
from fmnet.studies.lockbox import LockBox, set_aside
from fmnet.training.processes import is_first
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK

Plans = tuple[PermutationPlan, SensitivityPlan, LearningCurvePlan]


@dataclass(frozen=True, eq=False)
class StudyOfGroups:
    """Which of two groups somebody belongs to: the question where no target is named.

    Parameters
    ----------
    plans : tuple
        What is trained again: permutations, sensitivity, learning curve.
    signature : SignaturePlan, optional
        How the regions that carry the exported model are looked for; without it they aren't.
    audit : AuditPlan
        Which covariates could be confounds.
    lockbox : LockBox
        Who is set aside before anything else.
    """

    plans: Plans
    signature: SignaturePlan | None
    audit: AuditPlan
    lockbox: LockBox

    target = None
    write_report = staticmethod(write_report)
    summary_lines = staticmethod(summary_lines)

    def networks(
        self, network: NetworkBuilder, models: dict[str, FurtherNetwork]
    ) -> tuple[NetworkBuilder, dict[str, FurtherNetwork]]:
        """Leave networks as they are: they tell two groups apart."""
        return network, models

    def opened(self, everybody: Cohort, seed: int, is_shuffled: bool) -> Cohort:
        """Set the lock-box aside, and shuffle labels for a negative control."""
        cohort = set_aside(everybody, self.lockbox, seed)
        rng = np.random.default_rng([seed, PERMUTATION])
        return permute_labels(cohort, rng) if is_shuffled else cohort

    def check_trainings(self, scans: ScanSet, folds: Sequence[Fold]) -> None:
        """Leave it to folds, which hold both groups."""

    def complete(
        self,
        models: Pipeline,
        results: Results,
        checkpoints: FoldCheckpoints,
        settings: dict[str, Any],
        folder: Path,
        is_resumed: bool,
    ) -> dict[str, Any]:
        """Compute figures, fit final models, train further, look for regions, and say it all.

        Processes that only take part in trainings end with the final models.
        """
        data = results.data
        table = add_units(results.predictions, data.cohort.unit_of)
        kinds, titles = models.describe(results.n_epochs)
        scored = {name: kinds.get(name, "other") for name in map(str, table["model"].unique())}
        facts = evaluate(table, NETWORK, scored, results.again, models.seed)
        facts |= {"titles": titles, "n_epochs": results.n_epochs, "lacking": results.lacking}
        further = {name: {"n_epochs": own} for name, own in results.further_epochs.items()}
        facts["further"] = further
        if data.series:
            cohort = data.cohort
            facts["bold"] = describe_runs(cohort, data.reads_series, data.window_volumes)
        complete_finals(models, results, facts["models"], control(settings), folder)
        if not is_first():
            return facts
        before = read_further_trainings(folder) if is_resumed else {}
        facts |= describe_finals(models, data, table, facts, folder)
        work = (models, results, facts, before, folder, checkpoints)
        facts |= run_further_trainings(self.plans, *work)
        judge_choice(facts)
        sessions = (data, results.predictions, models.usable(data), models.seed)
        if repeated := study_sessions(*sessions):
            facts["retest"] = repeated
        if self.signature is not None:
            facts["signature"] = make_signature(self.signature, models, results, facts, folder)
        participants, symptoms = read_participants(data.cohort), self.audit.symptoms
        found = conclude(facts, results.predictions, participants, symptoms, models.seed)
        put_into_words(facts, found)
        return facts


def describe_finals(
    models: Pipeline, scans: ScanSet, table: pd.DataFrame, facts: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Say which final model will be exported and how it is calibrated; and of the network's."""
    exported = export_choice(models, scans, table, facts["models"], facts["titles"])
    name = NETWORK_FOLDER if exported["model"] == NETWORK else LINEAR_FOLDER
    exported["calibration"] = asdict(read_calibration(folder / name / "calibration.json"))
    trained = read_record(folder / NETWORK_FOLDER)
    fractions, n_epochs = trained.get("path_shares", {}), trained["n_epochs"]
    found = {"exported": exported, "path_shares": fractions, "final_epochs": n_epochs}
    return found | {"pretrained": trained.get("pretrained", {})}
