"""One model on one cohort: the unit of work, and the file that it leaves."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from benchmarks.power.contender import FOLDS, Racer, draw_folds, mean_auc
from benchmarks.power.describe import digest
from benchmarks.power.planted import Planter
from benchmarks.power.regimes import RegimeName
from fmnet.crossval.workers import map_units
from fmnet.data.files import write_atomically
from fmnet.runs.record import describe_device, table_text

#: Part of every file's name: raise it when the same settings would give other figures.
POWER_FORMAT = 1


class Unit(NamedTuple):
    """One model on one cohort: `number` counts the cohorts of a regime and size."""

    regime: RegimeName
    n: int
    number: int
    model: str


@dataclass(frozen=True, eq=False)
class Work:
    """What all units share.

    Parameters
    ----------
    planter : Planter
        Draws the cohorts.
    racers : dict
        Models by name.
    about : dict
        What each of them was built with: with other settings it has other files.
    """

    planter: Planter
    racers: dict[str, Racer]
    about: dict[str, Any]

    def path(self, unit: Unit, folder: Path) -> Path:
        """Name the file of a unit after all that its figures depend on."""
        cohort = [POWER_FORMAT, FOLDS, *self.planter.describe(unit.regime)]
        name = f"{unit.regime}_n-{unit.n}_draw-{unit.number:03d}_{unit.model}"
        return folder / f"{name}-{digest(cohort, self.about[unit.model])}.tsv"


def score_missing(work: Work, units: Iterable[Unit], folder: Path, n_jobs: int) -> pd.DataFrame:
    """Score the units that have no file yet; return all: ``regime, n, draw, model, auc, ...``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {unit: work.path(unit, folder) for unit in units}
    missing = [unit for unit, path in paths.items() if not path.exists()]
    bar = tqdm(total=len(paths), initial=len(paths) - len(missing), unit="model")
    with bar:
        for unit, row in map_units(score_unit, work, missing, n_jobs):
            write_atomically(paths[unit], table_text(pd.DataFrame([row])))
            bar.update()
    # as written, so that the figures don't depend on what was done before
    return pd.concat(map(read_unit, paths.values()), ignore_index=True)


def read_unit(path: Path) -> pd.DataFrame:
    """Read what one unit left: one row."""
    # a regime is called null, which pandas takes for missing by default
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["n/a"])


def score_unit(work: Work, unit: Unit) -> dict[str, Any]:
    """Draw a cohort and let one model work on it."""
    planted = work.planter.draw(unit.regime, unit.n, unit.number)
    folds = draw_folds(planted)
    started = perf_counter()
    predictions = work.racers[unit.model].predict(planted, folds)
    seconds = perf_counter() - started
    return {
        **{"regime": unit.regime, "n": unit.n, "draw": unit.number, "model": unit.model},
        "auc": mean_auc(predictions),
        "seconds": seconds,
        "device": describe_device(),
    }
