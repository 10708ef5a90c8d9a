"""Fixtures shared by all tests: a small grid, and maps and trees that cover it."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from fmnet.data.grid import Grid
from fmnet.data.scans import MapsOnGrid
from fmnet.data.store import ArrayStore

# where a script finds its neighbour, also when a test runs it within this process
sys.path.append(str(Path(__file__).parents[1] / "scripts"))

pytest_plugins = ["cohort_fixtures", "bold_file_fixtures", "run_fixtures", "bold_bundle_fixtures"]

settings.register_profile("fmnet", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("fmnet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most slow tests, so that several workers end together."""
    n_slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -n_slow[item.path])


SHAPE = (7, 8, 9)
AFFINE = np.array(
    [[20.0, 0.0, 0.0, -60.0], [0.0, 20.0, 0.0, -80.0], [0.0, 0.0, 20.0, -70.0], [0, 0, 0, 1]]
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def grid() -> Grid:
    """7 x 8 x 9 voxels of 20 mm; the mask is no box and differs from left to right."""
    x, y, z = np.indices(SHAPE)
    mask = ((x - 3) / 3.6) ** 2 + ((y - 3.5) / 4) ** 2 + ((z - 4) / 4.5) ** 2 <= 1
    mask[0:2, 2, 2] = False
    return Grid(mask, AFFINE.copy(), "MNI152")


@pytest.fixture
def write_map(grid: Grid, rng: np.random.Generator) -> Callable[..., Path]:
    """Write a map: random values in the mask of `grid` unless data are given."""

    def write(
        path: Path,
        data: Any = None,
        affine: Any = None,
        image_class: Any = nib.Nifti1Image,
        background: float = 0.0,
    ) -> Path:
        if data is None:
            data = grid.unmask(rng.normal(size=grid.n_voxels).astype(np.float32), background)
        path.parent.mkdir(parents=True, exist_ok=True)
        image_class(data, grid.affine if affine is None else affine).to_filename(path)
        return path

    return write


@pytest.fixture
def write_tsv() -> Callable[..., Path]:
    """Write rows (mappings) as a tab-separated table; what is missing becomes n/a."""

    def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(list(rows)).to_csv(path, sep="\t", index=False, na_rep="n/a")
        return path

    return write


@dataclass(frozen=True)
class BidsTree:
    """A written derivatives tree; `map` names a file of it."""

    root: Path
    people: tuple[str, ...]

    @property
    def participants(self) -> Path:
        return self.root / "participants.tsv"

    def map(self, person: str, contrast: str = "pain", more: str = "") -> Path:
        name = f"{person}_{more}contrast-{contrast}_stat-z_statmap.nii.gz"
        return self.root / person / "func" / name


@pytest.fixture
def bids_tree(
    tmp_path: Path, write_map: Callable[..., Path], write_tsv: Callable[..., Path]
) -> Callable[..., BidsTree]:
    """Write a derivatives tree: `n` people in each group, one map per contrast.

    Further keyword arguments are columns of participants.tsv, one value per person.
    """

    def build(
        n: int = 3,
        contrasts: tuple[str, ...] = ("pain",),
        groups: tuple[str, ...] = ("FM", "HC"),
        **columns: list[str],
    ) -> BidsTree:
        people = tuple(f"sub-{number:02d}" for number in range(1, n * len(groups) + 1))
        tree = BidsTree(tmp_path / "study" / "derivatives" / "glm", people)
        for person in people:
            for contrast in contrasts:
                write_map(tree.map(person, contrast))
        rows = [
            {"participant_id": person, "group": groups[number % len(groups)]}
            | {name: values[number] for name, values in columns.items()}
            for number, person in enumerate(people)
        ]
        write_tsv(tree.participants, rows)
        return tree

    return build


@pytest.fixture
def store(tmp_path: Path, grid: Grid) -> ArrayStore:
    return ArrayStore(tmp_path / "store", MapsOnGrid(grid))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of public data that is no part of the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FMNET_REAL_DATA", default))
    if not (folder / "maps_4mm").is_dir():
        pytest.skip(f"no real data in {folder}; name their folder in FMNET_REAL_DATA")
    return folder
