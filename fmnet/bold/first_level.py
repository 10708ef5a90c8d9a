"""First-level models: a general linear model of each run.

The model is nilearn's: conditions convolved with a canonical response, cosine drift, the run's
nuisance regressors, first-order autoregressive noise. Volumes that are left out of a run are left
out of data and model alike, as `nilearn.glm.first_level.FirstLevelModel` does with sample masks.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.bold.events import read_events
from fmnet.bold.open_run import OpenRun
from fmnet.data.volume import FloatArray

#: Response to a brief event, and what slower changes than which in Hz are drift.
HRF, DRIFT_HZ = "glover", 1 / 128
#: Order of the autoregression of the noise.
NOISE = "ar1"
#: Before the names of conditions and nuisance regressors in the design, to keep them apart.
CONDITION, NUISANCE = "condition:", "nuisance:"
#: Voxels that are modelled at a time.
BLOCK = 16384
#: How far a contrast may lie outside what the design can tell, as a share of its length.
INESTIMABLE = 1e-6


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


def fit_run(run: OpenRun) -> RunModel:
    """Fit the model of a run's conditions, drift and nuisance to each voxel.

    Raises
    ------
    VolumeError
        If the run has no usable events, or too few volumes for its regressors.
    """
    source = run.source
    kept = source.nuisance.kept
    frame = build_design(
        source.stored.n_volumes,
        source.t_r,
        read_events(run),
        source.nuisance.regressors,
        source.run.start_time,
    )
    design = frame.to_numpy(dtype=float)[kept]
    rank = int(np.linalg.matrix_rank(design))
    if rank >= len(kept):
        found = f"{len(kept)} volumes for {rank} independent regressors"
        action = "choose a strategy with fewer regressors, scrub less, or leave the run out"
        raise run.refusal(found, "more volumes than regressors", action)
    values = source.stored.read_window(0, source.stored.n_volumes)[kept]
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

    Volumes count as acquired at multiples of `t_r` from `start_time` on. Nuisance regressors are
    standardised, which changes no contrast of conditions.

    Parameters
    ----------
    n_volumes : int
        T.
    t_r : float
        Repetition time in seconds.
    events : DataFrame
        See `fmnet.bold.events.read_events`.
    nuisance : ndarray of float64, shape (T, n)
        Further regressors; n may be 0.
    start_time : float
        Of the first volume, in seconds.
    """
    from nilearn.glm.first_level import (
        make_first_level_design_matrix,  # slow, and other maps need not wait
    )

    centred = nuisance - nuisance.mean(axis=0)
    spread = centred.std(axis=0)
    regressors = centred[:, spread > 0] / spread[spread > 0]
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
    """Fit a design to series, in percent of their mean.

    Parameters
    ----------
    values : ndarray of float32, shape (T_kept, V)
        As acquired; NaN where there are no data.
    design : ndarray of float64, shape (T_kept, P)
        Columns of the model.

    Returns
    -------
    tuple
        nilearn's labels and results, a block of voxels at a time, and the voxels, (V,) bool, that
        have data, vary, and have a positive mean.
    """
    from nilearn.glm.first_level import run_glm  # slow, and other maps need not wait
    from nilearn.glm.regression import SimpleRegressionResults

    mean, spread = values.mean(axis=0), values.std(axis=0)
    known = np.isfinite(mean) & (mean > 0) & (spread > 0)
    places = np.flatnonzero(known)
    blocks = []
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        percent = 100 * (values[:, block] / mean[block].astype(np.float64) - 1)
        labels, results = run_glm(percent, design, noise_model=NOISE)
        # without the series themselves
        small = {label: SimpleRegressionResults(result) for label, result in results.items()}
        blocks.append((labels, small))
    return tuple(blocks), known


def contrast_row(model: RunModel, weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Write a contrast's weights in the columns of the design: (P,)."""
    return np.array(
        [
            weights.get(name.removeprefix(CONDITION), 0.0) if name.startswith(CONDITION) else 0.0
            for name in model.columns
        ]
    )


def is_estimable(row: NDArray[np.float64], design: NDArray[np.float64]) -> bool:
    """Tell whether a contrast lies in the space that the rows of the design span."""
    _, size, axes = np.linalg.svd(design, full_matrices=False)
    axes = axes[size > size[0] * max(design.shape) * np.finfo(float).eps]
    rest = row - axes.T @ (axes @ row)
    return bool(np.linalg.norm(rest) <= INESTIMABLE * np.linalg.norm(row))


def estimate(model: RunModel, row: NDArray[np.float64]) -> RunEffect:
    """Estimate a contrast, given as `contrast_row` writes it."""
    from nilearn.glm.contrasts import compute_contrast  # slow, and other maps need not wait

    found = [compute_contrast(labels, results, row) for labels, results in model.blocks]
    effect, variance = np.full((2, len(model.known)), np.nan)
    effect[model.known] = np.concatenate([np.ravel(one.effect_size()) for one in found])
    variance[model.known] = np.concatenate([np.ravel(one.effect_variance()) for one in found])
    return RunEffect(effect, variance, float(found[0].dof))
