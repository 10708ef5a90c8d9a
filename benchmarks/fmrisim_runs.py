"""Runs that brainiak's fmrisim makes after the noise that it finds in a real run."""

import warnings
from importlib import import_module
from typing import Any

import numpy as np

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

ABSENT = "brainiak fmrisim: not installed (pip install brainiak), left out of the table"


def load_fmrisim() -> Any:
    """Import fmrisim; None if it isn't installed."""
    try:
        return import_module("brainiak.utils.fmrisim")
    except ImportError:
        return None


def simulate_like(
    fmrisim: Any, values: FloatArray, grid: Grid, t_r: float, seed: int
) -> FloatArray:
    """Fit fmrisim's noise to a run and draw another one, as its documentation shows it.

    Parameters
    ----------
    fmrisim : module
        See `load_fmrisim`.
    values : ndarray of float32, shape (T, X, Y, Z)
        The real run, with what lies outside the brain.
    grid : Grid
        Its voxels and brain mask.
    t_r : float
        Repetition time in seconds.
    seed : int
        fmrisim draws from numpy's global state, which is put back afterwards.

    Returns
    -------
    ndarray of float32, shape (T, X, Y, Z)
    """
    volume, mask = np.moveaxis(values, 0, -1).astype(float), grid.mask.astype(float)
    state = np.random.get_state()  # noqa: NPY002 (it is what fmrisim uses)
    np.random.seed(seed)  # noqa: NPY002
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its ARMA fits warn for each voxel
            _, template = fmrisim.mask_brain(volume, mask_self=True)
            wanted = {"voxel_size": list(grid.voxel_size_mm), "matched": 1}
            found = fmrisim.calc_noise(volume, mask, template, wanted)
            noise = fmrisim.generate_noise(
                dimensions=np.array(grid.shape),
                stimfunction_tr=np.zeros((len(values), 1)),
                tr_duration=t_r,
                template=template,
                mask=mask,
                noise_dict=found,
            )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    simulated: FloatArray = np.moveaxis(noise, -1, 0).astype(np.float32)
    return simulated
