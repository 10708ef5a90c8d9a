"""All promises of a study measured in one call, which goes on where another was stopped."""

import platform
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from benchmarks.power.describe import describe, digest
from benchmarks.race import check_only
from benchmarks.validity.measures import Cell, Measure, plain
from benchmarks.validity.null_studies import NullNetwork
from benchmarks.validity.sentences import code_digest
from fmnet.crossval.workers import map_units
from fmnet.data.files import write_atomically
from fmnet.data.tables import write_table
from fmnet.runs.record import describe_device, table_text, versions
from fmnet.runs.run_folder import write_json
from fmnet.training.compute import Compute, count_processes
from fmnet.training.trainer import CPU_TRAINER, build_trainer
from fmnet.types import Jobs, Seed

#: Cohorts whose rows lie in one file.
N_TOGETHER = 20
#: What is trained, and takes hours.
NULL_NETWORK = "null_network"


class Unit(NamedTuple):
    """Some cohorts of one cell: the unit of work, and of a file."""

    measure: str
    cell: Cell
    first: int


@dataclass(frozen=True)
class Validity:
    """Measure what a study's figures and sentences promise.

    Parameters
    ----------
    measures : dict
        By name; each of them takes minutes.
    null_network : NullNetwork
        The default network on cohorts without an effect, which takes hours.
    only : list of str or None
        Which are measured this time; all of `measures` if None.
    n_jobs : int
        Processes.
    seed : int
        Other seeds, other cohorts.

    Raises
    ------
    ConfigError
        If `only` names something else.
    """

    measures: dict[str, Measure]
    null_network: NullNetwork
    only: Sequence[str] | None = None
    n_jobs: Jobs = 1
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_only(self.only, [*self.measures, NULL_NETWORK])

    def run(self, out: Path) -> list[str]:
        """Measure whatever `out` doesn't hold yet of this version of the code; write tables."""
        names = list(self.measures if self.only is None else self.only)
        n_jobs = count_processes(Compute(n_jobs=self.n_jobs), build_trainer(CPU_TRAINER))
        cheap = {name: self.measures[name] for name in names if name in self.measures}
        lines: list[str] = []
        if cheap:
            found = self._measure(cheap, out / "units", n_jobs)
            for name, measure in cheap.items():
                summary = measure.summarise(found[name])
                write_table(summary, out / f"{name}.tsv")
                write_atomically(out / f"{name}.md", _markdown(measure, summary, self.command))
                lines += measure.lines(summary)
            write_json(self._account(cheap), out / "settings.json")
        if NULL_NETWORK in names:
            lines += replace(self.null_network, n_jobs=self.n_jobs).run(out / NULL_NETWORK)
        return lines

    @property
    def command(self) -> str:
        """What was typed, for the tables."""
        return " ".join(["python", *sys.argv])

    def _measure(
        self, measures: dict[str, Measure], folder: Path, n_jobs: int
    ) -> dict[str, pd.DataFrame]:
        folder.mkdir(parents=True, exist_ok=True)
        most = max(measure.n_cohorts for measure in measures.values())
        # so that some cohorts of everything are done first
        units = [
            Unit(name, cell, first)
            for first in range(0, most, N_TOGETHER)
            for name, measure in measures.items()
            if first < measure.n_cohorts
            for cell in measure.cells()
        ]
        paths = {unit: folder / f"{self._name(measures[unit.measure], unit)}.tsv" for unit in units}
        missing = [unit for unit, path in paths.items() if not path.exists()]
        with tqdm(total=len(units), initial=len(units) - len(missing), unit="file") as bar:
            for unit, rows in map_units(measure_unit, (measures, self.seed), missing, n_jobs):
                write_atomically(paths[unit], table_text(rows))
                bar.update()
        return {
            name: pd.concat(
                [pd.read_csv(paths[unit], sep="\t") for unit in units if unit.measure == name],
                ignore_index=True,
            )
            for name in measures
        }

    def _name(self, measure: Measure, unit: Unit) -> str:
        """Name a file after all that its figures depend on, the code among it."""
        last = min(unit.first + N_TOGETHER, measure.n_cohorts)
        settings = {k: v for k, v in describe(measure).items() if k != "n_cohorts"}
        cell = "-".join(map(str, unit.cell))
        known = digest(settings, list(unit.cell), self.seed, code_digest())
        return f"{unit.measure}_{cell}_cohorts-{unit.first:05d}-{last:05d}_{known}"

    def _account(self, measures: dict[str, Measure]) -> dict[str, Any]:
        return {
            "command": sys.argv,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": describe_device(),
            "versions": versions() | {"python": platform.python_version()},
            "code": code_digest(),
            "seed": self.seed,
            "settings": describe(measures),
        }


def measure_unit(shared: tuple[dict[str, Measure], int], unit: Unit) -> pd.DataFrame:
    """Measure the cohorts of one unit; the same whatever was measured before."""
    measures, seed = shared
    measure = measures[unit.measure]
    # of its own for each measure and cell, whatever else is measured
    cell = zlib.crc32(repr((unit.measure, unit.cell)).encode())
    rows = [
        dict(zip(measure.names, unit.cell, strict=True)) | {"cohort": number} | row
        for number in range(unit.first, min(unit.first + N_TOGETHER, measure.n_cohorts))
        for row in measure.measure(unit.cell, (seed, cell, number))
    ]
    return pd.DataFrame(rows)


def _markdown(measure: Measure, summary: pd.DataFrame, command: str) -> str:
    table = plain(summary)
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [list(row) for row in table.itertuples(index=False)]
    body = "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines)
    return f"# {measure.title}\n\n`{command}`\n\n{body}"
