"""Episodes planted into unlabelled maps of one's own people, beside simulated ones.

Nobody has a group here: labels are drawn at random and differences are planted, so that what is
learned of these people is how their maps differ from one another. Hashes of their files go into the
weights' file, and a study that has one of them is refused.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from fmnet.data.cohort import read_unlabelled
from fmnet.data.grid import Grid
from fmnet.data.image_table import find_table_maps
from fmnet.data.listing import group_scans
from fmnet.data.template import build_grid
from fmnet.errors import CohortError, Fault
from fmnet.networks.prior_cnn import pool
from fmnet.training.episodes import EpisodeMaker, Episodes, normal, uniform
from fmnet.types import Fraction

#: Maps are put on voxels of this size and averaged over blocks of them, as a study does.
FINE_MM = 4


@dataclass(frozen=True, eq=False)
class People:
    """Maps of P people in each of C contrasts, without what they have in common.

    Parameters
    ----------
    maps : Tensor, shape (C, P, X, Y, Z)
        Of mean 0 over people at each voxel; 0 where one is missing.
    hashes : tuple of str
        SHA-256 of the content of each of their files.
    """

    maps: torch.Tensor
    hashes: tuple[str, ...]


def coarse_grid(voxel_size_mm: int) -> tuple[Grid, int]:
    """Build the grid that maps are put on, and say over how many voxels they are averaged."""
    factor = voxel_size_mm // FINE_MM if voxel_size_mm % FINE_MM == 0 else 1
    return build_grid(voxel_size_mm // factor), factor


def coarse_mask(voxel_size_mm: int) -> torch.Tensor:
    """Build the mask that episodes are made in: (X, Y, Z)."""
    grid, factor = coarse_grid(voxel_size_mm)
    mask = torch.from_numpy(grid.mask).float()
    return pool(mask[None], mask, factor)[0]


@lru_cache(maxsize=2)
def read_people(images: str, voxel_size_mm: int, space: str = "MNI152") -> People:
    """Read the maps of a table, one of each person and contrast.

    Parameters
    ----------
    images : str
        Table as `fmnet.data.image_table.read_image_table` takes it; it needs no labels.
    voxel_size_mm : int
        Of the grid of the episodes.
    space : str
        Of maps whose row doesn't say it.

    Raises
    ------
    CohortError
        With all faults of table and maps.
    """
    maps = find_table_maps(Path(images), space=space)
    scans, faults = group_scans(maps)
    faults = [*maps.faults, *faults]
    if len({scan.participant_id for scan in scans}) < len(scans):
        action = "list one map per person and contrast"
        accepted = "one map per person"
        faults.append(
            Fault("episodes.backgrounds", "several scans of one person", accepted, action)
        )
    if faults:
        raise CohortError(faults)
    grid, factor = coarse_grid(voxel_size_mm)
    mask = torch.from_numpy(grid.mask).float()
    values, hashes = read_unlabelled(scans, grid)
    known = np.isfinite(values)
    mean = np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1)
    values = np.where(known, values - mean, 0).astype(np.float32)
    placed = torch.from_numpy(np.stack([grid.unmask(one) for one in values]))
    coarse = pool(placed, mask, factor).transpose(0, 1).contiguous()
    return People(coarse, tuple(sorted(set(hashes))))


@dataclass(eq=False)
class OwnMapsEpisodeMaker(EpisodeMaker):
    """Makes episodes whose backgrounds are simulated, or maps of one's own people.

    Parameters
    ----------
    backgrounds : str, optional
        Table of unlabelled maps, see `read_people`; without it all backgrounds are simulated.
    backgrounds_fraction : float
        Of the backgrounds that are people's maps, where there are some.
    space : str
        Of maps whose row of the table doesn't say it.
    """

    backgrounds: str | None = None
    backgrounds_fraction: Fraction = 0.5
    space: str = "MNI152"

    def __post_init__(self) -> None:
        self._own: PeopleEpisodeMaker | None = None
        if self.backgrounds is None:
            return
        people = read_people(self.backgrounds, int(self.voxel_size_mm), self.space)
        n_people = people.maps.shape[1]
        most = n_people - self.n_query
        if most < self.n_support[0]:
            needed = self.n_support[0] + self.n_query
            raise CohortError(
                Fault(
                    "episodes.backgrounds",
                    f"{n_people} people",
                    f"{needed} or more: episodes.n_support[0] + episodes.n_query",
                    "list more people, or lower these",
                )
            )
        given = {name: getattr(self, name) for name in EpisodeMaker.__dataclass_fields__}
        own = PeopleEpisodeMaker(**given, people=people.maps.to(self.mask.device))
        low, high = self.n_support
        self._own = replace(own, n_support=(low, min(high, most)))

    @property
    def hashes(self) -> tuple[str, ...]:
        """Hash the files of the people whose maps are used."""
        if self.backgrounds is None:
            return ()
        return read_people(self.backgrounds, int(self.voxel_size_mm), self.space).hashes

    def draw(self, generator: torch.Generator) -> Episodes:
        """Make one background, and several differences between its participants."""
        own = self._own
        # without people nothing is drawn here, so that simulated episodes stay what they are
        if own is not None and float(uniform(generator, (0, 1))) < self.backgrounds_fraction:
            return own.draw(generator)
        return super().draw(generator)


@dataclass(eq=False, kw_only=True)
class PeopleEpisodeMaker(EpisodeMaker):
    """Draws people, (C, P, X, Y, Z), in one of their contrasts; half the time with signs turned."""

    people: torch.Tensor

    def draw_background(
        self, n: int, mask: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose n people's maps, (n, X, Y, Z), and the voxels' SD, (X, Y, Z)."""
        contrasts, n_people = self.people.shape[:2]
        contrast = int(torch.randint(contrasts, (), generator=generator, device=generator.device))
        chosen = torch.rand(n_people, generator=generator, device=generator.device).argsort()[:n]
        sign = float(normal(generator, 1).sign())
        maps = self.people[contrast, chosen] * mask * sign
        return maps, maps.std(0) * mask
