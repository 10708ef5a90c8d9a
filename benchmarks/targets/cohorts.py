"""Cohorts in memory whose outcomes depend on what was planted in their maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fmnet.baselines.base import Model
from fmnet.crossval.fold_loop import Pipeline
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, build_folds
from fmnet.data.template import build_grid
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder, with_head
from fmnet.synthetic.outcomes import DrawnPeople, draw_people
from fmnet.synthetic.target_design import TargetDesign
from fmnet.synthetic.targets import draw_scan_maps, list_drawn
from fmnet.targets.base import Target
from fmnet.targets.reading import read_target
from fmnet.training.fit import Trainable
from fmnet.training.scan_set import MapScans, Rows


@dataclass(frozen=True, eq=False)
class DrawnStudy:
    """A study in memory, of which it is known what it ought to find.

    Parameters
    ----------
    target : Target
        With nothing left open.
    scans : MapScans
        Of the people whose outcome is known.
    folds : list of Fold
        Of one repeat.
    drawn : DrawnPeople
        What was planted.
    rows : ndarray of int
        Which of the drawn scans are studied, in their order.
    pipeline : Pipeline
        The network and the baselines.
    """

    target: Target
    scans: MapScans
    folds: list[Fold]
    drawn: DrawnPeople
    rows: Rows
    pipeline: Pipeline


def draw_study(
    design: TargetDesign,
    target: Target,
    build_network: NetworkBuilder,
    baselines: Mapping[str, Model],
    seed: Sequence[int],
    n_splits: int = 5,
    inner_splits: int = 3,
) -> DrawnStudy:
    """Draw people and maps, and read what the target predicts of them, as a study would."""
    grid, sequence = build_grid(design.voxel_size_mm), np.random.SeedSequence(list(seed))
    people_seed, maps_seed = sequence.spawn(2)
    drawn = draw_people(design.plan, np.random.default_rng(people_seed))
    maps = np.stack([one[grid.mask] for one in draw_scan_maps(design, grid, drawn, maps_seed)])
    whole, listing = read_target(target, list_drawn(drawn))
    studied = {scan.scan_id for scan in listing.studied}
    rows = np.array([row for row, scan in enumerate(listing.scans) if scan.scan_id in studied])
    own = tuple(listing.scans[row] for row in rows)
    cohort = Cohort(own, (), listing, grid)
    number = int(sequence.generate_state(1)[0] % 2**31)
    folds = build_folds(cohort, n_splits, 1, inner_splits, number)
    settings = PreparationSettings(voxel_size_mm=design.voxel_size_mm)
    data = MapScans(cohort, maps[rows][:, None].astype(np.float32), settings, target=whole)
    trainable = Trainable(with_head(build_network, whole.head()), max_epochs=0)
    pipeline = Pipeline(trainable, baselines, partial(_same, folds), number)
    return DrawnStudy(whole, data, folds, drawn, rows, pipeline)


def _same(folds: list[Fold], _: Cohort) -> list[Fold]:
    return folds
