"""Whether models find a difference in coupling that is known, in synthetic cohorts at rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from benchmarks.power.checks import model_name_faults, unknown_names
from benchmarks.power.contender import FOLDS, mean_auc
from benchmarks.power.describe import describe, digest
from benchmarks.rest_tables import write_tables
from fmnet.baselines.base import Baseline, score_fold
from fmnet.bold.bold_cohort import read_bold
from fmnet.bold.settings import CleaningSettings
from fmnet.crossval.fold_loop import Pipeline, crossvalidate, fold_rows, fold_seed
from fmnet.crossval.workers import map_units
from fmnet.data.cohort import open_cohort
from fmnet.data.files import write_atomically
from fmnet.data.folds import Fold, build_folds
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.errors import ConfigError
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder
from fmnet.runs.record import describe_device, table_text
from fmnet.runs.run_folder import write_json
from fmnet.synthetic.bold import provide_bold_cohort
from fmnet.synthetic.design import BOLD_COHORT_FORMAT, BoldDesign
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.fit import ADAMW, Trainable
from fmnet.training.module import OptimizerBuilder
from fmnet.training.scan_set import ScanSet, read_scans
from fmnet.training.trainer import CPU_TRAINER, TrainerBuilder
from fmnet.types import Count, Jobs, NonNegativeCount, Seed, Several, VoxelSize

#: Part of every file's name: raise it when the same settings would give other figures.
REST_FORMAT = 1


@dataclass(frozen=True)
class Contender:
    """A network that enters the race, and how it is trained.

    Parameters
    ----------
    build_network : callable
        Input shape to a fresh network, of time series or of maps.
    max_epochs : int or None
        See `fmnet.training.fit.Trainable`.
    optimizer : callable
        See `fmnet.training.module.OptimizerBuilder`.
    """

    build_network: NetworkBuilder
    max_epochs: NonNegativeCount | None = None
    optimizer: OptimizerBuilder = ADAMW


class Draw(NamedTuple):
    """One cohort: the difference in coupling and motion, and its number."""

    coupling: float
    motion_effect: float
    number: int


@dataclass(frozen=True)
class RestBenchmark:
    """Cohorts at rest whose groups differ in the coupling of two networks by a known amount.

    Cohorts of one number are the same people with the same noise, whatever the difference.

    Parameters
    ----------
    contenders : dict
        By name, networks.
    baselines : dict
        By name.
    couplings : list of float
        Differences, FM minus HC, of the correlation between default mode and salience.
    motion_effect : float
        How many between-subject SDs more FM moves, in all cohorts.
    n_subjects, n_volumes, voxel_size_mm
        See `fmnet.synthetic.design.BoldDesign`.
    cleaning : CleaningSettings
        How runs are cleaned.
    maps : list of str
        Maps that are computed for networks and linear models of maps.
    n_draws : int
        Cohorts of each difference.
    only : list of str or None
        Models that race this time; all of them if None.
    trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    n_jobs : int
        Processes among which cohorts are shared.
    seed : int
        Of cohorts, folds and trainings.

    Raises
    ------
    ConfigError
        If a name in `only` is unknown, or two models share one.
    """

    contenders: dict[str, Contender]
    baselines: dict[str, Baseline]
    couplings: Sequence[float] = (0.0, 0.15, 0.3, 0.45)
    motion_effect: float = 0.0
    n_subjects: Several = 70
    n_volumes: Count = 150
    voxel_size_mm: VoxelSize = 12
    cleaning: CleaningSettings = field(default_factory=CleaningSettings)
    maps: Sequence[str] = ("alff", "falff")
    n_draws: Count = 10
    only: Sequence[str] | None = None
    trainer: TrainerBuilder = CPU_TRAINER
    n_jobs: Jobs = 1
    seed: Seed = 0

    def __post_init__(self) -> None:
        names = [*self.baselines, *self.contenders]
        faults = unknown_names("suite.only", self.only or (), names)
        if faults := [*faults, *model_name_faults(names)]:
            raise ConfigError(faults)

    def run(self, out: Path) -> list[str]:
        """Score whatever `out` doesn't hold yet; write the tables of what was asked for."""
        folder = out / "units"
        folder.mkdir(parents=True, exist_ok=True)
        paths = {(draw, name): self._path(draw, name, folder) for draw, name in self._units()}
        missing: dict[Draw, list[str]] = {}
        for (draw, name), path in paths.items():
            if not path.exists():
                missing.setdefault(draw, []).append(name)
        n_missing = sum(map(len, missing.values()))
        with tqdm(total=len(paths), initial=len(paths) - n_missing, unit="model") as bar:
            work = partial(_score_draw, paths=paths, bar=bar if self.n_jobs == 1 else None)
            for _, names in map_units(work, self, list(missing.items()), self.n_jobs):
                bar.update(len(names) if self.n_jobs != 1 else 0)
        write_json({"settings": describe(self), "device": describe_device()}, out / "settings.json")
        tables = [pd.read_csv(path, sep="\t", na_values=["n/a"]) for path in paths.values()]
        return write_tables(pd.concat(tables, ignore_index=True), out)

    def _units(self) -> Iterator[tuple[Draw, str]]:
        """List all cohorts and models, so that a few cohorts of every difference are done first."""
        names = [*self.baselines, *self.contenders] if self.only is None else self.only
        for number in range(self.n_draws):
            for coupling in self.couplings:
                for name in names:
                    yield Draw(coupling, self.motion_effect, number), name

    def _path(self, draw: Draw, name: str, folder: Path) -> Path:
        model = self.contenders.get(name) or self.baselines[name]
        versions = [REST_FORMAT, BOLD_COHORT_FORMAT, FOLDS, self.design(draw).parameters]
        code = digest(versions, self.cleaning, list(self.maps), model)
        stem = f"coupling-{draw.coupling:g}_motion-{draw.motion_effect:g}_draw-{draw.number:03d}"
        return folder / f"{stem}_{name}-{code}.tsv"

    def design(self, draw: Draw) -> BoldDesign:
        """Describe the cohort of a draw."""
        return BoldDesign(
            n_subjects=self.n_subjects,
            n_volumes=self.n_volumes,
            voxel_size_mm=self.voxel_size_mm,
            coupling=draw.coupling,
            motion_effect=draw.motion_effect,
            seed=fold_seed(self.seed, draw.number),
        )

    def predict(self, name: str, data: ScanSet, folds: list[Fold], seed: int) -> pd.DataFrame:
        """Cross-validate one model as a study does: ``fold, label, score`` and more."""
        if name in self.baselines:
            model, scans = self.baselines[name], data
            tables = [
                fold_rows(data.cohort, fold, name, score_fold(model, scans, fold)) for fold in folds
            ]
            return pd.concat(tables, ignore_index=True)
        one = self.contenders[name]
        fed = data.for_network(one.build_network)
        trainable = Trainable(one.build_network, self.trainer, one.max_epochs, one.optimizer)
        planned = plan_compute(trainable, Compute(), fed)
        return crossvalidate(Pipeline(planned, {}, build_folds, seed), fed, folds)[0]


def _score_draw(
    suite: RestBenchmark,
    unit: tuple[Draw, list[str]],
    paths: dict[tuple[Draw, str], Path],
    bar: Any,
) -> list[str]:
    """Draw a cohort and let models work on it; the cohort itself is not kept."""
    draw, names = unit
    with TemporaryDirectory(prefix="fmnet-rest-") as place:
        design = suite.design(draw)
        root = provide_bold_cohort(Path(place), design)
        listing = read_bold(root, cleaning=suite.cleaning, maps=suite.maps)
        grid = build_grid(suite.voxel_size_mm)
        cohort = open_cohort(listing, ArrayStore(Path(place) / "store", listing.recipe(grid, 0.5)))
        folds = build_folds(cohort, **FOLDS, seed=design.seed)
        settings = PreparationSettings(suite.voxel_size_mm, fwhm_mm=0.0)
        for name in names:
            data = read_scans(cohort, settings)  # anew: a model's time is all its own
            started = perf_counter()
            predictions = suite.predict(name, data, folds, design.seed)
            row = {
                **draw._asdict(),
                "model": name,
                "auc": mean_auc(predictions),
                "seconds": perf_counter() - started,
                "device": describe_device(),
            }
            write_atomically(paths[draw, name], table_text(pd.DataFrame([row])))
            if bar is not None:
                bar.update()
    return names
