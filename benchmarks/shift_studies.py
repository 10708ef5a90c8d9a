"""Where signatures come from whose answers to changed maps are looked at, and the new people."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.changed_maps import (
    ANSWERLESS,
    CHANGES,
    SYNTHETIC_CHANGES,
    UNCHANGED,
    Change,
    unchanged,
)
from fmnet.data.image_table import find_table_maps
from fmnet.data.nifti import read_volume
from fmnet.data.tables import read_table_file, write_table
from fmnet.data.template import build_grid
from fmnet.data.volume import Volume
from fmnet.synthetic.cohort_folder import SPACE
from fmnet.synthetic.design import Design, draw_participants
from fmnet.synthetic.injected import read_injected
from fmnet.synthetic.maps import draw_maps
from fmnet.types import Count, NonNegative, Several, VoxelSize


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody new: a map, (1, X, Y, Z), NaN where there are no data, and whose group it is.

    ``group`` is empty where no group is the right answer.
    """

    name: str
    group: str
    volume: Volume


@dataclass(frozen=True, eq=False)
class Trial:
    """A study to train on, and who is asked for afterwards.

    Parameters
    ----------
    overrides : tuple of str
        Of the study's cohort, as `scripts/train.py` takes them.
    ending : str
        Of new files' names, by which they say what they are as the training files do.
    people : sequence of Person
        As the training people are.
    changes : mapping
        By name, what is done to their maps; see `UNCHANGED`.
    n_changed : int
        How many of them are changed; all are asked for as they are.
    strangers : mapping
        By name, people of other studies, asked for as they are.
    """

    overrides: tuple[str, ...]
    ending: str
    people: Sequence[Person]
    changes: Mapping[str, Change]
    n_changed: int
    strangers: Mapping[str, Sequence[Person]] = field(default_factory=dict)

    def cases(self) -> Iterator[tuple[str, Person, Change]]:
        """List who is asked for after which change."""
        for name, change in self.changes.items():
            people = self.people if name == UNCHANGED else self.people[: self.n_changed]
            for person in people:
                yield name, replace(person, group="") if name in ANSWERLESS else person, change
        for name, people in self.strangers.items():
            for person in people:
                yield name, replace(person, group=""), unchanged


class Studies(ABC):
    """Several studies of one kind."""

    @property
    @abstractmethod
    def n_studies(self) -> int:
        """How many there are."""

    @abstractmethod
    def prepare(self, number: int, seed: int, folder: Path) -> Trial:
        """Prepare one of them; files go to the folder."""


@dataclass(frozen=True)
class SyntheticStudies(Studies):
    """Synthetic cohorts, and new people drawn in the same way.

    Parameters
    ----------
    n_cohorts, n_subjects : int
        Studies, and people of each, half of them FM.
    effect_size : float
        Of the planted effect, see `fmnet.synthetic.design.Design`.
    n_new, n_changed : int
        New people of each study, and how many of them have their maps changed.
    """

    n_cohorts: Count = 4
    n_subjects: Several = 70
    effect_size: NonNegative = 2.5
    n_new: Several = 60
    n_changed: Count = 30

    @property
    def n_studies(self) -> int:
        """One for each cohort."""
        return self.n_cohorts

    def prepare(self, number: int, seed: int, folder: Path) -> Trial:
        """Draw the new people; the cohort itself is drawn by the study."""
        own, new = (int(one) for one in np.random.SeedSequence([seed, number]).generate_state(2))
        design = Design(n_subjects=self.n_new, effect_size=self.effect_size, seed=new)
        table_seed, map_seed = np.random.SeedSequence(design.seed).spawn(2)
        table, grid = draw_participants(design, table_seed), build_grid(design.voxel_size_mm)
        maps = draw_maps(design, grid, table, map_seed)
        people = [
            Person(f"new-{row:03d}", str(group), Volume(_blank(drawn), grid.affine, SPACE))
            for row, (group, drawn) in enumerate(zip(table["group"], maps, strict=True))
        ]
        overrides = (
            f"cohort.n_subjects={self.n_subjects}",
            f"cohort.effect_size={self.effect_size}",
            f"cohort.seed={own % 2**31}",
            f"cohort.root={folder / 'cohort'}",
        )
        ending = f"_space-{SPACE}_contrast-{design.contrasts[0]}_stat-z_statmap.nii"
        return Trial(overrides, ending, people, SYNTHETIC_CHANGES, self.n_changed)


def _blank(maps: np.ndarray) -> np.ndarray:
    """Mark where there are no data."""
    return np.where(maps == 0, np.float32(np.nan), maps)


@dataclass(frozen=True)
class RealStudies(Studies):
    """Real maps with an effect planted into half of them, of which some people are left out.

    Parameters
    ----------
    images, template : str
        See `fmnet.synthetic.injected.read_injected`.
    amplitude : float
        Of the effect.
    n_parts : int
        Studies; each leaves out other people, who are its new ones.
    strangers : dict of str
        By name, tables of maps of other studies.
    n_strangers : int
        How many of each are asked for.
    voxel_size_mm : int
        Of the maps that are written.
    """

    images: str
    template: str
    amplitude: NonNegative = 0.3
    n_parts: Several = 4
    strangers: Mapping[str, str] = field(default_factory=dict)
    n_strangers: Count = 16
    voxel_size_mm: VoxelSize = 4

    @property
    def n_studies(self) -> int:
        """One for each part that is left out."""
        return self.n_parts

    def prepare(self, number: int, seed: int, folder: Path) -> Trial:
        """Plant the effect, and take the people of one part out of the study."""
        listing = read_injected(
            self.images,
            self.template,
            self.amplitude,
            voxel_size_mm=self.voxel_size_mm,
            root=folder / "planted",
            seed=seed,
        )
        (planted,) = (folder / "planted").iterdir()
        order = np.random.default_rng([seed, 1]).permutation(len(listing.scans))
        is_new = np.isin(np.arange(len(order)), order[number :: self.n_parts])
        people = [
            Person(scan.scan_id, str(scan.label), read_volume(scan.files[0], scan.space))
            for scan, new in zip(listing.scans, is_new, strict=True)
            if new
        ]
        table = read_table_file(planted / "images.tsv", ("participant_id", "path"))
        left = [person.name for person in people]
        group = {scan.participant_id: scan.label for scan in listing.scans}
        table["group"] = table["participant_id"].map(group)
        write_table(table[~table["participant_id"].isin(left)], planted / "training.tsv")
        overrides = (
            "cohort=table",
            f"cohort.images={planted / 'training.tsv'}",
            "cohort.positive=planted",
        )
        strangers = {name: self._strangers(Path(one)) for name, one in self.strangers.items()}
        return Trial(overrides, ".nii", people, CHANGES, len(people), strangers)

    def _strangers(self, images: Path) -> list[Person]:
        rows = find_table_maps(images, None).rows
        n = min(self.n_strangers, len(rows))
        spread = np.linspace(0, len(rows) - 1, n).round().astype(int)
        files = [Path(str(path)) for path in rows["path"].iloc[spread]]
        return [Person(one.name.partition(".")[0], "", read_volume(one, "MNI152")) for one in files]
