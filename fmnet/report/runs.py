"""What the BOLD runs of a study were like, for ``metrics.json``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fmnet.bold.map_store import KEPT, MOTION, SCRUBBED
from fmnet.data.cohort import Cohort
from fmnet.data.store import StoredScan
from fmnet.inference.preparation import MAPS, SERIES

#: Of a scan's temporal SNR, three percentiles over voxels, the middle one.
MEDIAN = 1


def describe_runs(cohort: Cohort, is_series: bool, window_volumes: int) -> dict[str, Any]:
    """Say how runs were cleaned, how much was left of them, and how much people moved.

    Parameters
    ----------
    cohort : Cohort
        Of BOLD runs.
    is_series : bool
        Whether the network reads the cleaned series; else it reads maps that are made of them.
    window_volumes : int
        Volumes that it reads at a time; 0 for all of a scan's.

    Returns
    -------
    dict
        ``reads``, ``window_volumes``, ``maps`` as they were asked for, ``cleaning``, ``task``,
        ``space``, ``t_r`` in seconds; ``all`` and, in the order of labels, ``groups``: see
        `_summary`.
    """
    made_by, labels = cohort.listing.made_by or {}, cohort.listing.labels
    pairs = list(zip(cohort.scans, cohort.stored, strict=True))
    groups = [
        {"label": label} | _summary([pair for pair in pairs if pair[0].label == label])
        for label in (labels.negative, labels.positive)
    ]
    return {
        "reads": SERIES if is_series else MAPS,
        "window_volumes": window_volumes,
        "maps": list(made_by.get("maps", ())),
        "cleaning": dict(made_by.get("cleaning", {})),
        "task": cohort.scans[0].scan_id.rpartition("_task-")[2],
        "space": cohort.scans[0].space,
        "t_r": cohort.series[0].t_r,
        "all": _summary(pairs),
        "groups": groups,
    }


def _summary(pairs: Sequence[tuple[Any, StoredScan]]) -> dict[str, Any]:
    """Describe some scans.

    Returns
    -------
    dict
        ``n_scans``, ``n_runs``; median, smallest and largest: ``volumes``, left of a scan, and
        ``share_scrubbed``; mean and SD: ``mean_fd_mm``, over scans of which it is known, and
        ``tsnr``, of a scan's median voxel. None where nothing is known.
    """
    stored = [one for _, one in pairs]
    return {
        "n_scans": len(pairs),
        "n_runs": sum(len(scan.files) for scan, _ in pairs),
        "volumes": _spread([one.facts.get(KEPT) for one in stored]),
        "share_scrubbed": _spread([one.facts.get(SCRUBBED) for one in stored]),
        "mean_fd_mm": _mean_sd([one.facts.get(MOTION) for one in stored]),
        "tsnr": _mean_sd([None if one.tsnr is None else one.tsnr[MEDIAN] for one in stored]),
    }


def _spread(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return [float(np.median(known)), min(known), max(known)] if known else None


def _mean_sd(values: Sequence[float | None]) -> list[float | None] | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return None
    return [float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None]
