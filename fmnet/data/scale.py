"""How large a map's values are, which shows a map in another unit than the others."""

import numpy as np
from numpy.typing import NDArray

from fmnet.data.listing import Listing
from fmnet.data.maps import StoredScan
from fmnet.data.scans import Scan
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault

#: How many times larger or smaller than the median a scale may be. Real maps of one unit stay
#: within a factor of 3; percent signal change against its fraction, the usual mistake, is 100.
UNIT_FACTOR = 20.0


def image_scale(values: FloatArray) -> NDArray[np.float64]:
    """Root mean square over known voxels: (..., V) to (...)."""
    # The square of a large float32 is infinite.
    return np.asarray(np.sqrt(np.nanmean(np.square(values, dtype=np.float64), axis=-1)))


def has_usual_unit(scales: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which scales, (N, C), lie within `UNIT_FACTOR` of their channel's median."""
    median = np.median(scales, axis=0)
    return np.asarray((scales >= median / UNIT_FACTOR) & (scales <= median * UNIT_FACTOR))


def unit_faults(listing: Listing, stored: dict[str, StoredScan]) -> list[Fault]:
    """Find maps far larger or smaller than those of the same contrast in the rest of a cohort.

    Parameters
    ----------
    listing : Listing
        All scans of the cohort.
    stored : dict
        By scan id, as far as they could be read.
    """
    scans = [scan for scan in listing.scans if scan.scan_id in stored]
    if not scans:
        return []
    scales = np.stack([image_scale(stored[scan.scan_id].values()) for scan in scans])
    median = np.median(scales, axis=0)
    return [
        _fault(scans[row], channel, listing.contrasts[channel], scales[row, channel], median)
        for row, channel in np.argwhere(~has_usual_unit(scales))
    ]


def _fault(
    scan: Scan, channel: int, contrast: str, found: float, median: NDArray[np.float64]
) -> Fault:
    usual = median[channel]
    return Fault(
        f"{scan.scan_id} ({scan.source(channel)})",
        f"root mean square {found:.3g} where the median of contrast '{contrast}' is {usual:.3g}",
        f"{usual / UNIT_FACTOR:.3g} to {usual * UNIT_FACTOR:.3g}",
        "give the map in the unit of the others, or leave the person out; another unit?",
        scan.participant_id,
    )
