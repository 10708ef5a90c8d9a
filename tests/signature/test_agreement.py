"""Agreement of halves, with a model that is no more than a difference of means."""

from dataclasses import dataclass

import numpy as np
from cohort_fixtures import list_cohort

from fmnet.baselines.base import Dummy
from fmnet.data.grid import Grid
from fmnet.inference.preparation import PreparationSettings
from fmnet.training.scan_set import MapScans

GRID = Grid(np.ones((4, 5, 6), dtype=bool), np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")


@dataclass(frozen=True, eq=False)
class MeanDifference(Dummy):
    """Weighs voxels by the difference of group means, of one or the other inner fold's choice."""

    def weights_of_labelings(self, data, fold, labelings):
        train = data.rows(fold.train)
        values, labels = data.values[train], labelings[:, train]
        return np.stack([_difference(values, own) for own in labels])


def _difference(values, labels):
    return values[labels == 1].mean(axis=0) - values[labels == 0].mean(axis=0)


def draw(n, effect, seed=0, n_contrasts=2, **columns):
    """Scans of n people whose maps share a few sources; an effect in the first third."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    sources = rng.normal(size=(n, 6)) @ rng.normal(size=(6, n_contrasts * 120))
    values = (sources + rng.normal(size=sources.shape)).reshape(n, n_contrasts, 120)
    values[labels == 1, :, :40] += effect
    cohort = list_cohort(labels.tolist(), GRID, tuple("abc"[:n_contrasts]), **columns)
    return MapScans(cohort, values.astype(np.float32), PreparationSettings(fwhm_mm=0.0))
