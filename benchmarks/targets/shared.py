"""Parts: several targets at once, and sessions of the same people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from benchmarks.race import Goal
from benchmarks.targets.found import study_of
from benchmarks.targets.part import Part, Unit, World, draws
from benchmarks.targets.trials import crossvalidated
from fmnet.crossval.single_tasks import study_tasks
from fmnet.evaluation.retest import retest_of_scores
from fmnet.synthetic.outcomes import OutcomePlan, draw_people
from fmnet.types import Count, Fraction, Positive, Several

#: Part of the seeds: parts share no cohorts.
TASKS, SESSIONS = 4, 5


@dataclass(frozen=True)
class TasksPart(Part):
    """What targets gain by being learned together, and whether what they share is recognised.

    Parameters
    ----------
    n_trials, n_people : int
        Cohorts of each kind, and people of each.
    effect : float
        Difference of groups in the patterns, in SDs.
    wanted : float
        The mean gain that is wanted at least.
    """

    title: ClassVar[str] = "several targets: gain by learning together, and transfer between them"

    n_trials: Count = 10
    n_people: Several = 90
    effect: Positive = 2.0
    wanted: float = -0.01

    def units(self) -> list[Unit]:
        """List pains that share all of their pattern, half of its square, or nothing."""
        return draws(["1.0", "0.5", "0.0"], self.n_trials)

    def measure(self, world: World, unit: Unit) -> list[dict[str, Any]]:
        """Train together and alone; test each task's model on the other's people."""
        shared, number = unit
        settings = {"n_subjects": self.n_people, "target_effect": self.effect}
        settings["shared"] = float(shared)
        study = study_of(world, "several", [TASKS, number], settings)
        table = crossvalidated(study)
        found = study_tasks(study.pipeline, study.scans, study.folds, table, n_bootstrap=50)
        rows = [
            {"what": f"gain of {row['task']}", "value": row["gain"], "is_told": None}
            for row in found["gains"]
        ]
        for cell in found["transfer"]["cells"]:
            what = f"{cell['trained']} to {cell['tested']}"
            rows.append({"what": what, "value": cell["auc"], "is_told": int(cell["ci"][0] > 0.5)})
        return rows

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Average over draws."""
        grouped = rows.groupby(["name", "what"], sort=False)
        table = grouped["value"].agg(["mean", "sem", "count"])
        return {"tasks": table.assign(told=grouped["is_told"].mean()).reset_index()}

    def goals(self, tables: Mapping[str, pd.DataFrame]) -> list[Goal]:
        """Compare the mean gain with the loss that is allowed."""
        table = tables["tasks"]
        gains = table[table["what"].str.startswith("gain")]["mean"]
        return [Goal("mean gain by learning together", float(gains.mean()), self.wanted)]


@dataclass(frozen=True)
class SessionsPart(Part):
    """How often the interval of an intraclass correlation holds the one planted.

    Parameters
    ----------
    n_draws, n_people, n_sessions : int
        Cohorts, people of each, and scans of each person.
    wanted : float
        Fraction of intervals that is to hold it.
    """

    title: ClassVar[str] = "sessions: intervals of ICC(3,1) that hold the planted one"

    n_draws: Count = 500
    n_people: Several = 40
    n_sessions: Several = 2
    wanted: Fraction = 0.93

    def units(self) -> list[Unit]:
        """List planted correlations."""
        return [(icc, 0) for icc in ("0.2", "0.5", "0.8")]

    def measure(self, world: World, unit: Unit) -> list[dict[str, Any]]:
        """Draw people, whose score is how strongly they show the first pattern."""
        icc, rows = float(unit[0]), []
        for number in range(self.n_draws):
            plan = OutcomePlan(
                "sessions", n_people=self.n_people, n_sessions=self.n_sessions, icc=icc
            )
            rng = np.random.default_rng([world.seed, SESSIONS, round(100 * icc), number])
            drawn = draw_people(plan, rng)
            person = drawn.person_of
            ids = [
                f"{one}_ses-{session}"
                for one, session in zip(
                    drawn.scans["participant_id"], drawn.scans["session"], strict=True
                )
            ]
            table = pd.DataFrame(
                {
                    "participant_id": drawn.scans["participant_id"], "scan_id": ids,
                    "repeat": 0, "fold": person % 5, "score": drawn.expression[:, 0],
                }
            )  # fmt: skip
            found = retest_of_scores(table)["consistency"]
            low, high = found["low"], found["high"]
            rows.append({"estimate": found["value"], "is_inside": int(low <= icc <= high)})
        return rows

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Count intervals that hold what was planted."""
        found = []
        for icc, own in rows.groupby("name", sort=False):
            n, inside = len(own), int(own["is_inside"].sum())
            low, high = binomtest(inside, n).proportion_ci()
            found.append(
                {
                    "planted": icc, "draws": n, "mean_estimate": own["estimate"].mean(),
                    "inside": inside / n, "low": float(low), "high": float(high),
                }
            )  # fmt: skip
        return {"sessions": pd.DataFrame(found)}

    def goals(self, tables: Mapping[str, pd.DataFrame]) -> list[Goal]:
        """Compare the rarest coverage with the one wanted."""
        least = float(tables["sessions"]["inside"].min())
        return [Goal("least coverage of 95 % intervals", least, self.wanted)]
