"""First-level models: events, a general linear model of each run, and contrasts of conditions.

The model is nilearn's: conditions convolved with a canonical response, cosine drift, the run's
nuisance regressors, first-order autoregressive noise; contrasts are combined over runs by fixed
effects. Volumes that are left out of a run are left out of data and model alike, as
`nilearn.glm.first_level.FirstLevelModel` does with sample masks. That class itself isn't used: it
wants 4-D images, works on all voxels at once, and makes zeros of NaN, which here says where
a run has no data.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.bold.acquired import AcquiredRun
from fmnet.data.covariates import read_together, sentinels
from fmnet.data.tables import lines_of, read_table_file, say_lines
from fmnet.data.volume import FloatArray
from fmnet.errors import CohortError, Fault, VolumeError

#: Response to a brief event, and what slower changes than which in Hz are drift.
HRF, DRIFT_HZ = "glover", 1 / 128
#: Order of the autoregression of the noise.
NOISE = "ar1"
#: Before the names of conditions and nuisance regressors in the design, to keep them apart.
CONDITION, NUISANCE = "condition:", "nuisance:"
#: Voxels that are modelled at a time.
BLOCK = 16384
#: How far a contrast may lie outside what the design can tell, relative to its length.
INESTIMABLE = 1e-6
#: Of events.
COLUMNS = ("onset", "duration", "trial_type")
EVENTS = "a BIDS events.tsv with onset, duration (both in s) and trial_type"


def condition_name(trial_type: str) -> str:
    """Turn a trial type into a name for formulas: ``Neutral - OBSERVAR`` to ``Neutral_OBSERVAR``.

    Every run of characters other than letters and digits becomes ``_``; a name of digits alone,
    which would be a number, gets ``condition_`` before it.
    """
    name = re.sub(r"[\W_]+", "_", trial_type)
    return f"condition_{name}" if name.isdigit() else name


def read_events(run: AcquiredRun) -> pd.DataFrame:
    """Read a run's events.

    Returns
    -------
    DataFrame
        ``onset, duration, trial_type``; trial types as `condition_name` writes them; rows without
        one are left out.

    Raises
    ------
    VolumeError
        If there is no file, it can't be read, times are no times, two trial types have the same
        name in formulas, or no event lies within the run.
    """
    path = run.source.events
    if path is None:
        action = "put it beside the run or in the raw data set, or ask for maps that need no events"
        raise run.refusal("no events", EVENTS, action)
    try:
        table = read_table_file(path, COLUMNS)
    except CohortError as error:
        raise VolumeError(
            fault
            for one in error.faults
            for fault in run.refusal(one.found, one.accepted, one.action, path).faults
        ) from error
    table = table[table["trial_type"] != ""]
    length = run.stored.n_volumes * run.stored.t_r
    events = pd.DataFrame(index=table.index)
    for column, numbers in read_together(table, COLUMNS[:2]).items():
        # refuse what is no time, or stands for one that nobody knows
        codes = [code for code in sentinels(numbers.values) if not 0 <= code <= length]
        wrong = ~numbers.is_number | np.isin(numbers.values, codes)
        if column == "duration":
            wrong |= numbers.values < 0
        if wrong.any():
            first = ", ".join(f"'{text}'" for text in table.loc[wrong, column].unique()[:3])
            lines = say_lines(lines_of(table, table.index[wrong])[:5])
            action = "correct the table, or write n/a as the trial_type of what is no event"
            raise run.refusal(f"{column} {first} in {lines}", EVENTS, action, path)
        events[column] = numbers.values
    events["trial_type"] = table["trial_type"].map(condition_name)
    by_name = table["trial_type"].groupby(events["trial_type"]).unique()
    if same := [sorted(group) for group in by_name if len(group) > 1]:
        found = "; ".join(" and ".join(map(repr, group)) for group in same)
        accepted = "trial types that differ in more than spaces and punctuation"
        raise run.refusal(found, accepted, "rename them", path)
    if not ((events["onset"] < length) & (events["onset"] + events["duration"] >= 0)).any():
        times = f"from {events['onset'].min():g} s on" if len(events) else "none"
        raise run.refusal(
            f"no event within the {length:g} s of the run ({times})",
            EVENTS,
            "check that the file belongs to this run and that its times are in seconds",
            path,
        )
    return events


@dataclass(frozen=True, eq=False)
class RunModel:
    """A fitted model of one run.

    Parameters
    ----------
    design : ndarray of float64, shape (T_kept, P)
        Columns of the model.
    columns : tuple of str
        Their names.
    known : ndarray of bool, shape (V,)
        Where the run has data that vary.
    blocks : tuple
        nilearn's labels and results of `BLOCK` known voxels at a time.
    """

    design: NDArray[np.float64]
    columns: tuple[str, ...]
    known: NDArray[np.bool_]
    blocks: tuple[tuple[Any, Any], ...]

    @property
    def conditions(self) -> list[str]:
        """Names of the run's conditions."""
        return [n.removeprefix(CONDITION) for n in self.columns if n.startswith(CONDITION)]


@dataclass(frozen=True, eq=False)
class RunEffect:
    """What one run says about a contrast.

    Parameters
    ----------
    effect, variance : ndarray of float64, shape (V,)
        In percent of the mean, and its square; NaN where the run has no data.
    dof : float
        Degrees of freedom of the residuals.
    """

    effect: NDArray[np.float64]
    variance: NDArray[np.float64]
    dof: float


def fit_run(run: AcquiredRun) -> RunModel:
    """Fit the model of a run's conditions, drift and nuisance to each voxel.

    Raises
    ------
    VolumeError
        If the run has no usable events, or too few volumes for its regressors.
    """
    stored, kept, regressors = run.stored, run.nuisance.kept, run.nuisance.regressors
    events, start_time = read_events(run), run.source.start_time
    frame = build_design(stored.n_volumes, stored.t_r, events, regressors, start_time)
    design = frame.to_numpy(dtype=float)[kept]
    rank = int(np.linalg.matrix_rank(design))
    if rank >= len(kept):
        found = f"{len(kept)} volumes for {rank} independent regressors"
        action = "choose a strategy with fewer regressors, scrub less, or leave the run out"
        raise run.refusal(found, "more volumes than regressors", action)
    values = stored.read_window(0, stored.n_volumes)[kept]
    blocks, known = fit_design(values, design)
    return RunModel(design, tuple(map(str, frame.columns)), known, blocks)


def build_design(
    n_volumes: int,
    t_r: float,
    events: pd.DataFrame,
    nuisance: NDArray[np.float64],
    start_time: float = 0.0,
) -> pd.DataFrame:
    """Build the design of a run with nilearn: one row per volume as acquired.

    Volumes count as acquired at multiples of `t_r` from `start_time` on, in seconds. Nuisance
    regressors, (T, n), are standardised, which changes no contrast of conditions. Events are those
    of `read_events`.
    """
    # slow, and other maps need not wait
    from nilearn.glm.first_level import make_first_level_design_matrix

    centred = nuisance - nuisance.mean(axis=0)
    sd = centred.std(axis=0)
    regressors = centred[:, sd > 0] / sd[sd > 0]
    named = events.assign(trial_type=CONDITION + events["trial_type"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of brief events and of regressors that are alike
        design: pd.DataFrame = make_first_level_design_matrix(
            start_time + np.arange(n_volumes) * t_r,
            named,
            hrf_model=HRF,
            drift_model="cosine",
            high_pass=DRIFT_HZ,
            add_regs=regressors if regressors.size else None,
            add_reg_names=[f"{NUISANCE}{number}" for number in range(regressors.shape[1])] or None,
        )
    return design


def fit_design(
    values: FloatArray, design: NDArray[np.float64]
) -> tuple[tuple[tuple[Any, Any], ...], NDArray[np.bool_]]:
    """Fit a design, (T_kept, P), to series as acquired, (T_kept, V), in percent of their mean.

    Returns
    -------
    tuple
        nilearn's labels and results, a block of voxels at a time, and the voxels, (V,) bool, that
        have data, vary, and have a positive mean.
    """
    from nilearn.glm.first_level import run_glm  # slow, and other maps need not wait
    from nilearn.glm.regression import SimpleRegressionResults

    mean = values.mean(axis=0)
    known = np.isfinite(mean) & (mean > 0) & (values.std(axis=0) > 0)
    voxels = np.flatnonzero(known)
    blocks = []
    for start in range(0, len(voxels), BLOCK):
        block = voxels[start : start + BLOCK]
        percent = 100 * (values[:, block] / mean[block].astype(np.float64) - 1)
        labels, results = run_glm(percent, design, noise_model=NOISE)
        # without the series themselves
        small = {label: SimpleRegressionResults(result) for label, result in results.items()}
        blocks.append((labels, small))
    return tuple(blocks), known


def is_estimable(row: NDArray[np.float64], design: NDArray[np.float64]) -> bool:
    """Tell whether a contrast lies in the space that the rows of the design span."""
    _, size, axes = np.linalg.svd(design, full_matrices=False)
    axes = axes[size > size[0] * max(design.shape) * np.finfo(float).eps]
    rest = row - axes.T @ (axes @ row)
    return bool(np.linalg.norm(rest) <= INESTIMABLE * np.linalg.norm(row))


def estimate(model: RunModel, row: NDArray[np.float64]) -> RunEffect:
    """Estimate a contrast, given as weights of the design's columns: (P,)."""
    from nilearn.glm.contrasts import compute_contrast  # slow, and other maps need not wait

    found = [compute_contrast(labels, results, row) for labels, results in model.blocks]
    effect, variance = np.full((2, len(model.known)), np.nan)
    effect[model.known] = np.concatenate([np.ravel(one.effect_size()) for one in found])
    variance[model.known] = np.concatenate([np.ravel(one.effect_variance()) for one in found])
    return RunEffect(effect, variance, float(found[0].dof))


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

    def effect(self, run: AcquiredRun) -> RunEffect | Absent:
        """Estimate the contrast in a run.

        Raises
        ------
        VolumeError
            If the run has no usable events, only some of the conditions, or can't tell them apart.
        """
        model: RunModel = run.once("model", lambda: fit_run(run))
        wanted, there = {name for name, _ in self.weights}, model.conditions
        if wanted.isdisjoint(there):
            bold = run.source.bold
            return Absent(bold.run_id, bold.participant_id, tuple(there))
        if missing := sorted(wanted.difference(there)):
            raise run.refusal(
                f"contrast '{self.name}' with conditions that the run has not: "
                + ", ".join(map(repr, missing)),
                f"all conditions of the contrast in a run, or none of them; there: {_list(there)}",
                "correct the contrast's formula, or leave the run out",
                run.source.events,
            )
        row = np.zeros(len(model.columns))
        for condition, weight in self.weights:
            row[model.columns.index(f"{CONDITION}{condition}")] = weight
        if not is_estimable(row, model.design):
            raise run.refusal(
                f"contrast '{self.name}' that can't be estimated",
                "conditions that occur in the volumes that are left of the run, each at times of "
                "its own",
                "check onsets and durations, or leave the run out",
                run.source.events,
            )
        return estimate(model, row)

    def combine(self, of_runs: Sequence[RunEffect | Absent], _: Sequence[int]) -> FloatArray:
        """Combine runs by fixed effects: z of the contrast, (V,), NaN where a run has no data.

        Runs in which none of the conditions occurs are passed over.
        """
        from nilearn.glm.contrasts import Contrast  # slow, and other maps need not wait

        effects = [each for each in of_runs if isinstance(each, RunEffect)]
        if not effects:
            found = f"no {_list([name for name, _ in self.weights])} for contrast '{self.name}'"
            faults = []
            for run in of_runs:
                if isinstance(run, Absent):
                    accepted = f"conditions of the run's events: {_list(run.conditions)}"
                    action, whose = "correct the contrast's formula", run.participant_id
                    faults.append(Fault(run.run_id, found, accepted, action, whose))
            raise VolumeError(faults)
        known = np.all([np.isfinite(each.effect) for each in effects], axis=0)
        runs = [Contrast(p.effect[known], p.variance[known], dof=p.dof) for p in effects]
        total = runs[0]
        for other in runs[1:]:
            total = total + other
        z = np.full(len(known), np.nan, dtype=np.float32)
        z[known] = total.z_score()
        return z


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
