"""Gates that a new scan must pass before its score is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnet.data.values import has_usual_unit, image_scale
from fmnet.data.volume import FloatArray
from fmnet.errors import BundleError, Fault
from fmnet.inference.bundle_files import COUNT, NON_NEGATIVE, TEXT, list_of, optional, read_fields

#: How many times below or above the range of the training scans a scale may lie.
SCALE_MARGIN = 2.0
SAME_UNIT = "check that the map has the same statistic and unit as the training maps"
#: How many times the motion of the worst training run a run may show.
MOTION_MARGIN = 1.5


@dataclass(frozen=True)
class Reading:
    """What one gate measured of one scan.

    Parameters
    ----------
    gate : str
        Its name, in words that stand in tables: ``orientation``, ``scale of pain``.
    value, low, high : float or None
        What was measured, and between which limits it has to lie; None for no limit, and for what
        can't be measured.
    unit : str
        Of all three; empty for none.
    false_alarms : float or None
        Fraction of people like those of training who fail it; None where that isn't known.
    fault : Fault or None
        Why it failed, as it is told; None where it passed.
    """

    gate: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    false_alarms: float | None = None
    fault: Fault | None = None

    @property
    def is_passed(self) -> bool:
        """Tell whether the scan may be scored as far as this gate goes."""
        return self.fault is None


@dataclass(frozen=True)
class Reference:
    """What the training scans looked like.

    ``scale_low`` and ``scale_high`` are the smallest and largest root mean square of in-mask
    values, per channel, in the maps' units, of ``n_scans`` scans; ``mean_fd_high_mm`` the largest
    mean framewise displacement of a run, None for maps, and if nobody knows.
    """

    contrasts: tuple[str, ...]
    scale_low: tuple[float, ...]
    scale_high: tuple[float, ...]
    n_scans: int
    mean_fd_high_mm: float | None = None

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
    others = {"n_scans": COUNT, "mean_fd_high_mm": optional(NON_NEGATIVE)}
    fields = read_fields(path, kinds | others)
    contrasts, low, high = (tuple(fields[name]) for name in kinds)
    return Reference(contrasts, low, high, fields["n_scans"], fields.get("mean_fd_high_mm"))


def fit_reference(
    values: FloatArray, contrasts: tuple[str, ...], mean_fd_mm: Sequence[float | None] = ()
) -> Reference:
    """Describe the training scans.

    Scans in what looks like another unit are passed over: one of them would open the gate to all.
    `values` are (N, C, V) maps on the grid; for series, one map each, see `temporal_sd`.
    `mean_fd_mm` of each run is None or NaN where it isn't known.
    """
    scales = np.stack([image_scale(scan) for scan in values])
    usual = has_usual_unit(scales)
    motion = [mean for mean in mean_fd_mm if mean is not None and np.isfinite(mean)]
    return Reference(
        contrasts,
        tuple(map(float, scales.min(axis=0, where=usual, initial=np.inf))),
        tuple(map(float, scales.max(axis=0, where=usual, initial=0.0))),
        len(values),
        float(max(motion)) if motion else None,
    )


def temporal_sd(values: FloatArray) -> FloatArray:
    """Take the standard deviation in time of a cleaned series, (T, V), as one map: (1, V)."""
    sd: FloatArray = np.std(values, axis=0, keepdims=True)
    return sd


def scale_readings(
    values: FloatArray, reference: Reference, name: str, action: str = SAME_UNIT
) -> tuple[Reading, ...]:
    """Measure how large values, (C, V), are, and describe those that never are so in training."""
    readings = []
    for channel, contrast in enumerate(reference.contrasts):
        found = float(image_scale(values[channel]))
        low, high = reference.scale_low[channel], reference.scale_high[channel]
        least, most = low / SCALE_MARGIN, high * SCALE_MARGIN
        fault = None
        if not least <= found <= most:
            said = f"root mean square {found:.3g} in contrast '{contrast}'"
            accepted = f"{least:.3g} to {most:.3g}, twice the range of the training scans"
            fault = Fault(name, said, accepted, action)
        readings.append(Reading(f"scale of {contrast}", found, least, most, fault=fault))
    return tuple(readings)


def motion_fault(mean_fd_mm: float | None, reference: Reference, name: str) -> Fault | None:
    """Describe a run with far more head motion than any training run; None if it has not."""
    if reference.mean_fd_high_mm is None:
        return None
    limit = reference.mean_fd_high_mm * MOTION_MARGIN
    accepted = f"at most {limit:.3g} mm, {MOTION_MARGIN:g} times the worst training run"
    if mean_fd_mm is None or np.isnan(mean_fd_mm):
        action = "give confounds with a column framewise_displacement, as fMRIPrep writes them"
        return Fault(name, "head motion that nobody states", accepted, action)
    if mean_fd_mm <= limit:
        return None
    found = f"a mean framewise displacement of {mean_fd_mm:.3g} mm"
    return Fault(name, found, accepted, "use a run with less motion")


def _refuse(found: str) -> BundleError:
    accepted = "a finite lower and upper limit for each contrast"
    return BundleError(Fault("reference.json", found, accepted, "train and export again"))
