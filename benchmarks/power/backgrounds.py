"""Maps without an effect, into which effects are planted."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from fmnet.data.cohort import read_unlabelled
from fmnet.data.grid import Grid
from fmnet.data.image_table import find_table_maps
from fmnet.data.listing import group_scans
from fmnet.data.resample import place_on_grid
from fmnet.data.scans import Scan
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray, Volume
from fmnet.errors import CohortError, ConfigError, Fault
from fmnet.synthetic.design import Design, draw_participants
from fmnet.synthetic.maps import draw_maps


@dataclass(frozen=True, eq=False)
class Backgrounds:
    """One map of each of P people, none of whom has a group.

    Where a cohort asks for more people than there are, left-right mirror images of the maps stand
    for further people. They serve as background and as nothing else, and whoever splits a cohort
    keeps a map and its mirror image together.

    Parameters
    ----------
    values : ndarray of float32, shape (P, V)
        In the unit of the maps; nothing is missing.
    grid : Grid
        Where the values lie.
    digest : str
        Hash of what the maps come from.
    """

    values: FloatArray
    grid: Grid
    digest: str

    @cached_property
    def mirrored(self) -> FloatArray:
        """Swap left and right of every map: (P, V)."""
        return mirror(self.values, self.grid)

    @cached_property
    def spread(self) -> FloatArray:
        """Standard deviation between people at each voxel, of maps and of mirrored: (2, V)."""
        return np.stack([self.values.std(axis=0), self.mirrored.std(axis=0)])

    def choose(self, n: int, rng: Generator) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Choose `n` people: whose map each has, and whether it is mirrored, both (n,).

        Raises
        ------
        ConfigError
            If even with mirror images there are too few.
        """
        known = len(self.values)
        self.check_enough(n)
        rows = [rng.permutation(known)[:n], rng.permutation(known)[: max(n - known, 0)]]
        return np.concatenate(rows), np.repeat([False, True], [len(part) for part in rows])

    def check_enough(self, n: int) -> None:
        """Raise `ConfigError` unless there are maps and mirror images for `n` people."""
        known = len(self.values)
        if n > 2 * known:
            found = f"{n} people, with maps of {known}"
            accepted = f"at most {2 * known}: each map and its mirror image"
            action = "ask for fewer people, or give more maps (suite.images, suite.n_synthetic)"
            raise ConfigError(Fault("suite.n", found, accepted, action))


def mirror(values: FloatArray, grid: Grid) -> FloatArray:
    """Swap left and right of maps, (P, V), about x = 0 mm; what is missing then is filled."""
    affine = grid.affine.copy()
    affine[0, 3] = -(affine[0, 3] + affine[0, 0] * (grid.shape[0] - 1))
    flipped = np.ascontiguousarray(grid.unmask(values)[:, ::-1])
    return fill(place_on_grid(Volume(flipped, affine, grid.space, "mirror image"), grid))


def fill(values: FloatArray) -> FloatArray:
    """Give missing voxels of maps, (P, V), the mean of those who have them; 0 if nobody has."""
    known = np.isfinite(values)
    mean = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, values, mean).astype(np.float32)


def draw_backgrounds(n_people: int, voxel_size_mm: int, seed: int) -> Backgrounds:
    """Make up the maps of people, as synthetic cohorts have them, with no effect."""
    design = Design(n_people, 0.0, voxel_size_mm=voxel_size_mm, seed=seed)
    grid = build_grid(voxel_size_mm)
    table_seed, maps_seed = SeedSequence(seed).spawn(2)
    maps = draw_maps(design, grid, draw_participants(design, table_seed), maps_seed)
    values = np.stack([one[0, grid.mask] for one in maps])
    return Backgrounds(values, grid, design.digest)


def read_backgrounds(
    images: Path, voxel_size_mm: int, contrast: str | None = None, space: str = "MNI152"
) -> Backgrounds:
    """Read one map of each person in a table of paths.

    Parameters
    ----------
    images : Path
        Table as `fmnet.data.image_table.read_image_table` takes it; it needs no labels.
    voxel_size_mm : int
        Of the grid that the maps are put on.
    contrast : str, optional
        Which contrast of the table; may be left out where there is only one.
    space : str
        Of the maps.

    Raises
    ------
    CohortError
        With all faults of table and maps.
    """
    maps = find_table_maps(images, [contrast] if contrast else None, space=space)
    scans, faults = group_scans(maps)
    if faults := [*maps.faults, *faults, *_table_faults(scans, maps.contrasts)]:
        raise CohortError(faults)
    grid = build_grid(voxel_size_mm)
    values, hashes = read_unlabelled(scans, grid)
    digest = hashlib.sha256("\n".join([grid.digest, *hashes]).encode()).hexdigest()
    return Backgrounds(fill(values[:, 0]), grid, digest)


def _table_faults(scans: list[Scan], contrasts: tuple[str, ...]) -> list[Fault]:
    faults = []
    if len(contrasts) > 1:
        action = "choose one: suite.contrast=NAME"
        faults.append(Fault("contrasts", ", ".join(contrasts), "one contrast", action))
    if len({scan.participant_id for scan in scans}) < len(scans):
        action = "list one map per person"
        faults.append(Fault("images", "several scans of one person", "one map per person", action))
    return faults
