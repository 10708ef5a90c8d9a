"""Thirty people on a small grid, whose labels alternate."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.data.listing import Labels, Scan
from fmnet.study.baselines.base import BaselineData

PEOPLE = tuple(f"sub-{number:02}" for number in range(30))


@pytest.fixture
def fold() -> Fold:
    return Fold(0, 0, PEOPLE[:20], PEOPLE[20:], (PEOPLE[:10], PEOPLE[10:20]))


@pytest.fixture
def build_data():
    """Baseline data of values (30, C, 210) and columns of the participants table."""

    def build(values=None, **columns) -> BaselineData:
        mask = np.zeros((7, 8, 9), dtype=bool)
        mask[1:6, 1:7, 1:8] = True
        grid = Grid(mask, np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")
        if values is None:
            values = np.random.default_rng(0).normal(size=(30, 1, 210))
        values = np.asarray(values, dtype=np.float32)
        scans = tuple(
            Scan(person, person, (), "MNI152", ["HC", "FM"][row % 2])
            for row, person in enumerate(PEOPLE)
        )
        listing = SimpleNamespace(
            contrasts=tuple("abc"[: values.shape[1]]),
            labels=Labels("group", "FM", "HC"),
            participants=pd.DataFrame({"participant_id": PEOPLE} | columns),
        )
        return BaselineData(Cohort(scans, (), listing, grid), values)

    return build
