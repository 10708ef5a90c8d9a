"""Twelve small scans whose classes differ in one corner, and trainings on them."""

import numpy as np
from cohort_fixtures import list_cohort

from fmnet.data.grid import Grid
from fmnet.inference.preparation import MapPreparation, PreparationSettings
from fmnet.training.data import Training
from fmnet.training.scan_set import MapScans

SHAPE = (7, 8, 9)


def make_cohort(n=12, seed=0, effect=4.0, labels=None, shape=SHAPE) -> MapScans:
    """Scans that are prepared already: mean 0 and weight 1 leave them as they are."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2 if labels is None else labels
    images = rng.normal(size=(n, 1, *shape)).astype(np.float32)
    images[labels == 1, :, 4:, 2:5, 2:5] += effect
    mask = np.ones(shape, dtype=bool)
    mask[0, 0, 0] = False
    grid = Grid(mask, np.diag([4.0, 5.0, 6.0, 1.0]), "MNI152")
    zeros = np.zeros((1, grid.n_voxels), dtype=np.float32)
    preparation = MapPreparation(grid, ("a",), 0.5, 0.0, zeros, zeros + 1)
    settings = PreparationSettings(fwhm_mm=0.0)
    cohort = list_cohort(labels, grid)
    return MapScans(cohort, images[:, :, mask], settings, preparation=preparation)


def make_training(cohort, validation=None, n_epochs=3, seed=0, name="a", train=None) -> Training:
    train = np.arange(len(cohort.labels)) if train is None else train
    return Training(cohort, train, validation, n_epochs, seed, name)
