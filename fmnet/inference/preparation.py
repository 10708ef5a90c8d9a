"""`Preparation`: the one way from a scan to the network's input, in training and in use."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fmnet.data.grid import Grid, MaskName
from fmnet.data.resample import smooth_values, weights_before_smoothing
from fmnet.data.volume import FloatArray, is_ras
from fmnet.errors import BundleError, Fault, VolumeError
from fmnet.inference.bundle_files import (
    COUNT_OR_NONE,
    FRACTION,
    MAX_BYTES_OF,
    NUMBER,
    SPACE,
    TEXT,
    Kind,
    is_number,
    list_of,
    one_of,
    optional,
    read_bounded,
    read_fields,
)
from fmnet.types import Fraction, NonNegative, VoxelSize

#: A voxel that fewer of the training scans cover is left out: it would mostly show coverage.
MIN_TRAINING_FRACTION = 0.5
#: Smallest standard deviation, as a fraction of the median one, that a voxel is divided by.
SD_FLOOR = 0.1
#: Most of a smoothing width or an edge of a voxel, in mm: no brain is larger.
MAX_MM = 1000.0
#: Most of a mean or a weight, whose square float32 still holds.
MAX_VALUE = 1e18
#: What a network reads.
MAPS, SERIES = "maps", "series"
#: Of preparation.json; files of before there was a choice don't say it, and mean maps.
INPUT_KIND = optional(one_of((MAPS, SERIES)))
#: What is relied on of preparation.json, whatever the network reads.
FIELDS = {
    "contrasts": list_of(TEXT),
    "space": SPACE,
    "affine": list_of(list_of(NUMBER)),
    "min_coverage": FRACTION,
}
WIDTH = Kind(
    f"a number from 0 to {MAX_MM:g}", lambda value: is_number(value) and 0 <= value <= MAX_MM
)
#: Volumes of an example where the network reads whole runs, whatever their length.
EXAMPLE_VOLUMES = 2

#: NumPy's arrays or torch's tensors.
Array = TypeVar("Array", bound=Any)


@dataclass(frozen=True)
class PreparationSettings:
    """What is chosen about the preparation before any data are seen.

    ``fwhm_mm`` is the smoothing on the template grid, full width at half maximum; ``min_coverage``
    the smallest fraction of the mask that a map must cover.
    """

    voxel_size_mm: VoxelSize = 4
    mask: MaskName = "brain"
    fwhm_mm: NonNegative = 8.0
    min_coverage: Fraction = 0.5


@dataclass(frozen=True, eq=False)
class Preparation(ABC):
    """Transform from a scan, on the grid, to the network's inputs.

    ``contrasts`` name each of the C channels; one name for a series. ``min_coverage`` is the
    smallest fraction of the mask in which a map, or each run of a series, must have data.
    """

    #: What the network reads, `MAPS` or `SERIES`, and what its exported program calls that.
    kind: ClassVar[Literal["maps", "series"]]
    input_name: ClassVar[str]

    grid: Grid
    contrasts: tuple[str, ...]
    min_coverage: float

    @property
    def reads_series(self) -> bool:
        """Whether the network reads time series."""
        return self.kind == SERIES

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the network's input for one scan: (C, X, Y, Z), or of a window: T for C."""

    @property
    def example_shape(self) -> tuple[int, int, int, int]:
        """Shape of the smallest input."""
        return self.input_shape

    @abstractmethod
    def images(self, values: FloatArray) -> FloatArray:
        """Put values that need no further smoothing on the grid, prepared."""

    @abstractmethod
    def inputs(self, values: FloatArray) -> FloatArray:
        """Turn one scan's values, (C, V) or (T, V), into all inputs whose mean score is the scan's.

        They are (1, C, X, Y, Z) or (W, T_w, X, Y, Z).
        """

    def check_length(self, n_volumes: int, name: str) -> None:  # noqa: B027 (maps have no length)
        """Raise `VolumeError` where a scan has fewer volumes than the network reads at a time."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Say what was chosen beforehand, as preparation.json and a bundle's metadata do."""

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"mask": self.grid.mask.astype(np.uint8)}

    def write(self, folder: Path) -> None:
        """Write ``preparation.json`` and ``preparation.safetensors``."""
        grid = self.grid
        kind = {"kind": self.kind} if self.reads_series else {}
        described = kind | {
            "contrasts": self.contrasts,
            "space": grid.space,
            "orientation": "RAS+",
            "affine": grid.affine.tolist(),
            "shape": grid.shape,
            "voxel_size_mm": grid.voxel_size_mm,
        }
        text = json.dumps(described | self.settings(), indent=2) + "\n"
        (folder / "preparation.json").write_text(text, "utf-8")
        # not save_file: it makes files that only their owner may read
        (folder / "preparation.safetensors").write_bytes(save(self._arrays()))


@dataclass(frozen=True, eq=False)
class MapPreparation(Preparation):
    """Fitted transform from the maps of a scan to the network's input.

    ``mean`` and ``weight``, (C, V), are those of `fit_standard`.
    """

    kind = "maps"
    input_name = "image"

    fwhm_mm: float
    mean: FloatArray
    weight: FloatArray

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the network's input for one scan: (C, X, Y, Z)."""
        return len(self.contrasts), *self.grid.shape

    def standardise(self, smoothed: FloatArray) -> FloatArray:
        """Standardise smoothed values by voxel, (..., C, V); missing voxels become 0, the mean."""
        return standardise(smoothed, self.mean, self.weight)

    def images(self, values: FloatArray) -> FloatArray:
        """Turn smoothed values (..., C, V) into the network's input (..., C, X, Y, Z)."""
        return self.grid.unmask(self.standardise(values))

    def prepare(self, values: FloatArray) -> FloatArray:
        """Turn values on the grid, (..., C, V), into the network's input (..., C, X, Y, Z)."""
        return self.images(smooth_values(values, self.grid, self.fwhm_mm))

    def inputs(self, values: FloatArray) -> FloatArray:
        """Turn the maps of one scan, (C, V), into the network's one input: (1, C, X, Y, Z)."""
        return self.prepare(values[None])

    def weights_of_maps(self, weights: FloatArray) -> FloatArray:
        """Turn weights of the network's input, (..., C, V), into weights of maps as they come.

        For a map that is complete in the mask, prepared voxels times `weights` come to the map
        times what is returned, and `intercept_of_maps`.
        """
        return weights_before_smoothing(weights * self.weight, self.grid, self.fwhm_mm)

    def intercept_of_maps(self, weights: FloatArray) -> NDArray[np.float64]:
        """Compute what those weights leave out, (...): what the mean map costs."""
        costs = weights.astype(float) * self.weight * self.mean
        return np.asarray(-costs.sum(axis=(-2, -1)))

    def settings(self) -> dict[str, Any]:
        """Say what was chosen beforehand."""
        return {"fwhm_mm": self.fwhm_mm, "min_coverage": self.min_coverage}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return super()._arrays() | {"mean": self.mean, "weight": self.weight}


@dataclass(frozen=True, eq=False)
class SeriesPreparation(Preparation):
    """Transform from a cleaned series to the network's inputs; nothing of it is fitted.

    ``window_volumes`` is how many the network reads at a time; 0 for all of a scan's.
    """

    kind = "series"
    input_name = "series"

    window_volumes: int

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of an input: (T, X, Y, Z); T is an example where the network reads all volumes."""
        return self.window_volumes or EXAMPLE_VOLUMES, *self.grid.shape

    @property
    def example_shape(self) -> tuple[int, int, int, int]:
        """Shape of the smallest input."""
        return EXAMPLE_VOLUMES, *self.grid.shape

    def images(self, values: FloatArray) -> FloatArray:
        """Put values, (T, V), on the grid: (T, X, Y, Z).

        0 outside the mask and, at all times, where any volume has no data, as where one of several
        runs has none.
        """
        known = np.isfinite(values).all(axis=0)
        return self.grid.unmask(np.where(known, values, np.float32(0)))

    def inputs(self, values: FloatArray) -> FloatArray:
        """Cut a scan, (T, V), into windows: (W, T_w, X, Y, Z).

        Raises
        ------
        ValueError
            If the scan is shorter than a window; callers who know its name say so beforehand.
        """
        length = self.window_volumes or len(values)
        images = self.images(values)
        starts = window_starts(len(values), self.window_volumes)
        if starts == [0] and length == len(values):  # spares a copy of the whole scan
            return images[None]
        return np.stack([images[start : start + length] for start in starts])

    def check_length(self, n_volumes: int, name: str) -> None:
        """Raise `VolumeError` where a scan has fewer volumes than the network reads at a time."""
        if n_volumes < self.window_volumes:
            found = f"{n_volumes} volumes after cleaning"
            accepted = f"at least {self.window_volumes}, which the network reads at a time"
            action = "give a longer run, or all of a session's"
            raise VolumeError(Fault(name, found, accepted, action))

    def settings(self) -> dict[str, Any]:
        """Say what was chosen beforehand."""
        return {"min_coverage": self.min_coverage, "window_volumes": self.window_volumes}


def fit_preparation(
    smoothed: FloatArray, grid: Grid, contrasts: tuple[str, ...], settings: PreparationSettings
) -> MapPreparation:
    """Fit mean and standard deviation of each voxel on the training scans.

    `smoothed`, (N, C, V), are the training scans, smoothed by ``settings.fwhm_mm``; NaN where
    missing.
    """
    mean, weight = fit_standard(smoothed)
    return MapPreparation(grid, contrasts, settings.min_coverage, settings.fwhm_mm, mean, weight)


def fit_standard(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit mean and weight, one over the standard deviation, of each voxel over scans.

    `values` are (N, C, V), NaN where missing; mean and weight (C, V), 0 where too few scans have
    data.
    """
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0, dtype=np.float64) / count
    deviation = np.where(known, values - mean, 0)
    sd = np.sqrt((deviation**2).sum(axis=0, dtype=np.float64) / count)
    usable = known.mean(axis=0) >= MIN_TRAINING_FRACTION
    floor = [
        SD_FLOOR * np.median(row[use]) if use.any() else 1.0
        for row, use in zip(sd, usable, strict=True)
    ]
    sd = np.maximum(np.maximum(sd, np.array(floor)[:, None]), np.finfo(np.float32).tiny)
    mean, weight = np.where(usable, mean, 0), np.where(usable, 1 / sd, 0)
    return mean.astype(np.float32), weight.astype(np.float32)


def standardise(values: Array, mean: Array, weight: Array) -> Array:
    """Standardise values, (..., C, V), by voxel; missing ones, NaN, become 0, the mean.

    Arrays or tensors, of one library and on one device.
    """
    standard: Array = (values - mean) * weight
    standard[standard != standard] = 0
    return standard


def read_preparation(folder: Path) -> Preparation:
    """Read a preparation of either kind, as `Preparation.write` left it.

    Raises
    ------
    BundleError
        If a file is missing or damaged, or the two don't fit together.
    """
    fields = read_fields(folder / "preparation.json", {"kind": INPUT_KIND})
    is_series = fields.get("kind") == SERIES
    own = {"window_volumes": COUNT_OR_NONE} if is_series else {"fwhm_mm": WIDTH}
    settings = read_fields(folder / "preparation.json", FIELDS | own)
    path = folder / "preparation.safetensors"
    try:
        arrays = load(read_bounded(path, MAX_BYTES_OF[path.name]))
    except (OSError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    wanted = ("mask",) if is_series else ("mask", "mean", "weight")
    if lacking := [name for name in wanted if name not in arrays]:
        raise _damaged(folder, f"no array '{lacking[0]}'")
    grid = _read_grid(settings, arrays["mask"], folder)
    contrasts, min_coverage = tuple(settings["contrasts"]), float(settings["min_coverage"])
    if is_series:
        if len(contrasts) != 1:
            raise _damaged(folder, f"{len(contrasts)} names for one series")
        return SeriesPreparation(grid, contrasts, min_coverage, settings["window_volumes"])
    mean, weight = arrays["mean"], arrays["weight"]
    expected = (len(contrasts), grid.n_voxels)
    if mean.shape != expected or weight.shape != expected:
        raise _damaged(folder, f"arrays of shape {mean.shape}, not {expected}")
    for values in (mean, weight):
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise _damaged(folder, f"values of type {values.dtype}, not finite float32")
        if (largest := np.abs(values).max()) > MAX_VALUE:
            raise _damaged(folder, f"values as large as {largest:g}")
    return MapPreparation(grid, contrasts, min_coverage, float(settings["fwhm_mm"]), mean, weight)


def _read_grid(settings: dict[str, Any], mask: NDArray[Any], folder: Path) -> Grid:
    """Make the grid of a preparation that was read."""
    if mask.ndim != 3 or not mask.any():
        raise _damaged(folder, f"a mask of shape {mask.shape} with {np.count_nonzero(mask)} voxels")
    if mask.dtype not in (np.uint8, np.bool_) or mask.max() > 1:
        raise _damaged(folder, f"a mask of type {mask.dtype}, not of 0 and 1")
    try:
        affine = np.array(settings["affine"], dtype=float)
        grid = Grid(mask.astype(bool), affine, settings["space"])
    except (ValueError, VolumeError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    if not is_ras(grid.affine):
        raise _damaged(folder, f"an affine that isn't RAS+: {affine.round(3).tolist()}")
    if not all(0.1 <= edge <= MAX_MM for edge in grid.voxel_size_mm):
        raise _damaged(folder, f"voxels of {grid.voxel_size_mm} mm")
    return grid


def _damaged(folder: Path, reason: str) -> BundleError:
    found = f"a preparation that can't be read ({reason})"
    accepted = "preparation.json and preparation.safetensors as fmnet wrote them"
    return BundleError(Fault(str(folder), found, accepted, "copy or export the folder again"))


def window_starts(n_volumes: int, window: int) -> list[int]:
    """Give the first volume of as few windows as cover a run, evenly; neighbours may overlap.

    A `window` of 0 volumes is one as long as the run.

    Raises
    ------
    ValueError
        If the run is shorter than a window; callers who know its name say so beforehand.
    """
    if n_volumes < max(window, 1):
        raise ValueError(f"a run of {n_volumes} volumes holds no window of {window}")
    if window == 0:
        return [0]
    n_windows = -(-n_volumes // window)
    room = n_volumes - window
    return [number * room // max(n_windows - 1, 1) for number in range(n_windows)]
