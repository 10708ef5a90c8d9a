"""Small cohorts without files; most of thirty people on a small grid, whose labels alternate."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.data.listing import Labels, Listing
from fmnet.data.scans import Scan, StoredScan
from fmnet.inference.preparation import PreparationSettings
from fmnet.training.scan_set import MapScans

PEOPLE = tuple(f"sub-{number:02}" for number in range(30))


@pytest.fixture
def fold() -> Fold:
    return Fold(0, 0, PEOPLE[:20], PEOPLE[20:], (PEOPLE[:10], PEOPLE[10:20]))


def list_cohort(labels, grid, contrasts=("a",), **columns) -> Cohort:
    """A cohort of one scan per participant with these labels."""
    people = [f"sub-{number:02}" for number in range(len(labels))]
    scans = tuple(
        Scan(person, person, (), "MNI152", ["HC", "FM"][label])
        for person, label in zip(people, labels, strict=True)
    )
    table = pd.DataFrame({"participant_id": people} | columns)
    listing = Listing(scans, contrasts, "z", table, Labels("group", "FM", "HC"))
    stored = (StoredScan(None, (), (), ("grid",) * len(contrasts)),) * len(scans)
    return Cohort(scans, stored, listing, grid)


def cohort_of_rows(rows, families=None) -> Cohort:
    """Rows of (person, site, label), one scan each; families by person."""
    scans = tuple(
        Scan(f"scan-{number}", person, (), "MNI152", label)
        for number, (person, _, label) in enumerate(rows)
    )
    people = pd.DataFrame(
        {"participant_id": [row[0] for row in rows], "site": [row[1] for row in rows]}
    ).drop_duplicates("participant_id")
    if families:
        people["family"] = [families.get(person, "") for person in people["participant_id"]]
    listing = SimpleNamespace(
        participants=people, labels=Labels("group", "FM", "HC"), outcome_columns=(), check=None
    )
    return Cohort(scans, (), listing, None)


def with_labels(scans, labels, **changes):
    """The same scans under other labels, and with other changes."""
    cohort = scans.cohort
    named = tuple(
        replace(scan, label=["HC", "FM"][label])
        for scan, label in zip(cohort.scans, labels, strict=True)
    )
    return replace(scans, cohort=replace(cohort, scans=named), **changes)


def make_cohort(contrasts, file_grids, columns) -> Cohort:
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 1:7, 1:8] = True
    grid = Grid(mask, np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")
    cohort = list_cohort([row % 2 for row in range(len(PEOPLE))], grid, contrasts, **columns)
    stored = tuple(StoredScan(None, (), (), (text,) * len(contrasts)) for text in file_grids)
    return replace(cohort, stored=stored)


def with_default(values):
    if values is None:
        values = np.random.default_rng(0).normal(size=(30, 1, 210))
    return np.asarray(values, dtype=np.float32)


@pytest.fixture
def build_data():
    """Scans of values (30, C, 210) and columns of the participants table; no smoothing."""

    def build(values=None, file_grids=("grid",) * 30, **columns) -> MapScans:
        values = with_default(values)
        cohort = make_cohort(tuple("abc"[: values.shape[1]]), file_grids, columns)
        return MapScans(cohort, values, PreparationSettings(fwhm_mm=0.0))

    return build


@pytest.fixture
def build_study(build_data):
    """The same; another name where the network learns too."""
    return build_data
