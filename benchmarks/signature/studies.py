"""Parts *null* and *time*: how often a study draws a map, and what that adds to it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from benchmarks.power.planted import PlantedCohort
from benchmarks.power.regimes import Condition
from benchmarks.race import Goal
from benchmarks.signature.maps import trainable_of
from benchmarks.signature.part import SIGNATURE_CODE, Cell, Part, World
from fmnet.crossval.fold_loop import Pipeline, crossvalidate
from fmnet.crossval.permutation import PermutationPlan
from fmnet.crossval.reruns import LearningCurvePlan, SensitivityPlan
from fmnet.data.folds import build_folds
from fmnet.evaluation.audit import AuditPlan
from fmnet.runs.checkpoints import FoldCheckpoints
from fmnet.runs.record import Results, as_written
from fmnet.signature.study_signature import SignaturePlan
from fmnet.studies.groups import StudyOfGroups
from fmnet.studies.lockbox import LockBox
from fmnet.training.compute import Compute, plan_compute
from fmnet.types import NETWORK, Count, Fraction, NonNegativeCount, Positive, Several

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class DrawnPart(Part):
    """How many studies draw a map, of cohorts with no effect and of others.

    Parameters
    ----------
    plan : SignaturePlan
        What is asked before a map is drawn.
    n_cohorts : dict
        By regime, how many.
    n : int
        People in each.
    n_splits, inner_splits : int
        Folds, of one repeat.
    amplitude_scale : float
        What the amplitudes of the benchmark of power, which are for 70 people, are multiplied by.
    n_permutations : int
        Of the labels, through the whole pipeline; 0 as in a study that asks for none.
    baselines : list of str
        Which stand beside the network, and may be the model that the signature is of.
    wanted : float
        Share of cohorts without an effect that are to have no map.
    """

    plan: SignaturePlan = field(default_factory=SignaturePlan)
    n_cohorts: dict[str, NonNegativeCount] = field(default_factory=lambda: {"null": 100})
    n: Several = 36
    n_splits: Several = 3
    inner_splits: Several = 2
    amplitude_scale: Positive = 1.0
    n_permutations: NonNegativeCount = 0
    baselines: Sequence[str] = ("linear_svm",)
    wanted: Fraction = 0.95

    title = "Studies that draw a map"
    names = ("regime", "cohort")
    counts = ("n_cohorts", "wanted")

    def cells(self) -> list[Cell]:
        """Cohort by cohort, so that some of each regime are done first."""
        return [
            (regime, number)
            for number in range(max(self.n_cohorts.values()))
            for regime, n in self.n_cohorts.items()
            if number < n
        ]

    def code(self, cell: Cell) -> tuple[str, ...]:  # noqa: ARG002
        """Name the code that decides a cell's figures."""
        return ("benchmarks/signature/studies.py", "fmnet/evaluation", *SIGNATURE_CODE)

    def measure(self, world: World, cell: Cell) -> list[dict[str, Any]]:
        """Run a study of a cohort; say whether a map is drawn, and which checks failed."""
        regime, number = cell
        scaled = Condition(regime, world.planter.radius_mm, self.amplitude_scale)
        planted = world.planter.under(scaled).draw(regime, self.n, number)
        with tempfile.TemporaryDirectory(prefix="fmnet-signature-") as place:
            facts = self._study(world, planted, Path(place))
        found = facts["signature"]
        row = {"model": found["model"], "is_drawn": int(found["is_drawn"])}
        row["auc"] = facts["models"][found["model"]]["auc"]
        for name, check in found["checks"].items():
            row |= {f"{name}_passed": check["passed"], f"{name}_p": check["p"]}
        return [row | {"failed": ",".join(found["failed"])}]

    def _study(self, world: World, planted: PlantedCohort, folder: Path) -> dict[str, Any]:
        data = planted.prepare(world.contender.preparation)
        folds = partial(
            build_folds,
            n_splits=self.n_splits,
            n_repeats=1,
            inner_splits=self.inner_splits,
            seed=planted.seed,
        )
        planned = plan_compute(trainable_of(world.contender), Compute(), data)
        beside = {name: world.baselines[name] for name in self.baselines}
        pipeline = Pipeline(planned, beside, folds, planted.seed)
        splits = folds(planted.cohort)
        table, epochs = crossvalidate(pipeline, data, splits)
        n_epochs = epochs.pop(NETWORK)
        results = Results(data, splits, as_written(table), n_epochs, {}, pd.DataFrame(), epochs)
        plans = (PermutationPlan(self.n_permutations), SensitivityPlan(), LearningCurvePlan())
        checkpoints = FoldCheckpoints(folder / "checkpoints")
        folder.mkdir(exist_ok=True)
        study = StudyOfGroups(plans, self.plan, AuditPlan(), LockBox())
        return study.complete(pipeline, results, checkpoints, {}, folder, is_resumed=False)

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Share with a map and its exact interval; how often each check passed."""
        table = []
        for regime, own in rows.groupby("regime", sort=False):
            drawn = int(own["is_drawn"].sum())
            low, high = binomtest(drawn, len(own)).proportion_ci()
            entry: dict[str, Any] = {"regime": regime, "cohorts": len(own), "drawn": drawn}
            entry |= {"share": drawn / len(own), "low": float(low), "high": float(high)}
            for name in (name for name in map(str, own) if name.endswith("_passed")):
                known = own[name].dropna().astype(str)
                entry[name] = float((known == "True").mean()) if len(known) else float("nan")
                entry[name.replace("_passed", "_examined")] = len(known)
            table.append(entry)
        return {"drawn": pd.DataFrame(table)}

    def goals(self, tables: dict[str, pd.DataFrame]) -> list[Goal]:
        """Compare with how many cohorts without an effect are to have no map."""
        table = tables["drawn"]
        null = table[table["regime"] == "null"]
        what = "share of cohorts without an effect that have no map"
        return [Goal(what, 1 - float(null["share"].iloc[0]), self.wanted)] if len(null) else []


@dataclass(frozen=True)
class TimePart(Part):
    """What the signature adds to a study, in turns: the same study with and without it.

    Parameters
    ----------
    n : int
        Made-up people, one map each.
    overrides : list of str
        Of both studies, as `scripts/train.py` takes them.
    n_rounds : int
        How often each is run.
    """

    n: Several = 70
    overrides: Sequence[str] = ()
    n_rounds: Count = 1

    title = "Seconds of a study with and without its signature"
    names = ("round",)
    counts = ("n_rounds",)

    def cells(self) -> list[Cell]:
        """One for each round."""
        return [(number,) for number in range(self.n_rounds)]

    def code(self, cell: Cell) -> tuple[str, ...]:  # noqa: ARG002
        """Name the code that decides a cell's figures."""
        return ("fmnet", "benchmarks/signature/studies.py")

    def measure(self, world: World, cell: Cell) -> list[dict[str, Any]]:  # noqa: ARG002
        """Write and decode the maps, then time both studies."""
        with tempfile.TemporaryDirectory(prefix="fmnet-signature-") as place:
            folder = Path(place)
            self._run(folder, "first", "folds.n_repeats=1", "baselines=none", "signature=null")
            without = self._run(folder, "without", "signature=null")
            whole = self._run(folder, "with")
            facts = json.loads((folder / "with" / "metrics.json").read_text("utf-8"))
        is_drawn = int(facts["signature"]["is_drawn"])
        row = {"without_s": without, "with_s": whole, "added_s": whole - without}
        return [row | {"ratio": whole / without, "is_drawn": is_drawn}]

    def _run(self, folder: Path, name: str, *changes: str) -> float:
        given = [f"cohort.n_subjects={self.n}", f"cohort.root={folder}/maps"]
        given += [f"store_dir={folder}/store", f"run_dir={folder}/{name}", *self.overrides]
        command = [sys.executable, str(ROOT / "scripts" / "train.py"), *given, *changes]
        started = perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return perf_counter() - started

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Medians over rounds."""
        return {"time": rows.drop(columns="round").median().to_frame().T}
