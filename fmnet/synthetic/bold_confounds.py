"""The confounds that fMRIPrep would write of a synthetic run, worked out from its own volumes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.synthetic.bold_anatomy import Anatomy
from fmnet.synthetic.bold_motion import framewise_displacement
from fmnet.synthetic.bold_run import SyntheticRun

TRACES = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
#: How exactly realignment finds the head, in mm and radians.
TRACE_ERROR = np.array([2e-3] * 3 + [4e-5] * 3)
#: Where fMRIPrep marks volumes as outliers.
OUTLIER_FD_MM, OUTLIER_DVARS = 0.5, 1.5
#: Slowest wave that is no drift, in s; and anatomical components that are kept.
DRIFT_S, N_COMPONENTS = 128.0, 5


def build_confounds(
    run: SyntheticRun, anatomy: Anatomy, t_r: float, n_non_steady: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Build the columns of ``desc-confounds_timeseries.tsv`` and the meta data of its JSON file.

    Parameters
    ----------
    run : SyntheticRun
        Its values as they are written.
    anatomy : Anatomy
        Masks of CSF and white matter.
    t_r : float
        Repetition time in seconds.
    n_non_steady : int
        Volumes at the start to mark.
    rng : Generator
        Of the errors that realignment makes.

    Returns
    -------
    table : DataFrame
        T rows; NaN for what the first volume has none of.
    meta : dict
        Of the components, by column.
    """
    traces = run.motion.traces + TRACE_ERROR * rng.standard_normal(run.motion.traces.shape)
    fd = framewise_displacement(traces)
    fd[0] = math.nan
    dvars, std_dvars = _dvars(run.values, n_non_steady)
    means = {
        "global_signal": run.values.mean(axis=1, dtype=float),
        "csf": run.values[:, anatomy.csf].mean(axis=1, dtype=float),
        "white_matter": run.values[:, anatomy.white].mean(axis=1, dtype=float),
    }
    cosines = _cosines(len(fd), t_r)
    components, meta = _anatomical_components(run.values, anatomy, cosines, n_non_steady)
    outlying = (np.nan_to_num(fd) > OUTLIER_FD_MM) | (np.nan_to_num(std_dvars) > OUTLIER_DVARS)
    outlying[: n_non_steady + (n_non_steady > 0)] = False
    columns = {
        **_expand(means),
        "std_dvars": std_dvars,
        "dvars": dvars,
        "framewise_displacement": fd,
        **components,
        **{f"cosine{k:02d}": wave for k, wave in enumerate(cosines.T)},
        **_mark("non_steady_state_outlier", np.arange(n_non_steady), len(fd)),
        **_expand(dict(zip(TRACES, traces.T, strict=True))),
        **_mark("motion_outlier", np.flatnonzero(outlying), len(fd)),
    }
    return pd.DataFrame(columns), meta


def _expand(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Add derivatives and squares as fMRIPrep names them."""
    expanded: dict[str, NDArray[np.float64]] = {}
    for name, values in columns.items():
        derivative = np.diff(values, prepend=math.nan)
        expanded |= {
            name: values,
            f"{name}_derivative1": derivative,
            f"{name}_power2": values**2,
            f"{name}_derivative1_power2": derivative**2,
        }
    return expanded


def _dvars(
    values: FloatArray, n_non_steady: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """DVARS, and relative to what each voxel's spread and autocorrelation lead one to expect."""
    steps = np.diff(values, axis=0)
    dvars = np.sqrt((steps**2).mean(axis=1, dtype=float))
    steady = values[n_non_steady:]
    low, high = np.percentile(steady, [25, 75], axis=0)
    sd = (high - low) / 1.349
    centred = steady - steady.mean(axis=0)
    power = np.maximum((centred**2).sum(axis=0), 1e-12)
    ar = (centred[1:] * centred[:-1]).sum(axis=0) / power
    expected = float((sd * np.sqrt(np.maximum(2 * (1 - ar), 0))).mean())
    return np.r_[math.nan, dvars], np.r_[math.nan, dvars / max(expected, 1e-12)]


def _cosines(n_volumes: int, t_r: float) -> NDArray[np.float64]:
    """Discrete cosines slower than 128 s, without the constant: (T, n)."""
    order = int(2 * n_volumes * t_r / DRIFT_S)
    phase = np.pi * (np.arange(n_volumes) + 0.5) / n_volumes
    return np.asarray(math.sqrt(2 / n_volumes) * np.cos(np.outer(phase, np.arange(1, order + 1))))


def _anatomical_components(
    values: FloatArray, anatomy: Anatomy, cosines: NDArray[np.float64], n_non_steady: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    columns: dict[str, NDArray[np.float64]] = {}
    meta: dict[str, Any] = {}
    masks = {"c": ("CSF", anatomy.csf), "w": ("WM", anatomy.white)}
    masks["a"] = ("combined", anatomy.csf | anatomy.white)
    for letter, (mask_name, mask) in masks.items():
        series = values[n_non_steady:, mask].astype(float)
        design = np.column_stack([np.ones(len(series)), cosines[n_non_steady:]])
        series -= design @ np.linalg.lstsq(design, series, rcond=None)[0]
        series /= np.maximum(series.std(axis=0), 1e-12)
        waves, singular, _ = np.linalg.svd(series, full_matrices=False)
        share = singular**2 / (singular**2).sum()
        for k in range(min(N_COMPONENTS, len(singular))):
            name = f"{letter}_comp_cor_{k:02d}"
            # components know nothing of the volumes before the steady state
            columns[name] = np.r_[np.zeros(n_non_steady), waves[:, k]]
            meta[name] = {
                "Method": "aCompCor",
                "Mask": mask_name,
                "Retained": True,
                "SingularValue": float(singular[k]),
                "VarianceExplained": float(share[k]),
                "CumulativeVarianceExplained": float(share[: k + 1].sum()),
            }
    return columns, meta


def _mark(name: str, volumes: NDArray[np.intp], n_volumes: int) -> dict[str, NDArray[np.intp]]:
    """One column of 0 and a single 1 for each volume."""
    return {
        f"{name}{k:02d}": (np.arange(n_volumes) == volume).astype(np.intp)
        for k, volume in enumerate(volumes)
    }
