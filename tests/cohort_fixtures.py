"""Thirty people on a small grid, whose labels alternate."""

import numpy as np
import pandas as pd
import pytest

from fmnet.baselines.base import BaselineData
from fmnet.crossval.data import build_study_data
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.data.listing import Labels, Listing
from fmnet.data.maps import StoredScan
from fmnet.data.scans import Scan
from fmnet.inference.preparation import PreparationSettings

PEOPLE = tuple(f"sub-{number:02}" for number in range(30))


@pytest.fixture
def fold() -> Fold:
    return Fold(0, 0, PEOPLE[:20], PEOPLE[20:], (PEOPLE[:10], PEOPLE[10:20]))


def make_cohort(contrasts, file_grids, columns) -> Cohort:
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 1:7, 1:8] = True
    grid = Grid(mask, np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")
    scans = tuple(
        Scan(person, person, (), "MNI152", ["HC", "FM"][row % 2])
        for row, person in enumerate(PEOPLE)
    )
    people = pd.DataFrame({"participant_id": PEOPLE} | columns)
    listing = Listing(scans, contrasts, "z", people, Labels("group", "FM", "HC"))
    stored = tuple(StoredScan(None, (), (), (text,) * len(contrasts)) for text in file_grids)
    return Cohort(scans, stored, listing, grid)


def with_default(values):
    if values is None:
        values = np.random.default_rng(0).normal(size=(30, 1, 210))
    return np.asarray(values, dtype=np.float32)


@pytest.fixture
def build_data():
    """Baseline data of values (30, C, 210) and columns of the participants table."""

    def build(values=None, file_grids=("grid",) * 30, **columns) -> BaselineData:
        values = with_default(values)
        return BaselineData(
            make_cohort(tuple("abc"[: values.shape[1]]), file_grids, columns), values
        )

    return build


@pytest.fixture
def build_study():
    """Study data of values (30, C, 210) and columns of the participants table; no smoothing."""

    def build(values=None, **columns):
        values = with_default(values)
        cohort = make_cohort(tuple("abc"[: values.shape[1]]), ("grid",) * 30, columns)
        return build_study_data(cohort, values, PreparationSettings(fwhm_mm=0.0))

    return build
