"""Gates that a new scan must pass before its score is given."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnet.data.scale import has_usual_unit, image_scale
from fmnet.data.volume import FloatArray
from fmnet.deploy.fields import COUNT, NON_NEGATIVE, TEXT, list_of, read_fields
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
            raise _refuse("limits that don't fit the contrasts")
        limits = zip(self.scale_low, self.scale_high, strict=True)
        if not all(0 <= low <= high < np.inf for low, high in limits):
            raise _refuse(f"limits from {self.scale_low} to {self.scale_high}")


def read_reference(path: Path) -> Reference:
    """Read a reference that was written as JSON.

    Raises
    ------
    BundleError
        If the file can't be read, or holds something else.
    """
    limits = list_of(NON_NEGATIVE)
    kinds = {"contrasts": list_of(TEXT), "scale_low": limits, "scale_high": limits}
    fields = read_fields(path, kinds | {"n_scans": COUNT})
    contrasts, low, high = (tuple(fields[name]) for name in kinds)
    return Reference(contrasts, low, high, fields["n_scans"])


def fit_reference(values: FloatArray, contrasts: tuple[str, ...]) -> Reference:
    """Describe the training scans, values on the grid: (N, C, V).

    Scans in what looks like another unit are passed over: one of them would open the gate to all.
    """
    scales = np.stack([image_scale(scan) for scan in values])
    usual = has_usual_unit(scales)
    return Reference(
        contrasts,
        tuple(map(float, scales.min(axis=0, where=usual, initial=np.inf))),
        tuple(map(float, scales.max(axis=0, where=usual, initial=0.0))),
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


def _refuse(found: str) -> BundleError:
    accepted = "a finite lower and upper limit for each contrast"
    return BundleError(Fault("reference.json", found, accepted, "train and export again"))
