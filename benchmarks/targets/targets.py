"""Whether targets find what was planted: measured part by part, going on where it was stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import pandas as pd
from tqdm import tqdm

from benchmarks.power.describe import code_digest, describe, digest
from benchmarks.race import check_only, write_results
from benchmarks.targets.part import Part, Unit, World
from fmnet.baselines.base import Model
from fmnet.crossval.workers import map_units
from fmnet.data.files import write_atomically
from fmnet.networks.backbones import NetworkBuilder
from fmnet.runs.record import table_text
from fmnet.targets.base import Target
from fmnet.training.compute import Compute, count_processes
from fmnet.training.trainer import CPU_TRAINER, build_trainer
from fmnet.types import Jobs, Seed, VoxelSize

ROOT = Path(__file__).resolve().parents[2]
#: Settings of parts that no figure of a draw depends on.
COUNTS = ("n_trials", "wanted")
#: Code that decides figures.
CODE = (
    *("benchmarks/targets", "fmnet/targets", "fmnet/networks", "fmnet/training", "fmnet/baselines"),
    *("fmnet/crossval", "fmnet/synthetic", "fmnet/evaluation", "fmnet/inference/links.py"),
)


@dataclass(frozen=True)
class TargetsBenchmark:
    """Studies of targets in memory, against what was planted.

    Parameters
    ----------
    build_network : callable
        Input shape to a fresh network.
    baselines : dict
        By name.
    targets : dict
        What is predicted of each kind of synthetic cohort.
    parts : dict
        By name.
    voxel_size_mm : int
        Of the grid.
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

    build_network: NetworkBuilder
    baselines: dict[str, Model]
    targets: dict[str, Target]
    parts: dict[str, Part]
    voxel_size_mm: VoxelSize = 12
    only: Sequence[str] | None = None
    n_jobs: Jobs = 1
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_only(self.only, self.parts)

    def run(self, out: Path) -> list[str]:
        """Measure whatever `out` doesn't hold yet of this version of the code; write tables."""
        names = list(self.parts if self.only is None else self.only)
        lines: list[str] = []
        for name in names:
            part = self.parts[name]
            tables = part.summarise(self._measure(name, part, out / "units"))
            found = write_results(out / name, tables, part.goals(tables), describe(self))
            lines += ["", part.title, *found]
        return lines

    def _measure(self, name: str, part: Part, folder: Path) -> pd.DataFrame:
        folder.mkdir(parents=True, exist_ok=True)
        world = World(
            self.build_network, self.baselines, self.targets, self.voxel_size_mm, self.seed
        )
        settings = {key: own for key, own in describe(part).items() if key not in COUNTS}
        fixed = [settings, describe(self.build_network), describe(self.targets)]
        fixed += [describe(self.baselines), self.voxel_size_mm, self.seed]
        key = digest(*fixed, code_digest(*(ROOT / one for one in CODE)))
        paths = {unit: folder / f"{name}_{unit[0]}_{unit[1]}_{key}.tsv" for unit in part.units()}
        missing = [unit for unit, path in paths.items() if not path.exists()]
        n_jobs = count_processes(Compute(n_jobs=self.n_jobs), build_trainer(CPU_TRAINER))
        done = len(paths) - len(missing)
        with tqdm(total=len(paths), initial=done, unit="draw", desc=name) as bar:
            for unit, rows in map_units(measure_unit, (part, world), missing, n_jobs):
                write_atomically(paths[unit], table_text(rows))
                bar.update()
        return pd.concat([pd.read_csv(path, sep="\t") for path in paths.values()])


def measure_unit(shared: tuple[Part, World], unit: Unit) -> pd.DataFrame:
    """Measure one draw; the same whatever was measured before."""
    part, world = shared
    started, (name, number) = perf_counter(), unit
    rows: list[Mapping[str, object]] = [*part.measure(world, unit)]
    table = pd.DataFrame([{"name": name, "number": number, **row} for row in rows])
    return table.assign(seconds=perf_counter() - started)
