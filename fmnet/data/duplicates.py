"""The same image under two names, byte for byte or converted on the way."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fmnet.data.scans import Scan
from fmnet.data.store import StoredScan
from fmnet.data.tables import subject_key
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault

#: Correlation over voxels above which two people's maps are taken for one. On real maps people
#: reach 0.4 (percent signal change) to 0.7 (z maps smoothed by 12 mm); a copy on a 3 mm grid, 0.98.
SAME_IMAGE = 0.97
#: About how many voxels are compared.
N_COMPARED = 20_000


def duplicate_faults(scans: Sequence[Scan], stored: dict[str, StoredScan]) -> list[Fault]:
    """Find images that occur twice; which of the two names is right can't be known.

    Parameters
    ----------
    scans : sequence of Scan
        All scans of a cohort.
    stored : dict
        By scan id, as far as they could be read.
    """
    known = [scan for scan in scans if scan.scan_id in stored]
    faults = _identical(known, stored)
    named = {fault.where for fault in faults}
    alike = _alike(known, stored)
    return [*faults, *(fault for fault in alike if fault.where not in named)]


def _identical(scans: list[Scan], stored: dict[str, StoredScan]) -> list[Fault]:
    owners: dict[str, list[tuple[Scan, str]]] = defaultdict(list)
    for scan in scans:
        hashes = stored[scan.scan_id].values_sha256
        for channel, digest in enumerate(hashes):
            owners[digest].append((scan, scan.source(channel)))
    faults = [
        _fault(scan, file, [other for _, other in same if other != file] or [file])
        for same in owners.values()
        if len(same) > 1
        for scan, file in same
    ]
    return list(dict.fromkeys(faults))  # of BOLD, an image and all of its maps say the same


def _alike(scans: list[Scan], stored: dict[str, StoredScan]) -> list[Fault]:
    """Find maps of different people that are one image in another unit, type or grid."""
    # maps from BOLD (amplitudes, say) resemble each other from person to person far more
    scans = [scan for scan in scans if not scan.is_series]
    people = np.array([subject_key(scan.participant_id) for scan in scans])
    faults = []
    for channel in range(len(scans[0].files) if scans else 0):
        values = np.stack([_sample(stored[scan.scan_id], channel) for scan in scans])
        alike = (correlations(values) > SAME_IMAGE) & (people[:, None] != people)
        for row in np.flatnonzero(alike.any(axis=1)):
            others = [str(scans[k].files[channel]) for k in np.flatnonzero(alike[row])]
            faults.append(_fault(scans[row], str(scans[row].files[channel]), others))
    return faults


def correlations(values: FloatArray) -> NDArray[np.float64]:
    """Correlate maps, (N, V), NaN where missing, with one another: (N, N)."""
    known = np.isfinite(values)
    mean = np.nanmean(values, axis=1, keepdims=True)
    centred = np.where(known, values - mean, 0).astype(np.float64)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    centred /= norm
    return np.asarray(centred @ centred.T)


def _sample(stored: StoredScan, channel: int) -> FloatArray:
    values = stored.values()[channel]
    # a copy: a part of what is mapped would keep one file per scan open
    return np.array(values[:: max(1, len(values) // N_COMPARED)], dtype=np.float32)


def _fault(scan: Scan, file: str, others: list[str]) -> Fault:
    return Fault(
        f"{scan.scan_id} ({file})",
        f"the same image as {', '.join(others)}",
        "a different image for every subject, scan and contrast",
        "find out whose image it is and correct the table or the files",
        scan.participant_id,
    )
