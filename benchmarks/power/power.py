"""How well models find an effect that is known, beside one that knows it."""

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from benchmarks.power.backgrounds import draw_backgrounds, read_backgrounds
from benchmarks.power.checks import (
    baseline_faults,
    model_name_faults,
    preparation_faults,
    unknown_names,
)
from benchmarks.power.contender import BaselineRacer, Contender, NetworkRacer, Racer
from benchmarks.power.describe import describe
from benchmarks.power.oracle import LEAST_SD, REST, Oracle
from benchmarks.power.planted import Planter
from benchmarks.power.regimes import AMPLITUDES, NAMES, RegimeName
from benchmarks.power.summary import ORACLE
from benchmarks.power.tables import write_tables
from benchmarks.power.templates import read_templates
from benchmarks.power.units import Unit, Work, score_missing
from fmnet.baselines.base import Baseline
from fmnet.errors import ConfigError
from fmnet.runs.record import describe_device, versions
from fmnet.runs.run_folder import write_json
from fmnet.training.compute import Compute, count_processes
from fmnet.training.trainer import CPU_TRAINER, TrainerBuilder, build_trainer
from fmnet.types import Count, Jobs, NonNegative, Positive, Seed, Several, VoxelSize


@dataclass(frozen=True)
class PowerBenchmark:
    """Cohorts with a known effect, and how far each model gets on them.

    The linear baseline that a network has to beat is, for each regime and size, the one with the
    largest mean AUC over all draws: chosen after the fact, which favours it.

    Parameters
    ----------
    contenders : dict
        By name, networks.
    baselines : dict
        By name; a linear one among them.
    images : Path or None
        Table of real maps without an effect of interest, one per person; None for made-up ones.
    contrast, space
        See `benchmarks.power.backgrounds.read_backgrounds`.
    n_synthetic : int
        How many people are made up if there are no images.
    voxel_size_mm : int
        Of the template grid.
    templates : list of Path
        Maps that regime ``widespread`` plants, one after another; a random field if there are none.
    regimes : list of str
        See `benchmarks.power.regimes`.
    n : list of int
        People in a cohort.
    n_draws : int
        Cohorts of each regime and size.
    amplitudes : dict
        By regime, in between-subject SDs of each voxel; the others keep their default.
    radius_mm, jitter_mm : float
        Of regions, and root mean square length of their shift.
    only : list of str or None
        Contenders that race this time; all of them if None.
    trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    n_jobs, n_stacked
        See `fmnet.training.compute.Compute`.
    seed : int
        Of cohorts, folds and trainings.

    Raises
    ------
    ConfigError
        With all that is wrong with names, amplitudes and preparations.
    """

    contenders: dict[str, Contender]
    baselines: dict[str, Baseline]
    images: str | Path | None = None
    contrast: str | None = None
    space: str = "MNI152"
    n_synthetic: Several = 70
    voxel_size_mm: VoxelSize = 4
    templates: Sequence[str | Path] = ()
    regimes: Sequence[RegimeName] = NAMES
    n: Sequence[Several] = (40, 70, 140)
    n_draws: Count = 10
    amplitudes: dict[str, NonNegative] = field(default_factory=dict)
    radius_mm: Positive = 9.0
    jitter_mm: NonNegative = 8.0
    only: Sequence[str] | None = None
    trainer: TrainerBuilder = CPU_TRAINER
    n_jobs: Jobs = 1
    n_stacked: Count | Literal["auto"] = "auto"
    seed: Seed = 0

    def __post_init__(self) -> None:
        faults = [
            *unknown_names("suite.regimes", self.regimes, NAMES),
            *unknown_names("suite.amplitudes", self.amplitudes, NAMES),
            *unknown_names("suite.only", self.only or (), self.contenders),
            *model_name_faults([ORACLE, *self.baselines, *self.contenders]),
            *baseline_faults(self.baselines),
            *preparation_faults(self.contenders, self.voxel_size_mm),
        ]
        if faults:
            raise ConfigError(faults)

    def run(self, out: Path) -> list[str]:
        """Score whatever `out` doesn't hold yet; write the tables of what was asked for."""
        work = self._work()
        for n in self.n:
            work.planter.backgrounds.check_enough(n)
        compute, trainer = self._compute(), build_trainer(self.trainer)
        n_jobs = count_processes(compute, trainer)
        units = score_missing(work, self._units(list(work.racers)), out / "units", n_jobs)
        write_json(self._account(), out / "settings.json")
        return write_tables(units, out)

    def _units(self, models: list[str]) -> list[Unit]:
        """List all units, draw by draw, so that a few draws of everything are done first."""
        return [
            Unit(regime, n, number, model)
            for number in range(self.n_draws)
            for n in self.n
            for regime in self.regimes
            for model in models
        ]

    def _work(self) -> Work:
        names = self.contenders if self.only is None else self.only
        chosen = {name: self.contenders[name] for name in names}
        compute = self._compute()
        racers: dict[str, Racer] = {ORACLE: Oracle()}
        racers |= {name: BaselineRacer(one) for name, one in self.baselines.items()}
        racers |= {name: NetworkRacer(one, self.trainer, compute) for name, one in chosen.items()}
        about = {ORACLE: [REST, LEAST_SD], **self.baselines, **chosen}
        return Work(self._planter(), racers, {name: describe(one) for name, one in about.items()})

    def _planter(self) -> Planter:
        if self.images is None:
            given = draw_backgrounds(self.n_synthetic, self.voxel_size_mm, self.seed)
        else:
            images = Path(self.images)
            given = read_backgrounds(images, self.voxel_size_mm, self.contrast, self.space)
        fields = read_templates(self.templates, given.grid, self.space)
        sizes = AMPLITUDES | self.amplitudes
        return Planter(given, sizes, self.radius_mm, self.jitter_mm, fields, self.seed)

    def _compute(self) -> Compute:
        return Compute(n_jobs=self.n_jobs, n_stacked=self.n_stacked)

    def _account(self) -> dict[str, Any]:
        return {
            "command": sys.argv,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": describe_device(),
            "versions": versions() | {"python": platform.python_version()},
            "amplitudes": AMPLITUDES | self.amplitudes,
            "settings": describe(self),
        }
