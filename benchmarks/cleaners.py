"""Runs prepared by us, and as one writes it with nilearn; and how near the values come."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nilearn.image import load_img, resample_to_img
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.maskers import NiftiMasker
from scipy.ndimage import binary_erosion

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.cleaned import CleanedRun
from fmnet.bold.confounds import MODELS
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.nifti import to_image
from fmnet.data.store import ArrayStore
from fmnet.data.volume import FloatArray
from fmnet.errors import VolumeError

#: Voxels from the edge of the data within which nilearn mixes background in.
N_EDGE = 2


def clean_with_fmnet(
    runs: Sequence[PreprocessedRun], store: ArrayStore[PreprocessedRun, CleanedRun]
) -> None:
    """Add runs to a store; raise `VolumeError` for the first that can't be used."""
    for outcome in store.add_all(runs):
        if isinstance(outcome, VolumeError):
            raise outcome


def clean_with_nilearn(
    runs: Sequence[PreprocessedRun], grid: Grid, settings: CleaningSettings, out: Path
) -> None:
    """Load, resample, mask and clean runs one by one; write ``N.npy``, (T_kept, V), in percent."""
    out.mkdir(parents=True, exist_ok=True)
    mask = to_image(grid.mask.astype(np.uint8), grid.affine)
    # it says that percentages mean nothing outside the brain
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, run in enumerate(runs):
            np.save(out / f"{number}.npy", _clean_run(run, mask, settings))


def _clean_run(run: PreprocessedRun, mask: Any, settings: CleaningSettings) -> FloatArray:
    path = str(run.bold.path)
    confounds, kept = load_confounds(path, **MODELS[settings.strategy].options)
    image = resample_to_img(
        load_img(path), mask, interpolation="linear", copy_header=True, force_resample=True
    )
    masker = NiftiMasker(
        mask,
        detrend=True,
        standardize="psc",
        low_pass=settings.high_hz,
        high_pass=settings.low_hz,
        t_r=run.bold.t_r,
    )
    values: FloatArray = masker.fit().transform(image, confounds, kept)
    return values


def agreement(ours: CleanedRun, theirs: FloatArray) -> dict[str, float]:
    """Compare values, (T_kept, V) in percent, over voxels that have data in both.

    About their mean in time, for nilearn takes it out once more where it computes percentages.

    Returns
    -------
    dict
        How many ``voxels``; ``correlation`` in time, the median over them; of those at least
        `N_EDGE` voxels ``inside``, the least ``correlation_inside``, the
        ``largest_difference_inside`` in percent, and the standard deviation ``sd_inside``.
    """
    values, grid = ours.values(), ours.grid
    known = np.isfinite(values[0]) & (theirs.std(axis=0) > 0)
    inside = binary_erosion(grid.unmask(known) > 0, iterations=N_EDGE)[grid.mask][known]
    pair = [pd.DataFrame(one[:, known] - one[:, known].mean(axis=0)) for one in (values, theirs)]
    correlation = pair[0].corrwith(pair[1]).to_numpy()
    difference = (pair[0] - pair[1]).to_numpy()[:, inside]
    return {
        "voxels": int(known.sum()),
        "correlation": float(np.median(correlation)),
        "inside": int(inside.sum()),
        "correlation_inside": float(correlation[inside].min()),
        "largest_difference_inside": float(np.abs(difference).max()),
        "sd_inside": float(pair[0].to_numpy()[:, inside].std()),
    }
