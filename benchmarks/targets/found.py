"""Parts: cohorts without an effect, the prognostic trap, and effects of stated sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
from scipy.stats import binom, binomtest

from benchmarks.race import Goal
from benchmarks.targets.cohorts import DrawnStudy, draw_study
from benchmarks.targets.part import Part, Unit, World, draws
from benchmarks.targets.trials import (
    conclusions,
    crossvalidated,
    figures_of,
    p_values,
    with_oracle,
)
from fmnet.synthetic.target_design import TargetDesign
from fmnet.types import NETWORK, Count, Fraction, NonNegativeCount, Several

ALPHA = 0.05
#: Beginning of the sentence by which a report calls a score a moderator.
IS_MODERATOR = "The score is a moderator"
#: Part of the seeds: parts share no cohorts.
NULL, TRAP, TRUTH = 1, 2, 3


def study_of(
    world: World,
    kind: str,
    number: Sequence[int],
    settings: Mapping[str, Any],
    folds: tuple[int, int] = (5, 3),
) -> DrawnStudy:
    """Draw a study of one site, in which outcomes can be exchanged within cells of the folds."""
    own = {"n_sites": 1, "voxel_size_mm": world.voxel_size_mm, **settings}
    design = TargetDesign(kind=kind, **own)  # type: ignore[arg-type]
    models = (world.build_network, world.baselines)
    return draw_study(design, world.targets[kind], *models, [world.seed, *number], *folds)


@dataclass(frozen=True)
class NullPart(Part):
    """How often a test finds something where outcomes depend on nothing.

    Parameters
    ----------
    kinds : list of str
        Of outcomes.
    n_trials : int
        Cohorts of each.
    n_people, n_permutations, n_splits, inner_splits : int
        Of each.
    n_groups : int
        Of classes.
    """

    title: ClassVar[str] = "outcomes that depend on nothing: how often p < 0.05 or smaller"

    kinds: Sequence[str]
    n_trials: Count = 200
    n_people: Several = 48
    n_permutations: Count = 39
    n_groups: Several = 3
    n_splits: Several = 3
    inner_splits: Several = 2

    def units(self) -> list[Unit]:
        """List trials, kind after kind in each round."""
        return draws(self.kinds, self.n_trials)

    def measure(self, world: World, unit: Unit) -> list[dict[str, Any]]:
        """Compute p of each model, and what the report would say."""
        kind, number = unit
        settings = {"planted": "none", "n_subjects": self.n_people, "n_groups": self.n_groups}
        folds = (self.n_splits, self.inner_splits)
        study = study_of(world, kind, [NULL, number], settings, folds)
        table = crossvalidated(study)
        p, figures = p_values(study, table, self.n_permutations), figures_of(study, table)
        return [{"model": name, "p": p[name], "figure": figures[name]} for name in p]

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Count small p-values, beside how many there may be by chance."""
        found = []
        for (kind, model), own in rows.groupby(["name", "model"], sort=False):
            n, small = len(own), int((own["p"] <= ALPHA).sum())
            low, high = (int(binom.ppf(q, n, ALPHA)) for q in (0.025, 0.975))
            found.append(
                {
                    "target": kind, "model": model, "trials": n, "small": small,
                    "rate": small / n, "least": low, "most": high,
                    "is_within": low <= small <= high, "mean_figure": own["figure"].mean(),
                }
            )  # fmt: skip
        return {"nulls": pd.DataFrame(found)}

    def goals(self, tables: Mapping[str, pd.DataFrame]) -> list[Goal]:
        """Compare with the binomial interval of 0.05."""
        return [
            Goal(
                f"{row['target']}, {row['model']}: p <= 0.05 in {row['small']} of {row['trials']}",
                row["small"], row["most"], is_floor=False,
            )
            for row in tables["nulls"].to_dict("records")
        ]  # fmt: skip


@dataclass(frozen=True)
class TrapPart(Part):
    """How often a marker that goes with improvement in both arms alike is called a moderator.

    Parameters
    ----------
    n_trials, n_people, n_permutations : int
        Trials, people of each, and permutations of arms.
    effect : float
        Correlation of the marker with the gain in either arm.
    wanted : float
        Fraction that is to be called not a moderator.
    """

    title: ClassVar[str] = "the prognostic trap: a marker of improvement in both arms alike"

    n_trials: Count = 100
    n_people: Several = 120
    n_permutations: NonNegativeCount = 99
    effect: Fraction = 0.7
    wanted: Fraction = 0.95

    def units(self) -> list[Unit]:
        """List traps, and as many true moderators beside them."""
        return draws(["prognostic", "moderator"], self.n_trials)

    def measure(self, world: World, unit: Unit) -> list[dict[str, Any]]:
        """Write down the first sentence of the report."""
        planted, number = unit
        settings = {"n_subjects": self.n_people, "target_effect": self.effect, "planted": planted}
        study = study_of(world, "response", [TRAP, number], settings)
        table = crossvalidated(study)
        p = p_values(study, table, self.n_permutations)
        said = conclusions(study, table, p, 200)
        called = said.startswith(IS_MODERATOR)
        interaction = figures_of(study, table)[NETWORK]
        return [{"is_moderator": int(called), "p": p[NETWORK], "interaction": interaction}]

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Count what was called a moderator."""
        found = []
        for planted, own in rows.groupby("name", sort=False):
            n, called = len(own), int(own["is_moderator"].sum())
            low, high = binomtest(n - called, n).proportion_ci()
            found.append(
                {
                    "planted": planted, "trials": n, "called_moderator": called,
                    "not_moderator": 1 - called / n, "low": float(low), "high": float(high),
                    "small_p": int((own["p"] <= ALPHA).sum()),
                    "interaction": own["interaction"].mean(),
                }
            )  # fmt: skip
        return {"trap": pd.DataFrame(found)}

    def goals(self, tables: Mapping[str, pd.DataFrame]) -> list[Goal]:
        """Compare the traps with the fraction wanted."""
        rows = {row["planted"]: row for row in tables["trap"].to_dict("records")}
        measured = float(rows["prognostic"]["not_moderator"])
        return [Goal("traps called not a moderator", measured, self.wanted)]


@dataclass(frozen=True)
class TruthPart(Part):
    """What is found of effects of stated sizes, beside baselines and what knows the truth.

    Parameters
    ----------
    effects : dict of float
        Of each kind of outcome, see `fmnet.synthetic.outcomes.OutcomePlan`.
    sizes : list of int
        People.
    n_trials : int
        Cohorts of each kind and size.
    settings : dict of dict
        Further settings of cohorts by kind, see `fmnet.synthetic.targets.TargetDesign`.
    """

    title: ClassVar[str] = "planted effects: the primary figure of each model"

    effects: Mapping[str, float]
    sizes: Sequence[Several] = (70, 140)
    n_trials: Count = 20
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def units(self) -> list[Unit]:
        """List kinds and sizes, one draw after the other."""
        return draws([f"{kind}, n={n}" for kind in self.effects for n in self.sizes], self.n_trials)

    def measure(self, world: World, unit: Unit) -> list[dict[str, Any]]:
        """Compute the primary figure of each model."""
        name, number = unit
        kind, n = name.split(", n=")
        settings = {
            "planted": "moderator" if kind == "response" else "effect",
            "n_subjects": int(n),
            "target_effect": self.effects[kind],
            **self.settings.get(kind, {}),
        }
        study = study_of(world, kind, [TRUTH, int(n), number], settings)
        figures = figures_of(study, with_oracle(study, crossvalidated(study)))
        return [{"model": model, "figure": value} for model, value in figures.items()]

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Average figures over draws, with the standard error of the mean."""
        grouped = rows.groupby(["name", "model"], sort=False)["figure"]
        table = grouped.agg(["mean", "sem", "count"]).reset_index()
        paired = rows.pivot_table(index=["name", "number"], columns="model", values="figure")
        gains = []
        for name, own in paired.groupby("name", sort=False):
            for rival in own.columns.drop(NETWORK):
                gap = (own[NETWORK] - own[rival]).dropna()
                gains.append(
                    {"name": name, "rival": rival, "difference": gap.mean(), "sem": gap.sem()}
                )
        return {"truth": table, "differences": pd.DataFrame(gains)}
