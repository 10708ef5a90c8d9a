"""Runs prepared as one writes it with nilearn, and how near its values come to fmnet's."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from nilearn.image import load_img, resample_to_img
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.maskers import NiftiMasker
from scipy.ndimage import binary_erosion

from fmnet.bold.cleaned_run import CleanedRun
from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.bold.regressors import MODELS
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.nifti import to_image
from fmnet.data.volume import FloatArray

#: Voxels from the edge of the data within which nilearn mixes background in.
N_EDGE = 2


def clean_with_nilearn(
    runs: Sequence[PreprocessedRun], grid: Grid, settings: CleaningSettings, out: Path
) -> None:
    """Load, resample, mask and clean runs one by one; write ``N.npy``, (T_kept, V), in percent."""
    out.mkdir(parents=True, exist_ok=True)
    mask = to_image(grid.mask.astype(np.uint8), grid.affine)
    for number, run in enumerate(runs):
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
        ).fit()
        np.save(out / f"{number}.npy", masker.transform(image, confounds, kept))


def agreement(ours: CleanedRun, theirs: FloatArray) -> dict[str, float]:
    """Compare values, (T_kept, V) in percent, over voxels that have data.

    Returns
    -------
    dict
        ``voxels`` with data in both; ``correlation`` in time, the median over them; of those at
        least `N_EDGE` voxels inside, ``inside``, the least ``correlation_inside``, and the
        ``largest_difference_inside`` in percent; ``sd_inside`` of the values, to compare it with.
    """
    values, grid = ours.values(), ours.grid
    known = np.isfinite(values[0]) & (theirs.std(axis=0) > 0)
    volume = np.zeros(grid.shape, bool)
    volume[grid.mask] = known
    inside = binary_erosion(volume, iterations=N_EDGE)[grid.mask]
    correlation = pd.DataFrame(values[:, known]).corrwith(pd.DataFrame(theirs[:, known])).to_numpy()
    deep = inside[known]
    return {
        "voxels": int(known.sum()),
        "correlation": float(np.median(correlation)),
        "inside": int(inside.sum()),
        "correlation_inside": float(correlation[deep].min()),
        "largest_difference_inside": float(np.abs(values - theirs)[:, inside].max()),
        "sd_inside": float(values[:, inside].std()),
    }
