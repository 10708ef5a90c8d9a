"""`Case`: one input, the doors that it is brought to, and which answers are right there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus.answers import RIGHT, Answers, in_training
from benchmarks.corpus.craft import Array, nifti
from fmnet.data.nifti import read_volume
from fmnet.data.resample import place_on_grid
from fmnet.errors import BenchmarkError, Fault
from fmnet.inference.bundle import Bundle, read_bundle
from fmnet.inference.predict import NewScan, predict_scan
from fmnet.synthetic.cohort_folder import SPACE
from fmnet.synthetic.maps import write_cohort

#: Of the studies that maps are put into, by place: two people in each group.
PEOPLE = ("sub-01", "sub-02", "sub-03", "sub-04")
GROUPS = ("FM", "FM", "HC", "HC")
CONTRAST, STAT = "pressure", "z"
#: Says all there is to say of a map of the shipped bundle.
NAME = f"space-{SPACE}_contrast-{CONTRAST}_stat-{STAT}_statmap"


@dataclass(frozen=True)
class Case:
    """One hostile or odd input.

    Parameters
    ----------
    kind, name : str
        Group and description; unique together.
    make : callable
        ``make(materials, folder)`` writes the input and returns what its doors are given.
    right : frozenset of str
        Answers that are right at the first door.
    doors : tuple of str
        See `benchmarks.corpus.doors.DOORS`.
    training : frozenset of str, optional
        Answers that are right at the door of training; those of `right` if left out, where
        ``cannot_say`` is an error.
    like : callable, optional
        From the values of the map to those whose score is the right one; unchanged if left out.
    tolerance : float
        How far a score may be off; values on the grid in training ten times as far.
    people : mapping
        Of trees and tables: answers that are right for somebody, where not those of `right`.
    options : tuple of str
        Further arguments of ``fmnet-predict``.
    """

    kind: str
    name: str
    make: Callable[["Materials", Path], Any]
    right: Answers = RIGHT
    doors: tuple[str, ...] = ("predict", "training")
    training: Answers | None = None
    like: Callable[[Array], Array] | None = None
    tolerance: float = 0.02
    people: Mapping[str, Answers] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def right_at(self, door: str) -> Answers:
        """Say which answers are right at a door."""
        if door != "training":
            return self.right
        return in_training(self.right) if self.training is None else self.training


@dataclass(frozen=True)
class TableInput:
    """Tables of a study.

    Parameters
    ----------
    images : Path
        Table of paths.
    participants : Path or None
        Table of people; None where `images` states the groups.
    settings : dict
        Further arguments of `read_image_table`.
    """

    images: Path
    participants: Path | None = None
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Materials:
    """What cases are made from: the maps of four people of the synthetic cohort, and a bundle.

    Parameters
    ----------
    folder : Path
        Of the cohort, made if it isn't there.
    bundle_folder : Path
        A signature of one map without gates, so that the answers are of the readers.
    """

    folder: Path
    bundle_folder: Path

    @cached_property
    def bundle(self) -> Bundle:
        """The signature."""
        return read_bundle(self.bundle_folder)

    @cached_property
    def maps(self) -> tuple[Path, ...]:
        """One map for each of `PEOPLE`."""
        root = write_cohort(self.folder / "cohort", n_subjects=len(PEOPLE), seed=11)
        return tuple(sorted(root.glob("sub-*/func/*_statmap.nii.gz")))

    @cached_property
    def volumes(self) -> tuple[tuple[Array, NDArray[np.float64]], ...]:
        """Values, shape (X, Y, Z), and affine of each map."""
        read = [read_volume(path, SPACE) for path in self.maps]
        # 0 outside the brain, as the files have it, whatever the reader makes of it
        return tuple((np.nan_to_num(one.data[0]), one.affine) for one in read)

    @property
    def data(self) -> Array:
        """Values of the first person's map, (X, Y, Z) in RAS+, 0 outside the brain."""
        return self.volumes[0][0]

    @property
    def affine(self) -> NDArray[np.float64]:
        """Affine of the first person's map."""
        return self.volumes[0][1]

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """Score of each person's map as it was written."""
        return tuple(self.score(path) for path in self.maps)

    def score(self, path: Path) -> float:
        """Score a plain map.

        Raises
        ------
        BenchmarkError
            If it has none.
        """
        prediction = predict_scan(self.bundle, NewScan(str(path), (path,), SPACE))
        if prediction.score is None:
            accepted, action = "a score", "choose another suite.bundle"
            raise BenchmarkError(Fault(str(path), prediction.reason, accepted, action))
        return prediction.score

    def on_grid(self, path: Path) -> Array:
        """Read the values of a plain map on the bundle's grid, (V,)."""
        grid = self.bundle.preparation.grid
        return np.asarray(place_on_grid(read_volume(path, SPACE), grid)[0])

    def reference(self, case: Case, folder: Path) -> Path:
        """Name the plain map whose score a case is to have."""
        if case.like is None:
            return self.maps[0]
        path = folder / f"like_{NAME}.nii"
        path.write_bytes(nifti(case.like(self.data.copy()), self.affine))
        return path

    def inside(self, n: int) -> tuple[NDArray[np.intp], ...]:
        """Name `n` voxels that lie inside the brain, a step apart, as an index of `data`."""
        where = np.argwhere(self.data != 0)
        chosen = where[np.linspace(len(where) / 3, len(where) / 2, n).astype(int)]
        return tuple(chosen.T)


def unique(cases: list[Case]) -> list[Case]:
    """Raise `BenchmarkError` where two cases have one name."""
    names = [(case.kind, case.name) for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BenchmarkError(Fault("corpus", f"cases {twice} twice", "unique names", "rename one"))
    return cases
