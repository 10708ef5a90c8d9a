"""Maps as another scanner, another software or a mistake would have given them.

Each change takes a map and a source of random numbers, and gives another map on the same grid.
Voxels without data, NaN, stay without data where the brain stays where it is.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from types import MappingProxyType

import numpy as np
from nilearn.datasets import load_mni152_template
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from fmnet.data.grid import Grid
from fmnet.data.resample import place_on_grid, smooth_values
from fmnet.data.volume import FloatArray, Volume
from fmnet.synthetic.effects import FWHM_PER_SD, Point, draw_field, sum_blobs
from fmnet.synthetic.maps import ACTIVATION, ACTIVATION_FWHM_MM

#: A map, (C, X, Y, Z), NaN where there are no data, to a changed one on the same grid.
Change = Callable[[Volume, Generator], Volume]

#: Where a task other than pain activates: visual and motor areas on both sides; mm and height.
OTHER_ACTIVATION: tuple[tuple[Point, float], ...] = (
    ((-14, -92, 0), 1.6),
    ((14, -92, 0), 1.6),
    ((-44, -70, -8), 1.4),
    ((44, -70, -8), 1.4),
    ((-28, -56, 50), 1.2),
    ((28, -56, 50), 1.2),
    ((-40, -2, 50), 1.0),
    ((0, 50, -10), -1.2),
    ((-52, -10, 0), -1.0),
    ((52, -10, 0), -1.0),
)
#: Another site: what all values are multiplied by; SD of the pattern that all of its maps share and
#: of the noise of each, in root mean squares of a map; widths of the two in mm.
SITE_GAIN, SITE_SHIFT, SITE_NOISE = 1.25, 0.3, 0.4
SITE_FWHM_MM, NOISE_FWHM_MM = 24.0, 5.0


def whole_grid(volume: Volume) -> Grid:
    """Take all voxels of a volume as a grid."""
    return Grid(np.ones(volume.data.shape[1:], dtype=bool), volume.affine, volume.space)


def root_mean_square(volume: Volume) -> float:
    """Measure the size of the values where there are any."""
    return float(np.sqrt(np.nanmean(np.square(volume.data))))


def is_known(volume: Volume) -> NDArray[np.bool_]:
    """Tell where there are data: (C, X, Y, Z)."""
    return np.asarray(np.isfinite(volume.data))


def _with(volume: Volume, data: NDArray[np.floating]) -> Volume:
    return replace(volume, data=np.ascontiguousarray(data, dtype=np.float32))


def unchanged(volume: Volume, _: Generator) -> Volume:
    """Leave a map as it is."""
    return volume


def rescale(volume: Volume, _: Generator, factor: float) -> Volume:
    """Multiply all values."""
    return _with(volume, volume.data * factor)


def flip(volume: Volume, _: Generator, axis: int) -> Volume:
    """Turn the content round along an axis of the brain, under the same header.

    Axes 0, 1 and 2 give a mirrored map, one front to back and one upside down. The brain's middle
    stays where it is: a map turned round in its box alone would be displaced as well.
    """
    where = np.argwhere(is_known(volume).any(axis=0))[:, axis]
    length = volume.data.shape[1 + axis]
    source = where.min() + where.max() - np.arange(length)
    is_inside = (source >= 0) & (source < length)
    turned = np.take(volume.data, source.clip(0, length - 1), axis=1 + axis)
    return _with(volume, np.where(_along(axis, is_inside), turned, np.nan))


def move(volume: Volume, rng: Generator, distance_mm: float) -> Volume:
    """Displace the content in a random direction, as a failed registration does."""
    direction = rng.standard_normal(3)
    moved = volume.affine.copy()
    moved[:3, 3] += distance_mm * direction / np.linalg.norm(direction)
    grid = whole_grid(volume)
    return _with(volume, grid.unmask(place_on_grid(replace(volume, affine=moved), grid), np.nan))


def smooth(volume: Volume, _: Generator, fwhm_mm: float) -> Volume:
    """Smooth a map further."""
    flat = volume.data.reshape(len(volume.data), -1)
    return _with(
        volume, smooth_values(flat, whole_grid(volume), fwhm_mm).reshape(volume.data.shape)
    )


def roughen(volume: Volume, rng: Generator, noise: float) -> Volume:
    """Add white noise, in root mean squares of the map, and keep the size of the values."""
    size = root_mean_square(volume)
    rough = volume.data + noise * size * rng.standard_normal(volume.data.shape)
    return _with(volume, rough / np.sqrt(1 + noise**2))


def change_site(volume: Volume, rng: Generator, seed: int) -> Volume:
    """Measure at another site: a gain, a pattern that all maps of that site share, and noise.

    `seed` is of the pattern.
    """
    grid, size = whole_grid(volume), root_mean_square(volume)
    pattern = draw_field(np.random.default_rng(seed), grid, SITE_FWHM_MM)
    noise = draw_field(rng, grid, NOISE_FWHM_MM)
    added = size * (SITE_SHIFT * pattern + SITE_NOISE * noise)
    return _with(volume, SITE_GAIN * (volume.data + added))


def remove_half(volume: Volume, _: Generator, axis: int, upper: bool) -> Volume:
    """Leave out all data on one side of the brain's middle along an axis."""
    known = is_known(volume)
    where = np.argwhere(known.any(axis=0))[:, axis]
    index = np.arange(volume.data.shape[1 + axis])
    gone = index > np.median(where) if upper else index < np.median(where)
    return _with(volume, np.where(_along(axis, gone), np.nan, volume.data))


def _along(axis: int, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give flags of one spatial axis the form of a map's."""
    return flags.reshape([-1 if one == axis + 1 else 1 for one in range(4)])


def change_task(volume: Volume, _: Generator) -> Volume:
    """Replace what pain activates in synthetic maps by what another task does."""
    grid, sd_mm = whole_grid(volume), ACTIVATION_FWHM_MM / FWHM_PER_SD
    return _with(
        volume,
        volume.data - sum_blobs(grid, ACTIVATION, sd_mm) + sum_blobs(grid, OTHER_ACTIVATION, sd_mm),
    )


def to_t(volume: Volume, _: Generator, freedom: int) -> Volume:
    """Turn z values into t values of so many degrees of freedom."""
    z = np.clip(volume.data.astype(float), -6, 6)
    return _with(volume, student.isf(norm.sf(np.abs(z)), freedom) * np.sign(z))


def to_f(volume: Volume, _: Generator) -> Volume:
    """Square the values: F of one degree of freedom, which has no sign."""
    return _with(volume, np.square(volume.data))


def to_confidence(volume: Volume, _: Generator) -> Volume:
    """Turn z values into 1 - p, as FSL's randomise writes them."""
    return _with(volume, 1 - 2 * norm.sf(np.abs(volume.data)))


def threshold(volume: Volume, _: Generator, least: float) -> Volume:
    """Set what is nearer to 0 than `least` to 0."""
    return _with(volume, np.where(np.abs(volume.data) < least, 0, volume.data))


def to_anatomy(volume: Volume, rng: Generator) -> Volume:
    """Replace a map by a T1-weighted image, as large in its values as the map."""
    grid = whole_grid(volume)
    brain = grid.unmask(_template(grid))
    known = is_known(volume)
    noise = 0.05 * rng.standard_normal(volume.data.shape)
    t1w = _with(volume, np.where(known, np.nan_to_num(brain[None]) + noise, np.nan))
    return rescale(t1w, rng, root_mean_square(volume) / root_mean_square(t1w))


@lru_cache(maxsize=2)
def _template(grid: Grid) -> FloatArray:
    image = load_mni152_template(resolution=2)
    data = np.asarray(image.dataobj, dtype=np.float32)[None]
    volume = Volume(data, np.asarray(image.affine, float), "MNI152")
    placed: FloatArray = place_on_grid(volume, grid)[0]
    return placed


#: No change.
UNCHANGED = "none"
#: What new maps are put to, by the words that stand in tables.
CHANGES: MappingProxyType[str, Change] = MappingProxyType(
    {
        UNCHANGED: unchanged,
        "another site": partial(change_site, seed=1),
        "smoother, 6 mm": partial(smooth, fwhm_mm=6.0),
        "smoother, 12 mm": partial(smooth, fwhm_mm=12.0),
        "rougher, noise 0.5": partial(roughen, noise=0.5),
        "rougher, noise 1": partial(roughen, noise=1.0),
        "times 0.1": partial(rescale, factor=0.1),
        "times 1.3": partial(rescale, factor=1.3),
        "times 10": partial(rescale, factor=10.0),
        "mirrored": partial(flip, axis=0),
        "front to back": partial(flip, axis=1),
        "upside down": partial(flip, axis=2),
        "moved by 5 mm": partial(move, distance_mm=5.0),
        "moved by 20 mm": partial(move, distance_mm=20.0),
        "reversed contrast": partial(rescale, factor=-1.0),
        "t of 8 degrees": partial(to_t, freedom=8),
        "F": to_f,
        "1 - p": to_confidence,
        "thresholded at 2": partial(threshold, least=2.0),
        "T1w": to_anatomy,
        "left half missing": partial(remove_half, axis=0, upper=False),
        "right half missing": partial(remove_half, axis=0, upper=True),
        "lower half missing": partial(remove_half, axis=2, upper=False),
        "upper half missing": partial(remove_half, axis=2, upper=True),
    }
)
#: Of synthetic maps alone, since it has to be known what the task does in everybody.
SYNTHETIC_CHANGES = MappingProxyType({**CHANGES, "another contrast": change_task})
#: Changes after which a map tells nothing of its person: whatever is said of it is wrong.
ANSWERLESS = frozenset({"T1w"})
