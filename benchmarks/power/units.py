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
from benchmarks.power.regimes import Condition
from fmnet.crossval.workers import map_units
from fmnet.data.files import write_atomically
from fmnet.runs.record import describe_device, table_text

#: Part of every file's name: raise it when the same settings would give other figures.
POWER_FORMAT = 2


class Unit(NamedTuple):
    """One model on one cohort: `number` counts the cohorts of a condition and size."""

    condition: Condition
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
        Models by name; one that is another in each regime by ``name:regime``, or by
        ``name:condition``, which goes before.
    about : dict
        What each of them was built with and what it runs: with other settings or other code it has
        other files.
    about_cohorts : str
        The same of the code that draws cohorts.
    """

    planter: Planter
    racers: dict[str, Racer]
    about: dict[str, Any]
    about_cohorts: str = ""

    def find(self, condition: Condition, model: str) -> str:
        """Find the key of a model in a condition; empty if it has none there."""
        keys = [model, f"{model}:{condition.label}", f"{model}:{condition.regime}"]
        return next((key for key in keys if key in self.racers), "")

    def path(self, unit: Unit, folder: Path) -> Path:
        """Name the file of a unit after all that its figures depend on."""
        described = self.planter.under(unit.condition).describe(unit.condition.regime)
        cohort = [POWER_FORMAT, FOLDS, self.about_cohorts, *described]
        about = self.about[self.find(unit.condition, unit.model)]
        name = f"{unit.condition.label}_n-{unit.n}_draw-{unit.number:03d}_{unit.model}"
        return folder / f"{name}-{digest(cohort, about)}.tsv"


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
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values={"auc": ["n/a"]})


def score_unit(work: Work, unit: Unit) -> dict[str, Any]:
    """Draw a cohort and let one model work on it."""
    regime = unit.condition.regime
    planted = work.planter.under(unit.condition).draw(regime, unit.n, unit.number)
    folds = draw_folds(planted)
    racer = work.racers[work.find(unit.condition, unit.model)]
    started = perf_counter()
    predictions = racer.predict(planted, folds)
    seconds = perf_counter() - started
    return {
        "regime": unit.condition.label,
        **{"n": unit.n, "draw": unit.number, "model": unit.model},
        "template": work.planter.template_of(regime, unit.number),
        "auc": mean_auc(predictions),
        "seconds": seconds,
        "device": describe_device(),
    }
