"""What the gates measure of a scan's maps on the grid, and how each failure is told."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.values import image_scale
from fmnet.data.volume import FloatArray

Floats = NDArray[np.float64]
#: By name of the measure and number of the channel; None where it is of all channels together.
Measured = dict[tuple[str, int | None], float]
#: Fractions and correlations are kept so far from their ends.
END = 1e-3
SAME_MAPS = "give maps with the same contrast, statistic and unit as the training maps"
REGISTER = "look at the map over the template; check its registration and the affine in its header"


def _log(value: float) -> float:
    return float(np.log(max(value, 1e-30)))


def _exp(value: float) -> float:
    return float(np.exp(np.clip(value, -69.0, 69.0)))


def _logit(value: float) -> float:
    inside = min(max(value, END), 1 - END)
    return float(np.log(inside / (1 - inside)))


def _expit(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -69.0, 69.0))))


def _same(value: float) -> float:
    return float(value)


def _artanh(value: float) -> float:
    return float(np.arctanh(min(max(value, END - 1), 1 - END)))


def _tanh(value: float) -> float:
    return float(np.tanh(value))


@dataclass(frozen=True)
class Measure:
    """How one measure is held against limits and told.

    ``forward`` leads to a scale on which people are spread about evenly, ``back`` from there;
    ``floor`` is the least standard deviation on it; ``sides``: 0 where both ends count, -1 for the
    lower alone, 1 for the upper.
    """

    too_low: str
    too_high: str
    action: str
    unit: str = ""
    is_of_channel: bool = False
    sides: int = 0
    floor: float = 1e-6
    forward: Callable[[float], float] = _same
    back: Callable[[float], float] = _same
    is_for_few: bool = False


_FLIP = "check the map's orientation (left and right, affine, flips by software) over the template"

MEASURES = {
    "scale": Measure(
        "values that are too small",
        "values that are too large",
        "check that the map has the same statistic and unit as the training maps",
        "", True, 0, 0.05, _log, _exp, True,
    ),
    "smoothness": Measure(
        "a map that is rougher than those of training",
        "a map that is smoother than those of training",
        "smooth (or don't) as was done for the training maps",
        "mm FWHM", True, 0, 0.03, _log, _exp,
    ),
    "positive": Measure(
        "too few positive values for a map of this contrast and statistic",
        "not a statistic map, or another statistic: hardly a negative value",
        SAME_MAPS, "of voxels", True, 0, 0.1, _logit, _expit, True,
    ),
    "tails": Measure(
        "values that are more alike in size than those of a map of this statistic",
        "a few values that are too large for a map of this statistic",
        SAME_MAPS, "times the root mean square", True, 0, 0.02, _log, _exp,
    ),
    "similarity": Measure(
        "a map that is unlike the training people's mean",
        "", SAME_MAPS, "", True, -1, 0.02, _artanh, _tanh,
    ),
    "coverage": Measure(
        "data that are missing where training people have some",
        "", "give the whole unthresholded map, or check its registration",
        "of voxels", False, -1, 0.01, _same, _same, True,
    ),
    "centre in x": Measure(
        "data too far to the left, or none on the right",
        "data too far to the right, or none on the left",
        REGISTER, "mm", False, 0, 0.5,
    ),
    "centre in y": Measure(
        "data too far to the back, or none in front",
        "data too far to the front, or none at the back",
        REGISTER, "mm", False, 0, 0.5,
    ),
    "centre in z": Measure(
        "data too low, or none at the top", "data too high, or none at the bottom",
        REGISTER, "mm", False, 0, 0.5,
    ),
    "left and right": Measure(
        "a map that looks mirrored, left for right", "", _FLIP, "", False, -1, 0.01,
    ),
    "front and back": Measure(
        "a map that looks turned, front to back", "", _FLIP, "", False, -1, 0.01,
    ),
    "top and bottom": Measure(
        "a map that looks upside down", "", _FLIP, "", False, -1, 0.01,
    ),
}  # fmt: skip


def measure(values: FloatArray, grid: Grid) -> Measured:
    """Measure what needs nothing to compare with, of maps (C, V)."""
    found: Measured = {}
    for channel, row in enumerate(values):
        known = row[np.isfinite(row)]
        size = float(image_scale(row)) if len(known) else 0.0
        found["scale", channel] = size
        found["smoothness", channel] = smoothness_mm(row, grid)
        found["positive", channel] = float(np.mean(known > 0)) if len(known) else 0.0
        top = float(np.quantile(np.abs(known), 0.99)) if len(known) else 0.0
        found["tails", channel] = top / max(size, 1e-30)
    return found


def smoothness_mm(values: FloatArray, grid: Grid) -> float:
    """Estimate the width of a Gaussian, FWHM in mm, by which a map, (V,), may have been smoothed.

    From the differences of neighbours, as in Forman et al., Magn Reson Med 33 (1995) 636-647.
    """
    image = grid.unmask(values, np.nan).astype(np.float64)
    variance = float(np.nanvar(image))
    widths = []
    for axis, edge_mm in enumerate(grid.voxel_size_mm):
        step = np.diff(image, axis=axis)
        known = step[np.isfinite(step)]
        if not len(known) or not variance > 0:
            return 0.0
        correlation = 1 - float(np.mean(known**2)) / (2 * variance)
        correlation = min(max(correlation, 0.01), 1 - 1e-6)
        widths.append(edge_mm * np.sqrt(-2 * np.log(2) / np.log(correlation)))
    return float(np.exp(np.mean(np.log(widths))))


def measures_of(values: FloatArray, grid: Grid, mean: FloatArray, usual: FloatArray) -> Measured:
    """Measure maps, (C, V), beside the mean of others and the fraction of them with data there."""
    found: Measured = {}
    known = np.isfinite(values)
    for channel, row in enumerate(values):
        both = known[channel] & (usual[channel] >= 0.5)
        found["similarity", channel] = _correlation(row[both], mean[channel][both])
    weight = np.asarray(usual, np.float64)
    found["coverage", None] = float((weight * known).sum() / max(weight.sum(), 1e-30))
    points = np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    centre = _centre(known.astype(np.float64), points) - _centre(weight, points)
    for name, offset in zip("xyz", centre, strict=True):
        found[f"centre in {name}", None] = float(offset)
    return found


def _centre(weight: Floats, points: Floats) -> Floats:
    return np.asarray(weight.sum(axis=0) @ points / max(weight.sum(), 1e-30))


def _correlation(one: FloatArray, other: FloatArray) -> float:
    if len(one) < 2:
        return 0.0
    a, b = (row - row.mean(dtype=np.float64) for row in (one, other))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0
