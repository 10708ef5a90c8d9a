"""Whether signatures are to be believed: measured part by part, going on where it was stopped."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from benchmarks.power.backgrounds import Backgrounds, draw_backgrounds, read_backgrounds
from benchmarks.power.contender import Contender
from benchmarks.power.describe import code_digest, describe, digest
from benchmarks.power.planted import Planter
from benchmarks.power.power import COHORT_CODE
from benchmarks.power.regimes import AMPLITUDES, RADIUS_MM
from benchmarks.power.templates import name_templates, read_templates
from benchmarks.race import check_only, write_results
from benchmarks.signature.part import Cell, Part, World
from fmnet.baselines.base import Baseline
from fmnet.crossval.workers import map_units
from fmnet.data.files import write_atomically
from fmnet.runs.record import table_text
from fmnet.training.compute import Compute, count_processes
from fmnet.training.trainer import CPU_TRAINER, build_trainer
from fmnet.types import Jobs, NonNegative, Positive, Seed, Several, VoxelSize

ROOT = Path(__file__).resolve().parents[2]
#: Part of every file's name: raise it when the same settings would give other figures.
SIGNATURE_FORMAT = 1


class Unit(NamedTuple):
    """One cell of one part: the unit of work, and of a file."""

    part: str
    cell: Cell


@dataclass(frozen=True)
class SignatureBenchmark:
    """Maps of signatures against a known truth, their checks without one, and what they cost.

    Parameters
    ----------
    contender : Contender
        The network whose signature it is.
    baselines : dict
        Linear models, by name.
    parts : dict
        By name.
    images : Path or None
        Table of real maps without an effect of interest, one per person; None for made-up ones.
    contrast, space
        See `benchmarks.power.backgrounds.read_backgrounds`.
    n_synthetic : int
        How many people are made up if there are no images.
    voxel_size_mm : int
        Of the template grid.
    templates : list of Path
        See `benchmarks.power.power.PowerBenchmark`.
    amplitudes : dict
        By regime, in between-subject SDs of each voxel; the others keep their default.
    radius_mm, jitter_mm : float
        See `benchmarks.power.regimes.Scene`.
    only : list of str or None
        Parts that are measured this time; all of them if None.
    n_jobs : int
        Processes.
    seed : int
        Other seeds, other cohorts.

    Raises
    ------
    ConfigError
        If `only` names something else.
    """

    contender: Contender
    baselines: dict[str, Baseline]
    parts: dict[str, Part]
    images: str | Path | None = None
    contrast: str | None = None
    space: str = "MNI152"
    n_synthetic: Several = 70
    voxel_size_mm: VoxelSize = 4
    templates: Sequence[str | Path] = ()
    amplitudes: dict[str, NonNegative] = field(default_factory=dict)
    radius_mm: Positive = RADIUS_MM
    jitter_mm: NonNegative = 8.0
    only: Sequence[str] | None = None
    n_jobs: Jobs = 1
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_only(self.only, self.parts)

    def run(self, out: Path) -> list[str]:
        """Measure whatever `out` doesn't hold yet of this version of the code; write tables."""
        names = list(self.parts if self.only is None else self.only)
        chosen = {name: self.parts[name] for name in names}
        rows = self._measure(chosen, out / "units")
        lines: list[str] = []
        for name, part in chosen.items():
            tables = part.summarise(rows[name])
            found = write_results(out / name, tables, part.goals(tables), describe(self))
            lines += ["", part.title, *found]
        return lines

    def _measure(self, parts: dict[str, Part], folder: Path) -> dict[str, pd.DataFrame]:
        folder.mkdir(parents=True, exist_ok=True)
        world = World(self._planter(), self.contender, self.baselines)
        units = [Unit(name, cell) for name, part in parts.items() for cell in part.cells()]
        paths = {unit: folder / f"{self._name(world, unit)}.tsv" for unit in units}
        missing = [unit for unit, path in paths.items() if not path.exists()]
        n_jobs = count_processes(Compute(n_jobs=self.n_jobs), build_trainer(CPU_TRAINER))
        with tqdm(total=len(units), initial=len(units) - len(missing), unit="unit") as bar:
            for unit, rows in map_units(measure_unit, (parts, world), missing, n_jobs):
                write_atomically(paths[unit], table_text(rows))
                bar.update()
        return {
            name: pd.concat(
                [read_unit(paths[unit]) for unit in units if unit.part == name], ignore_index=True
            )
            for name in parts
        }

    def _name(self, world: World, unit: Unit) -> str:
        """Name a file after all that its figures depend on, the code among it."""
        part = self.parts[unit.part]
        settings = {k: v for k, v in describe(part).items() if k not in part.counts}
        given = world.planter
        cohorts = [given.backgrounds.digest, given.amplitudes, given.radius_mm, given.jitter_mm]
        fields = b"" if given.templates is None else given.templates.tobytes()
        templates = hashlib.sha256(fields).hexdigest()
        code = code_digest(*(ROOT / one for one in (*COHORT_CODE, *part.code(unit.cell))))
        models = [describe(self.contender), describe(self.baselines)]
        known = [SIGNATURE_FORMAT, settings, list(unit.cell), cohorts, templates, self.seed]
        cell = "-".join(map(str, unit.cell))
        return f"{unit.part}_{cell}_{digest(*known, *models, code)}"

    def _planter(self) -> Planter:
        given = self._backgrounds()
        return Planter(
            given,
            AMPLITUDES | self.amplitudes,
            self.radius_mm,
            self.jitter_mm,
            read_templates(self.templates, given.grid, self.space),
            name_templates(self.templates),
            self.seed,
        )

    def _backgrounds(self) -> Backgrounds:
        if self.images is None:
            return draw_backgrounds(self.n_synthetic, self.voxel_size_mm, self.seed)
        return read_backgrounds(Path(self.images), self.voxel_size_mm, self.contrast, self.space)


def measure_unit(shared: tuple[dict[str, Part], World], unit: Unit) -> pd.DataFrame:
    """Measure one cell; the same whatever was measured before."""
    parts, world = shared
    part = parts[unit.part]
    started = perf_counter()
    rows = part.measure(world, unit.cell)
    named = dict(zip(part.names, unit.cell, strict=True))
    return pd.DataFrame([named | row for row in rows]).assign(seconds=perf_counter() - started)


def read_unit(path: Path) -> pd.DataFrame:
    """Read what one unit left."""
    # a regime is called null, which pandas takes for missing by default
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["n/a", ""])
