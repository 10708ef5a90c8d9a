"""Gates that a new scan must pass before its score is given."""

from dataclasses import dataclass

import numpy as np

from fmnet.data.volume import FloatArray
from fmnet.errors import BundleError, Fault

#: How many times below or above the range of the training scans a scale may lie.
SCALE_MARGIN = 2.0


@dataclass(frozen=True)
class Reference:
    """What the training scans looked like.

    Parameters
    ----------
    contrasts : tuple of str
        Name of each channel.
    scale_low, scale_high : tuple of float
        Smallest and largest root mean square of in-mask values, per channel, in the maps' units.
    n_scans : int
        How many scans that is.
    """

    contrasts: tuple[str, ...]
    scale_low: tuple[float, ...]
    scale_high: tuple[float, ...]
    n_scans: int

    def __post_init__(self) -> None:
        if not len(self.contrasts) == len(self.scale_low) == len(self.scale_high):
            raise BundleError(
                Fault(
                    "reference.json",
                    "limits that don't fit the contrasts",
                    "one lower and one upper limit per contrast",
                    "export the bundle again",
                )
            )


def image_scale(values: FloatArray) -> FloatArray:
    """Root mean square over known voxels: (..., V) to (...)."""
    scale: FloatArray = np.sqrt(np.nanmean(np.square(values), axis=-1))
    return scale


def fit_reference(values: FloatArray, contrasts: tuple[str, ...]) -> Reference:
    """Describe the training scans, values on the grid: (N, C, V)."""
    scale = image_scale(values)
    return Reference(
        contrasts,
        tuple(map(float, scale.min(axis=0))),
        tuple(map(float, scale.max(axis=0))),
        len(values),
    )


def scale_faults(values: FloatArray, reference: Reference, name: str) -> list[Fault]:
    """Describe channels whose values, (C, V), are far larger or smaller than in training."""
    faults = []
    for channel, contrast in enumerate(reference.contrasts):
        found = float(image_scale(values[channel]))
        low, high = reference.scale_low[channel], reference.scale_high[channel]
        if not low / SCALE_MARGIN <= found <= high * SCALE_MARGIN:
            faults.append(
                Fault(
                    name,
                    f"root mean square {found:.3g} in contrast '{contrast}'",
                    f"{low / SCALE_MARGIN:.3g} to {high * SCALE_MARGIN:.3g}, "
                    "twice the range of the training scans",
                    "check that the map has the same statistic and unit as the training maps",
                )
            )
    return faults
