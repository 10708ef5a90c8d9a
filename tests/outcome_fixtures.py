"""Small cohorts without files whose people have outcomes, and a target of two numbers with gaps."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fmnet.data.cohort import Cohort
from fmnet.data.grid import Grid
from fmnet.data.listing import NO_LABELS, Listing
from fmnet.data.scans import Scan, StoredScan
from fmnet.inference.preparation import PreparationSettings
from fmnet.targets.base import Null, unit_responses
from fmnet.targets.severity import Severity
from fmnet.training.scan_set import MapScans


@dataclass(frozen=True)
class TwoNumbers(Severity):
    """Two numbers, each of which may be missing; its figures are not asked for."""

    column: str = "value"

    @property
    def score_names(self):
        return ("value", "other")

    def fit_null(self, outcomes, train):
        both = np.stack([outcomes["value"], outcomes["other"]], axis=1)
        responses = unit_responses(both, train)
        return Null(responses, responses)

    def statistic(self, scores, outcomes, fold):
        both = zip(scores.T, (outcomes["value"], outcomes["other"]), strict=True)
        known = [(one[~np.isnan(y)], y[~np.isnan(y)]) for one, y in both]
        return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in known]))


def mask_grid() -> Grid:
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 1:7, 1:8] = True  # 210 voxels
    return Grid(mask, np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")


def scans_with(
    outcomes, values=None, people=None, target=None, file_grids=None, **columns
) -> MapScans:
    """Scans of values (N, C, 210), with outcomes by role and columns of the participants table.

    One person each, unless `people` says whose they are; columns have one value per person.
    """
    n = len(next(iter(outcomes.values())))
    people = [f"sub-{k:03}" for k in range(n)] if people is None else list(people)
    if values is None:
        values = np.random.default_rng(0).normal(size=(n, 1, 210))
    target = target or Severity(column="fiqr")
    scans = tuple(
        Scan(f"scan-{k:03}", person, (), "MNI152", outcome=tuple(zip(outcomes, row, strict=True)))
        for k, (person, row) in enumerate(
            zip(people, zip(*outcomes.values(), strict=True), strict=True)
        )
    )
    table = pd.DataFrame({"participant_id": list(dict.fromkeys(people))} | columns)
    channels = tuple("abc"[: values.shape[1]])
    listing = Listing(scans, channels, "z", table, NO_LABELS)
    grids = file_grids or ["grid"] * n
    stored = tuple(StoredScan(None, (), (), (text,) * len(channels)) for text in grids)
    cohort = Cohort(scans, stored, listing, mask_grid())
    settings = PreparationSettings(fwhm_mm=0.0)
    data = MapScans(cohort, np.asarray(values, np.float32), settings, target=target)
    strata = target.strata(data.outcomes)
    named = tuple(replace(one, stratum=own) for one, own in zip(scans, strata, strict=True))
    return replace(data, cohort=replace(cohort, scans=named))


def severity_with_signal(n=30, effect=1.0, seed=0, n_signal=20, **more) -> MapScans:
    """People whose maps show the number in some voxels."""
    rng = np.random.default_rng(seed)
    value, values = rng.normal(50, 10, n), rng.normal(size=(n, 1, 210))
    values[:, 0, :n_signal] += effect * (value[:, None] - 50) / 10
    return scans_with({"value": value}, values, **more)
