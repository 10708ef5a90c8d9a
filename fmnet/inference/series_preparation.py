"""`SeriesPreparation`: from a cleaned series to the network's input, in training and in use."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from fmnet.bold.windows import window_starts
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.inference.bundle_files import (
    COUNT_OR_NONE,
    NUMBER,
    SHARE,
    SPACE,
    TEXT,
    list_of,
    one_of,
    optional,
    read_fields,
)
from fmnet.inference.preparation import (
    Preparation,
    damaged,
    read_arrays,
    read_grid,
    read_preparation,
)

MAPS, SERIES = "maps", "series"
#: What a network reads; files of before there was a choice don't say it, and mean maps.
INPUT_KIND = optional(one_of((MAPS, SERIES)))
#: What is relied on of preparation.json.
FIELDS = {
    "contrasts": list_of(TEXT),
    "space": SPACE,
    "affine": list_of(list_of(NUMBER)),
    "min_coverage": SHARE,
    "window_volumes": COUNT_OR_NONE,
}
#: Volumes of an example where the network reads whole runs, whatever their length.
EXAMPLE_VOLUMES = 2


@dataclass(frozen=True, eq=False)
class SeriesPreparation:
    """Transform from a cleaned series to the network's input; nothing of it is fitted.

    Parameters
    ----------
    grid : Grid
        Template grid and mask; V voxels in the mask.
    contrasts : tuple of str
        What the series is called; one name, like that of a single map.
    min_coverage : float
        Smallest share of the mask in which a run must have data.
    window_volumes : int
        Volumes that the network reads at a time; 0 for all of a scan's.
    """

    grid: Grid
    contrasts: tuple[str, ...]
    min_coverage: float
    window_volumes: int

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of an input: (T, X, Y, Z); T is an example where the network reads all volumes."""
        return self.window_volumes or EXAMPLE_VOLUMES, *self.grid.shape

    def images(self, values: FloatArray) -> FloatArray:
        """Put values, (T, V), on the grid: (T, X, Y, Z).

        0 outside the mask and, at all times, where any volume has no data, as where one of several
        runs has none.
        """
        known = np.isfinite(values).all(axis=0)
        return self.grid.unmask(np.where(known, values, np.float32(0)))

    def windows(self, values: FloatArray) -> FloatArray:
        """Cut a scan, (T, V), into what the network reads: (W, T_w, X, Y, Z).

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


AnyPreparation = Preparation | SeriesPreparation


def network_inputs(preparation: AnyPreparation, values: FloatArray) -> FloatArray:
    """Turn one scan's values into all inputs whose mean score is the scan's.

    Parameters
    ----------
    preparation : Preparation or SeriesPreparation
        Of the network.
    values : ndarray of float32, shape (C, V) or (T, V)
        Maps, or a cleaned series.

    Returns
    -------
    ndarray of float32, shape (1, C, X, Y, Z) or (W, T_w, X, Y, Z)
    """
    if isinstance(preparation, Preparation):
        return preparation.prepare(values[None])
    return preparation.windows(values)


def write_series_preparation(preparation: SeriesPreparation, folder: Path) -> None:
    """Write ``preparation.json`` and ``preparation.safetensors``."""
    grid = preparation.grid
    settings = {
        "kind": SERIES,
        "contrasts": preparation.contrasts,
        "space": grid.space,
        "orientation": "RAS+",
        "affine": grid.affine.tolist(),
        "shape": grid.shape,
        "voxel_size_mm": grid.voxel_size_mm,
        "min_coverage": preparation.min_coverage,
        "window_volumes": preparation.window_volumes,
    }
    (folder / "preparation.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    # not save_file: it makes files that only their owner may read
    arrays = {"mask": grid.mask.astype(np.uint8)}
    (folder / "preparation.safetensors").write_bytes(save(arrays))


def read_any_preparation(folder: Path) -> AnyPreparation:
    """Read a preparation of either kind.

    Raises
    ------
    BundleError
        If a file is missing or damaged, or the two don't fit together.
    """
    fields = read_fields(folder / "preparation.json", {"kind": INPUT_KIND})
    if fields.get("kind") == SERIES:
        return read_series_preparation(folder)
    return read_preparation(folder)


def read_series_preparation(folder: Path) -> SeriesPreparation:
    """Read what `write_series_preparation` wrote.

    Raises
    ------
    BundleError
        If a file is missing or damaged.
    """
    settings, arrays = read_fields(folder / "preparation.json", FIELDS), read_arrays(folder)
    if "mask" not in arrays:
        raise damaged(folder, "no array 'mask'")
    grid = read_grid(settings, arrays["mask"], folder)
    if len(settings["contrasts"]) != 1:
        raise damaged(folder, f"{len(settings['contrasts'])} names for one series")
    return SeriesPreparation(
        grid,
        tuple(settings["contrasts"]),
        float(settings["min_coverage"]),
        settings["window_volumes"],
    )
