"""Contrasts of conditions: estimated in each run, and combined over runs by fixed effects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnet.bold.first_level import (
    RunEffect,
    RunModel,
    contrast_row,
    estimate,
    fit_run,
    is_estimable,
)
from fmnet.bold.open_run import OpenRun
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError


@dataclass(frozen=True)
class Absent:
    """A run in which none of a contrast's conditions occurs."""

    run_id: str
    participant_id: str
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class RunContrast:
    """A weighted sum of conditions.

    Parameters
    ----------
    name : str
        Of the contrast.
    weights : tuple of (str, float)
        Conditions, named as in formulas, and what each counts.
    """

    name: str
    weights: tuple[tuple[str, float], ...]

    def effect(self, run: OpenRun) -> RunEffect | Absent:
        """Estimate the contrast in a run.

        Raises
        ------
        VolumeError
            If the run has no usable events, only some of the conditions, or can't tell them apart.
        """
        model: RunModel = run.once("model", lambda: fit_run(run))
        wanted = dict(self.weights)
        there = model.conditions
        if not set(wanted) & set(there):
            bold = run.source.run.bold
            return Absent(bold.run_id, bold.participant_id, tuple(there))
        if missing := sorted(set(wanted) - set(there)):
            raise run.refusal(
                f"contrast '{self.name}' with conditions that the run has not: "
                + ", ".join(map(repr, missing)),
                f"all conditions of the contrast in a run, or none of them; there: {_list(there)}",
                "correct the contrast's formula, or leave the run out",
                run.source.run.events,
            )
        row = contrast_row(model, wanted)
        if not is_estimable(row, model.design):
            raise run.refusal(
                f"contrast '{self.name}' that can't be estimated",
                "conditions that occur in the volumes that are left of the run, each at times of "
                "its own",
                "check onsets and durations, or leave the run out",
                run.source.run.events,
            )
        return estimate(model, row)

    def combine(self, parts: Sequence[RunEffect | Absent], _: Sequence[int]) -> FloatArray:
        """Combine runs by fixed effects: z of the contrast, (V,), NaN where a run has no data.

        Runs in which none of the conditions occurs are passed over.
        """
        from nilearn.glm.contrasts import Contrast  # slow, and other maps need not wait

        effects = [part for part in parts if isinstance(part, RunEffect)]
        if not effects:
            raise VolumeError(self._fault(part) for part in parts if isinstance(part, Absent))
        known = np.all([np.isfinite(part.effect) for part in effects], axis=0)
        runs = [Contrast(p.effect[known], p.variance[known], dof=p.dof) for p in effects]
        total = runs[0]
        for other in runs[1:]:
            total = total + other
        z = np.full(len(known), np.nan, dtype=np.float32)
        z[known] = total.z_score()
        return z

    def _fault(self, absent: Absent) -> Fault:
        found = f"no {_list([name for name, _ in self.weights])} for contrast '{self.name}'"
        accepted = f"conditions of the run's events: {_list(absent.conditions)}"
        action = "correct the contrast's formula"
        return Fault(absent.run_id, found, accepted, action, absent.participant_id)


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
