"""How well models find an effect that is known, beside one that knows it."""

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.power.backgrounds import draw_backgrounds, read_backgrounds
from benchmarks.power.checks import (
    baseline_faults,
    ceiling_faults,
    chosen_models,
    linear_names,
    model_name_faults,
    preparation_faults,
    unknown_names,
)
from benchmarks.power.contender import BaselineRacer, Contender, NetworkRacer, Racer
from benchmarks.power.describe import code_digest, describe, source_files
from benchmarks.power.oracle import LEAST_SD, REST, Oracle
from benchmarks.power.planted import Planter
from benchmarks.power.regimes import (
    AMPLITUDES,
    NAMES,
    RADIUS_MM,
    Condition,
    RegimeName,
    list_conditions,
)
from benchmarks.power.summary import CEILING, DEFAULT, LINEAR, ORACLE
from benchmarks.power.tables import write_tables
from benchmarks.power.templates import name_templates, read_templates
from benchmarks.power.units import Unit, Work, score_missing
from fmnet.baselines.base import Baseline
from fmnet.errors import ConfigError
from fmnet.runs.record import describe_device, versions
from fmnet.runs.run_folder import write_json
from fmnet.training.compute import Compute, count_processes
from fmnet.training.trainer import CPU_TRAINER, TrainerBuilder, build_trainer
from fmnet.types import Count, Jobs, NonNegative, Positive, Positives, Seed, Several, VoxelSize

ROOT = Path(__file__).resolve().parents[2]
#: Code that decides what cohorts and folds are.
COHORT_CODE = (
    *("benchmarks/power/backgrounds.py", "benchmarks/power/planted.py"),
    *("benchmarks/power/regimes.py", "benchmarks/power/regions.py", "benchmarks/power/cortex.py"),
    *("fmnet/synthetic/effects.py", "fmnet/data/folds.py", "fmnet/data/resample.py"),
)
#: Code, and weights that come with it, that decide what a network learns.
NETWORK_CODE = ("fmnet/networks", "fmnet/training", "fmnet/inference/preparation.py")


@dataclass(frozen=True)
class PowerBenchmark:
    """Cohorts with a known effect, and how far each model gets on them.

    The linear baseline that a network has to beat is, for each regime and size, the one with the
    largest mean AUC over all draws: chosen after the fact, which favours it.

    Parameters
    ----------
    contenders : dict
        By name, networks; ``default`` is that of a study, ``closed_form`` the one that learns
        nothing beforehand.
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
        Maps that the widespread regimes plant, draw by draw one after another; a random field if
        there are none.
    regimes : list of str
        See `benchmarks.power.regimes`.
    n : list of int
        People in a cohort.
    n_draws : int
        Cohorts of each regime and size.
    amplitudes : dict
        By regime, in between-subject SDs of each voxel; the others keep their default.
    amplitude_scale : float or list of float
        What all amplitudes are multiplied by; of several, one after another.
    radius_mm : float or list of float
        Of regions; of several, one after another. Crossed with `amplitude_scale`.
    jitter_mm : float
        Root mean square length of a shift.
    only : list of str or None
        Contenders and baselines that race this time, ``linear`` for all linear baselines; all of
        them if None.
    ceilings : dict
        By regime, or by condition as tables name it: file of weights for the default network,
        trained on that regime's own prior. There it races as ``ceiling``.
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
    amplitude_scale: Positive | Positives = 1.0
    radius_mm: Positive | Positives = RADIUS_MM
    jitter_mm: NonNegative = 8.0
    only: Sequence[str] | None = None
    ceilings: dict[str, str | Path] = field(default_factory=dict)
    trainer: TrainerBuilder = CPU_TRAINER
    n_jobs: Jobs = 1
    n_stacked: Count | Literal["auto"] = "auto"
    seed: Seed = 0

    def __post_init__(self) -> None:
        models = [*self.contenders, *self.baselines]
        unknown = unknown_names("suite.regimes", self.regimes, NAMES)
        labels = [] if unknown else [one.label for one in self.conditions]
        faults = [
            *unknown,
            *unknown_names("suite.amplitudes", self.amplitudes, NAMES),
            *unknown_names("suite.only", self.only or (), [*models, LINEAR]),
            *model_name_faults([ORACLE, LINEAR, *models]),
            *baseline_faults(self.baselines),
            *preparation_faults(self.contenders, self.voxel_size_mm),
            *ceiling_faults(self.ceilings, list(dict.fromkeys([*NAMES, *labels])), self.contenders),
        ]
        if faults:
            raise ConfigError(faults)

    @property
    def conditions(self) -> list[Condition]:
        """List the regimes with each radius and strength that means something in them."""
        return list_conditions(
            self.regimes, _several(self.radius_mm), _several(self.amplitude_scale)
        )

    def run(self, out: Path) -> list[str]:
        """Score whatever `out` doesn't hold yet; write the tables of what was asked for."""
        work = self._work()
        for n in self.n:
            work.planter.backgrounds.check_enough(n)
        compute, trainer = self._compute(), build_trainer(self.trainer)
        n_jobs = count_processes(compute, trainer)
        units = score_missing(work, self._units(work), out / "units", n_jobs)
        write_json(self._account(), out / "settings.json")
        return write_tables(units, out, linear_names(self.baselines))

    def _units(self, work: Work) -> list[Unit]:
        """List all units, draw by draw, so that a few draws of everything are done first."""
        models = dict.fromkeys(key.partition(":")[0] for key in work.racers)
        return [
            Unit(condition, n, number, model)
            for number in range(self.n_draws)
            for n in self.n
            for condition in self.conditions
            for model in models
            if work.find(condition, model)
        ]

    def _work(self) -> Work:
        compute = self._compute()
        chosen = chosen_models(self.only, self.contenders, self.baselines)
        racers: dict[str, Racer] = {ORACLE: Oracle()}
        about: dict[str, Any] = {ORACLE: [REST, LEAST_SD, code_digest(*source_files(Oracle))]}
        for name in chosen:
            if name in self.baselines:
                baseline = self.baselines[name]
                racers[name] = BaselineRacer(baseline)
                about[name] = [baseline, code_digest(*source_files(type(baseline)))]
        networks = {name: self.contenders[name] for name in chosen if name in self.contenders}
        for name, file in self.ceilings.items():
            default = self.contenders[DEFAULT]
            builder: Any = default.build_network
            # not a partial of Hydra's own kind of partial, whose code would not be found
            given = getattr(builder, "keywords", {}) | {"weights": str(file)}
            weighted = partial(getattr(builder, "func", builder), **given)
            networks[f"{CEILING}:{name}"] = replace(default, build_network=weighted)
        for name, network in networks.items():
            racers[name] = NetworkRacer(network, self.trainer, compute)
            code = [*map(ROOT.joinpath, NETWORK_CODE), *source_files(network.build_network)]
            about[name] = [network, code_digest(*code)]
        described = {name: describe(one) for name, one in about.items()}
        cohorts = code_digest(*map(ROOT.joinpath, COHORT_CODE))
        return Work(self._planter(), racers, described, cohorts)

    def _planter(self) -> Planter:
        if self.images is None:
            given = draw_backgrounds(self.n_synthetic, self.voxel_size_mm, self.seed)
        else:
            images = Path(self.images)
            given = read_backgrounds(images, self.voxel_size_mm, self.contrast, self.space)
        fields = read_templates(self.templates, given.grid, self.space)
        sizes = AMPLITUDES | self.amplitudes
        names = name_templates(self.templates)
        return Planter(
            given,
            sizes,
            jitter_mm=self.jitter_mm,
            templates=fields,
            template_names=names,
            seed=self.seed,
        )

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


def _several(given: float | Sequence[float]) -> Sequence[float]:
    return given if isinstance(given, Sequence) else [given]
