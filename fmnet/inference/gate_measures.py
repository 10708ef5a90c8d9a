"""What the gates measure of a scan's maps on the grid, and how each failure is told."""

from collections.abc import Callable, Sequence
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
    fraction = float(1 / (1 + np.exp(-np.clip(value, -69.0, 69.0))))
    if not END < fraction < 1 - END:  # beyond, all fractions are one
        return float(round(fraction))
    return fraction


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
    lower alone, 1 for the upper. Whatever the training people are like, values from ``low_cap`` to
    ``high_cap`` pass; ``share``: how many of the false alarms it may have, beside the others. Of
    too few people, a value may lie ``slack`` beyond all of theirs; None where that says nothing.
    ``title`` is what readers are told that it is called, where its name is too short for them.
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
    slack: float | None = None
    low_cap: float | None = None
    high_cap: float | None = None
    share: float = 1.0
    title: str = ""


ORIENT = (
    "look at the map over the template; check its affine, and programs that may have flipped it"
)

MEASURES = {
    "scale": Measure(
        "values that are too small",
        "values that are too large",
        "check that the map has the same statistic and unit as the training maps",
        "", True, 0, 0.05, _log, _exp, float(np.log(2)),
    ),
    "smoothness": Measure(
        "a map that is rougher than those of training",
        "a map that is smoother than those of training",
        "smooth it, or don't, as was done for the training maps",
        "mm FWHM", True, 0, 0.03, _log, _exp,
    ),
    "positive": Measure(
        "too few positive values: another contrast or statistic, or the contrast reversed",
        "too many positive values: not a statistic map (anatomy?), or another statistic",
        SAME_MAPS, "of voxels", True, 0, 0.1, _logit, _expit, 2.0, title="positive values",
    ),
    "tails": Measure(
        "hardly a value that stands out: another statistic, or an image of another kind",
        "a few values that stand out too far: another statistic, or spikes",
        SAME_MAPS, "times the root mean square", True, 0, 0.02, _log, _exp, title="largest values",
    ),
    "similarity": Measure(
        "a map that is unlike the training people's mean", "",
        SAME_MAPS, "(correlation)", True, -1, 0.02, _artanh, _tanh, share=3.0,
        title="similarity to the mean map",
    ),
    "similarity of sizes": Measure(
        "a map whose values are large and small in other places than the training people's", "",
        SAME_MAPS, "(correlation)", True, -1, 0.02, _artanh, _tanh,
        title="similarity in magnitude to the mean map",
    ),
    "coverage": Measure(
        "data missing where training people have some", "",
        "give the whole unthresholded map, or check its registration",
        "of voxels", False, -1, 0.01, _same, _same, 0.1, 0.95,
    ),
    **{
        f"centre in {axis}": Measure(
            f"data too far {low}, or none {high_place}",
            f"data too far {high}, or none {low_place}",
            REGISTER, "mm", False, 0, 0.5, low_cap=-2.0, high_cap=2.0, share=0.3,
            title=f"centre of the data in {axis}",
        )
        for axis, low, high, low_place, high_place in (
            ("x", "to the left", "to the right", "on the left", "on the right"),
            ("y", "back", "forward", "at the back", "in front"),
            ("z", "down", "up", "at the bottom", "at the top"),
        )
    },
    **{
        name: Measure(
            words, "", ORIENT, "(1: as in training, -1: flipped)", False, -1, 0.01,
            low_cap=0.0, share=share, title=f"{title} orientation",
        )
        for name, title, words, share in (
            ("left and right", "left-right", "a map that seems mirrored, left for right", 6.0),
            ("front and back", "front-back", "a map that seems turned, front to back", 1.0),
            ("top and bottom", "up-down", "a map that seems upside down", 1.0),
        )
    },
}  # fmt: skip


def title_of(name: str) -> str:
    """Say what a measure is called where people read of it."""
    return MEASURES[name].title or name


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
    if not np.isfinite(image).any():
        return 0.0
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


def measure_beside(
    aspects: Sequence[FloatArray], grid: Grid, means: Sequence[FloatArray], usual: FloatArray
) -> Measured:
    """Measure maps beside others.

    `aspects` are the maps' values, their sizes, and where there are any, (C, V) each, see
    `fmnet.inference.orientation.aspect_of`; `means` the mean values and sizes of others, and
    `usual` the fraction of others with data there.
    """
    found: Measured = {}
    known = aspects[2] > 0
    for name, seen, mean in zip(
        ("similarity", "similarity of sizes"), aspects[:2], means, strict=True
    ):
        for channel, row in enumerate(seen):
            both = known[channel] & (usual[channel] >= 0.5)
            found[name, channel] = _correlation(row[both], mean[channel][both])
    weight = np.asarray(usual, np.float64)
    found["coverage", None] = float((weight * known).sum() / max(weight.sum(), 1e-30))
    points = np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    centre = _centre(known.astype(np.float64), points) - _centre(weight, points)
    for axis, offset in zip("xyz", centre, strict=True):
        found[f"centre in {axis}", None] = float(offset)
    return found


def missing_half(known: NDArray[np.bool_], grid: Grid, usual: FloatArray) -> str:
    """Name the half of the brain that has the least of the data, and how much; empty if it is even.

    `known` tells where there are data, `usual` the fraction of others with some there: (C, V).
    """
    place = np.argwhere(grid.mask)
    shares = {}
    for axis, names in enumerate((("left", "right"), ("back", "front"), ("lower", "upper"))):
        middle = np.median(place[:, axis])
        for name, inside in zip(
            names, (place[:, axis] < middle, place[:, axis] > middle), strict=True
        ):
            weight = usual[:, inside].sum(dtype=np.float64)
            shares[name] = float((usual * known)[:, inside].sum() / max(weight, 1e-30))
    least = min(shares, key=lambda name: shares[name])
    return f"{shares[least]:.0%} of the {least} half" if shares[least] < 0.5 else ""


def _centre(weight: Floats, points: Floats) -> Floats:
    return np.asarray(weight.sum(axis=0) @ points / max(weight.sum(), 1e-30))


def _correlation(one: FloatArray, other: FloatArray) -> float:
    if len(one) < 2:
        return 0.0
    a, b = (row - row.mean(dtype=np.float64) for row in (one, other))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0
