"""Compare the maps of a cohort with one another: copies, one person twice, units, statistics."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student_t

from fmnet.data.listing import Listing
from fmnet.data.scans import Scan, StoredScan
from fmnet.data.tables import subject_key
from fmnet.data.values import (
    UNIT_FACTOR,
    UNSAID_STAT,
    canonical,
    has_usual_unit,
    image_scale,
    name_stat,
    same_stat,
    stat_fault,
    usual_stat,
)
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault

#: Correlation over voxels above which two people's maps are taken for one. On real maps people
#: reach 0.4 (percent signal change) to 0.7 (z maps smoothed by 12 mm); a copy on a 3 mm grid, 0.98.
SAME_IMAGE = 0.97
#: About how many voxels are compared.
N_COMPARED = 20_000
#: About how many where it is asked whether two people are one; a correlation is known to 0.014.
N_RANKED = 5_000
#: Rank correlation, beyond what all maps of their group share, from which two people may be one.
#: Sessions and twins come to 0.4 or so; unrelated people of real cohorts to 0.2, or 0.54 where maps
#: are smoothed by a further 12 mm.
SAME_PERSON = 0.6
#: How many times as alike (Fisher's z) one person's maps have to be as any two people's.
ISOLATED = 2.0
#: Pairs as alike that may be expected among unrelated people of the same cohort.
EXPECTED = 0.1
#: Under how many names one person is looked for, and how many other people that takes.
N_NAMES, N_OTHERS = 6, 4


@dataclass(frozen=True)
class LookAlikes:
    """People whose maps are so alike that they may be one person under several names.

    ``people`` are two or more participant ids, ``labels`` the group of each, several joined by
    ``+``. ``correlation`` is the smallest among them, of ranks, beyond what all maps of a group
    share; ``next_correlation`` the largest of any of them with anybody else.
    """

    people: tuple[str, ...]
    labels: tuple[str, ...]
    correlation: float
    next_correlation: float


def duplicate_faults(scans: Sequence[Scan], stored: dict[str, StoredScan]) -> list[Fault]:
    """Find images that occur twice; which of the two names is right can't be known.

    `stored` holds scans by id, as far as they could be read.
    """
    known = [scan for scan in scans if scan.scan_id in stored]
    owners: dict[str, list[tuple[Scan, str]]] = defaultdict(list)
    for scan in known:
        for channel, digest in enumerate(stored[scan.scan_id].values_sha256):
            owners[digest].append((scan, scan.source(channel)))
    identical = [
        _duplicate_fault(scan, file, [other for _, other in same if other != file] or [file])
        for same in owners.values()
        if len(same) > 1
        for scan, file in same
    ]
    named = {fault.where for fault in identical}
    alike = [fault for fault in _alike(known, stored) if fault.where not in named]
    return [*dict.fromkeys(identical), *alike]  # of BOLD, an image and all its maps say the same


def _alike(scans: list[Scan], stored: dict[str, StoredScan]) -> list[Fault]:
    """Find maps of different people that are one image in another unit, type or grid."""
    # maps from BOLD (amplitudes, say) resemble each other from person to person far more
    scans = [scan for scan in scans if not scan.is_series]
    keys = np.array([subject_key(scan.participant_id) for scan in scans])
    faults = []
    for channel in range(len(scans[0].files) if scans else 0):
        values = np.stack([_sample(stored[scan.scan_id], channel) for scan in scans])
        alike = (correlations(values) > SAME_IMAGE) & (keys[:, None] != keys)
        for row in np.flatnonzero(alike.any(axis=1)):
            others = [str(scans[k].files[channel]) for k in np.flatnonzero(alike[row])]
            faults.append(_duplicate_fault(scans[row], str(scans[row].files[channel]), others))
    return faults


def look_alikes(scans: Sequence[Scan], stored: dict[str, StoredScan]) -> list[LookAlikes]:
    """Find people who may be one person under several names, scanned or processed twice.

    Maps are ranked over voxels, so that neither unit nor a few large values count, and what all
    maps of a group share is taken out: unrelated people then correlate around 0. People are called
    alike if their correlations are above `SAME_PERSON`, `ISOLATED` times as large as any with
    somebody else, and larger than correlations of unrelated people get by chance. That chance is
    of vectors in as many dimensions as give the SD of this cohort's correlations; it is taken
    from the middle of their distribution, which stays as it is if everybody is there twice. Each
    contrast is looked at, and the mean of their correlations.
    """
    ids = {subject_key(scan.participant_id): scan.participant_id for scan in scans}
    owners = [subject_key(scan.participant_id) for scan in scans]
    keys, subject = np.unique(owners, return_inverse=True)
    if len(keys) < 2 + N_OTHERS:
        return []
    labels = np.array([scan.label for scan in scans])
    views = []
    for channel in range(len(stored[scans[0].scan_id].values())):
        values = [_sample(stored[scan.scan_id], channel, N_RANKED) for scan in scans]
        views.append(_beyond_group(np.stack(values), labels))
    if len(views) > 1:
        views.append(np.mean(views, axis=0))
    found: dict[tuple[int, ...], tuple[float, float]] = {}
    for view in views:
        for members, between in _isolated(_by_subject(view, subject), len(views)).items():
            found[members] = max(found.get(members, between), between)
    own = [
        "+".join(sorted({scan.label for scan, k in zip(scans, subject, strict=True) if k == row}))
        for row in range(len(keys))
    ]
    return [
        LookAlikes(tuple(ids[keys[k]] for k in members), tuple(own[k] for k in members), *between)
        for members, between in sorted(found.items())
        if not any(set(members) < set(larger) for larger in found)
    ]


def _beyond_group(values: FloatArray, labels: NDArray[np.str_]) -> NDArray[np.float64]:
    """Correlate the ranks of maps, (N, V), after the mean of each group was taken out: (N, N)."""
    ranks = rankdata(values, axis=1, nan_policy="omit")
    sd = np.nanstd(ranks, axis=1, keepdims=True)
    ranks = (ranks - np.nanmean(ranks, axis=1, keepdims=True)) / np.where(sd > 0, sd, 1)
    known = np.isfinite(ranks)
    for label in np.unique(labels):
        own = labels == label
        total = np.where(known[own], ranks[own], 0).sum(axis=0)
        ranks[own] -= total / np.maximum(known[own].sum(axis=0), 1)
    left = np.where(known, ranks, 0).astype(np.float32)
    norm = np.linalg.norm(left, axis=1, keepdims=True)
    left /= np.where(norm > 0, norm, 1)
    return np.asarray(left @ left.T, dtype=np.float64)


def _by_subject(scans: NDArray[np.float64], subject: NDArray[np.intp]) -> NDArray[np.float64]:
    """Take the largest correlation of any scans of two subjects; -1 of one with themselves."""
    order = np.argsort(subject, kind="stable")
    firsts = np.flatnonzero(np.diff(subject[order], prepend=-1))
    rows = np.maximum.reduceat(scans[np.ix_(order, order)], firsts, axis=0)
    largest: NDArray[np.float64] = np.maximum.reduceat(rows, firsts, axis=1)
    np.fill_diagonal(largest, -1)
    return largest


def _isolated(
    alike: NDArray[np.float64], n_views: int
) -> dict[tuple[int, ...], tuple[float, float]]:
    """Find the groups in a matrix of correlations (see `look_alikes`), with both correlations."""
    n = len(alike)
    others = alike[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    low, high = np.quantile(others, [0.16, 0.84], axis=1)
    sd = np.maximum((high - low) / 2, np.subtract(*np.quantile(others, [0.84, 0.16])) / 2)
    found: dict[tuple[int, ...], tuple[float, float]] = {}
    for row in np.flatnonzero(alike.max(axis=1) >= SAME_PERSON):
        nearest = np.argsort(-alike[row])
        for size in range(2, min(N_NAMES, n - N_OTHERS) + 1):
            members = np.sort(np.append(row, nearest[: size - 1]))
            inner = alike[np.ix_(members, members)][np.triu_indices(size, 1)].min()
            if inner < SAME_PERSON:
                break
            outer = np.delete(alike[members], members, axis=1).max()
            if np.arctanh(min(inner, 0.999)) >= ISOLATED * np.arctanh(np.clip(outer, 0, 0.999)):
                chance = _chance(inner, sd[members].max()) * n * (n - 1) / 2 * n_views
                if chance < EXPECTED:
                    found[tuple(map(int, members))] = (float(inner), float(outer))
                break
    return found


def _chance(correlation: float, sd: float) -> float:
    """How often unrelated vectors correlate as much, whose correlations have that SD."""
    n_dimensions = max(1 / sd**2, 2.5)
    known = min(correlation, 0.999)
    t = known * np.sqrt((n_dimensions - 1) / (1 - known**2))
    return float(student_t.sf(t, n_dimensions - 1))


def correlations(values: FloatArray) -> NDArray[np.float64]:
    """Correlate maps, (N, V), NaN where missing, with one another: (N, N)."""
    known = np.isfinite(values)
    mean = np.nanmean(values, axis=1, keepdims=True)
    centred = np.where(known, values - mean, 0).astype(np.float64)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    centred /= norm
    return np.asarray(centred @ centred.T)


def _sample(stored: StoredScan, channel: int, n_voxels: int = N_COMPARED) -> FloatArray:
    values = stored.values()[channel]
    # a copy: a part of what is mapped would keep one file per scan open
    return np.array(values[:: max(1, len(values) // n_voxels)], dtype=np.float32)


def _duplicate_fault(scan: Scan, file: str, others: list[str]) -> Fault:
    return Fault(
        f"{scan.scan_id} ({file})",
        f"the same image as {', '.join(others)}",
        "a different image for every subject, scan and contrast",
        "find out whose image it is and correct the table or the files",
        scan.participant_id,
    )


def unit_faults(listing: Listing, stored: dict[str, StoredScan]) -> list[Fault]:
    """Find maps far larger or smaller than those of the same contrast in the rest of a cohort."""
    scans = [scan for scan in listing.scans if scan.scan_id in stored]
    if not scans:
        return []
    scales = np.stack([image_scale(stored[scan.scan_id].values()) for scan in scans])
    median = np.median(scales, axis=0)
    faults = []
    for row, channel in np.argwhere(~has_usual_unit(scales)):
        scan, usual, contrast = scans[row], median[channel], listing.contrasts[channel]
        found = f"root mean square {scales[row, channel]:.3g} where the median of contrast "
        faults.append(
            Fault(
                f"{scan.scan_id} ({scan.source(channel)})",
                f"{found}'{contrast}' is {usual:.3g}",
                f"{usual / UNIT_FACTOR:.3g} to {usual * UNIT_FACTOR:.3g}",
                "give the map in the unit of the others, or leave the person out; another unit?",
                scan.participant_id,
            )
        )
    return faults


def stat_faults(
    scans: Sequence[Scan], stats: Mapping[str, Sequence[str]], listed: str
) -> list[Fault]:
    """Find maps whose header says another statistic than their listing, or than most say.

    `stats` holds what the header of each channel says, by scan id, as far as they could be read;
    `listed` is the listing's statistic, ``n/a`` if it doesn't say.
    """
    said = [
        stat or canonical(name_stat(file))
        for scan in scans
        for file, stat in zip(scan.files, stats.get(scan.scan_id, ()), strict=False)
    ]
    usual = usual_stat(said, listed)
    faults = []
    for scan in scans:
        for file, stat in zip(scan.files, stats.get(scan.scan_id, ()), strict=False):
            where = f"{scan.scan_id} ({file})"
            named = name_stat(file)
            fault = stat_fault(stat, usual, where) or stat_fault(stat, named, where)
            if fault is None and named and listed != UNSAID_STAT and not same_stat(named, listed):
                found, action = f"a map whose name says '{named}'", "correct the table or the name"
                fault = Fault(where, found, f"'{listed}', as listed", action)
            if fault is not None:
                faults.append(replace(fault, participant_id=scan.participant_id))
    return faults
