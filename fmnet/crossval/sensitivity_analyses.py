"""Further trainings: under shuffled labels, with one thing changed, on fewer people."""

from pathlib import Path
from typing import Any

from fmnet.crossval.fold_loop import Pipeline
from fmnet.crossval.learning_curve import LearningCurvePlan, run_learning_curve
from fmnet.crossval.permutation import (
    PermutationPlan,
    run_permutations,
)
from fmnet.crossval.reruns import SensitivityPlan, run_reruns
from fmnet.crossval.shards import PERMUTATIONS
from fmnet.evaluation.comparison import best_rival, summarise_permutations
from fmnet.evaluation.power import Precision
from fmnet.runs.checkpoints import FoldCheckpoints
from fmnet.runs.record import Results

Plans = tuple[PermutationPlan, SensitivityPlan, LearningCurvePlan]


def probe(
    plans: Plans,
    pipeline: Pipeline,
    results: Results,
    metrics: dict[str, Any],
    before: dict[str, Any],
    folder: Path,
    parts: FoldCheckpoints,
) -> dict[str, Any]:
    """Train again as the plans ask: under shuffled labels, with one thing changed, on fewer people.

    What `folder` holds already is not run again, and what an earlier call found, `before`, stays.
    """
    permutation, sensitivity, learning_curve = plans
    data, predictions = results.data, results.predictions
    reruns = run_reruns(sensitivity, pipeline, data, folder / "sensitivity")
    found = before | {"sensitivity": before.get("sensitivity", {}) | reruns}
    if permutation.n:
        given = parts.folder / PERMUTATIONS
        null = run_permutations(pipeline, data, permutation, folder / PERMUTATIONS, given)
        found["permutation"] = summarise_permutations(null, predictions, permutation.n_repeats)
    if learning_curve.shares:
        power = metrics["power"]
        precision = Precision(
            metrics["n_subjects"], power.get("inflation") or 1.0, power.get("difference")
        )
        found["learning_curve"] = run_learning_curve(
            learning_curve,
            pipeline,
            data,
            results.folds,
            predictions,
            best_rival(metrics["models"], metrics["kinds"]),
            precision,
            folder / "learning_curve",
        )
    return found
