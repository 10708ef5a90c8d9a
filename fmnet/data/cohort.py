"""`Cohort`: scans that passed every check, and those that were left out, with the reason."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.cohort_checks import (
    LookAlikes,
    duplicate_faults,
    look_alikes,
    stat_faults,
    unit_faults,
)
from fmnet.data.grid import Grid
from fmnet.data.listing import Listing
from fmnet.data.nifti import notes_on
from fmnet.data.scans import (
    FILE_SEPARATOR,
    SAME_T_R,
    MapsOnGrid,
    Scan,
    Series,
    StoredScan,
)
from fmnet.data.store import ArrayStore
from fmnet.data.tables import subject_key
from fmnet.data.values import usual_stat
from fmnet.data.volume import FloatArray
from fmnet.errors import CohortError, Fault, VolumeError
from fmnet.progress.show import track


@dataclass(frozen=True, eq=False)
class Cohort:
    """Checked scans with labels, ready for folds.

    ``stored`` says where the values of ``scans`` lie, in the same order, on ``grid``; ``listing``
    is what they were chosen from; ``left_out`` says why each other subject is not here.
    ``set_aside`` are checked scans of subjects in the lock-box, which nothing may look at.
    ``alike``, also of the lock-box, are those who may be one subject under several names and are
    not in one family.
    """

    scans: tuple[Scan, ...]
    stored: tuple[StoredScan, ...]
    listing: Listing
    grid: Grid
    left_out: tuple[Fault, ...] = ()
    set_aside: tuple[Scan, ...] = ()
    alike: tuple[LookAlikes, ...] = ()

    @property
    def labels(self) -> NDArray[np.int64]:
        """1 for the positive class, 0 for the negative: shape (N,); all 0 where there are none."""
        if not self.listing.labels.is_given:
            return np.zeros(len(self.scans), dtype=np.int64)
        positive = self.listing.labels.positive
        return np.array([int(scan.label == positive) for scan in self.scans], dtype=np.int64)

    @property
    def strata(self) -> list[str]:
        """Of which kind each scan is, (N,), so that folds have alike: its label or its outcome."""
        if self.listing.labels.is_given:
            return [str(label) for label in self.labels]
        return [scan.stratum for scan in self.scans]

    @property
    def participant_ids(self) -> list[str]:
        """Whose scan it is, one per scan."""
        return [scan.participant_id for scan in self.scans]

    @property
    def unit_of(self) -> dict[str, str]:
        """Name who belongs together, by participant id: the family, or else the person."""
        families = self.covariate("family")
        return {
            subject: f"family-{family}" if family else subject
            for subject, family in zip(self.participant_ids, families, strict=True)
        }

    @property
    def hashes(self) -> list[str]:
        """Hashes of all source files, scan by scan."""
        return [digest for stored in self.stored for digest in stored.source_sha256]

    @property
    def series(self) -> tuple[Series, ...]:
        """Time series, one per scan; none if the scans are maps."""
        return tuple(stored.series for stored in self.stored if stored.series is not None)

    def subset(self, rows: NDArray[np.intp]) -> "Cohort":
        """Keep the scans in these rows; the account of everybody else stays with the whole."""
        return replace(
            self,
            scans=tuple(self.scans[row] for row in rows),
            stored=tuple(self.stored[row] for row in rows),
        )

    def covariate(self, column: str) -> list[str]:
        """Look up a column of the participants table, one text per scan, empty if missing."""
        values = _covariate(self.listing, column)
        return [values.get(subject_key(subject), "") for subject in self.participant_ids]

    def values(self) -> FloatArray:
        """Load the in-mask values of all scans: (N, C, V) float32, NaN where missing."""
        first = self.stored[0].values()
        values: FloatArray = np.empty((len(self.stored), *first.shape), first.dtype)
        for row, stored in enumerate(self.stored):  # one by one: each is an open file meanwhile
            values[row] = stored.values()
        return values

    def table(self) -> pd.DataFrame:
        """Account for every person and scan: used, in the lock-box, or left out and why."""
        used = {scan.scan_id: "yes" for scan in self.scans}
        used |= {scan.scan_id: "lock-box" for scan in self.set_aside}
        # as they were studied: a negative control shuffles them
        labels = {scan.scan_id: scan.label for scan in (*self.scans, *self.set_aside)}
        outcomes = {
            scan.scan_id: [
                (f"outcome_{role}", "" if np.isnan(value) else f"{value:.12g}")
                for role, value in scan.outcome
            ]
            for scan in (*self.scans, *self.set_aside)
        }
        rows = [
            {
                "participant_id": scan.participant_id,
                "scan_id": scan.scan_id,
                "label": labels.get(scan.scan_id, scan.label),
                "used": used.get(scan.scan_id, "no"),
                "reason": "" if scan.scan_id in used else self._reason(scan.participant_id),
                "files": FILE_SEPARATOR.join(str(file.absolute()) for file in scan.files),
                "space": scan.space,
            }
            | dict(outcomes.get(scan.scan_id, ()))
            for scan in self.listing.scans
        ]
        listed = {subject_key(row["participant_id"]) for row in rows}
        others = {
            subject_key(fault.participant_id): fault.participant_id for fault in self.left_out
        }
        rows += [
            {"participant_id": subject, "used": "no", "reason": self._reason(subject)}
            for key, subject in sorted(others.items())
            if key not in listed
        ]
        table = pd.DataFrame(rows)
        stored = dict(zip((scan.scan_id for scan in self.scans), self.stored, strict=True))
        table["source_sha256"] = [
            ",".join(stored[name].source_sha256) if name in stored else ""
            for name in table["scan_id"]
        ]
        table["file_grid"] = [
            FILE_SEPARATOR.join(dict.fromkeys(stored[name].file_grids)) if name in stored else ""
            for name in table["scan_id"]
        ]
        notes = {scan.scan_id: self._notes(scan) for scan in self.scans}
        table["notes"] = [notes.get(name, "") for name in table["scan_id"]]
        return table.fillna("")

    def _notes(self, scan: Scan) -> str:
        notes = {note for file in scan.files if (note := notes_on(file))}
        key = subject_key(scan.participant_id)
        for group in self.alike:
            others = [subject for subject in group.people if subject_key(subject) != key]
            if len(others) < len(group.people):
                notes.add(f"as alike to {', '.join(others)} as if both were one person")
        return "; ".join(sorted(notes))

    def _reason(self, participant_id: str) -> str:
        key = subject_key(participant_id)
        faults = [one for one in self.left_out if subject_key(one.participant_id) == key]
        return " | ".join(map(str, faults))


def relabel(cohort: Cohort, labels: NDArray[np.int64]) -> Cohort:
    """Give scans other labels, 0 or 1: (N,)."""
    names = cohort.listing.labels.negative, cohort.listing.labels.positive
    pairs = zip(cohort.scans, labels, strict=True)
    return replace(cohort, scans=tuple(replace(scan, label=names[own]) for scan, own in pairs))


def open_cohort(listing: Listing, store: ArrayStore[Scan, StoredScan], n_jobs: int = 1) -> Cohort:
    """Decode every scan once and check the cohort as a whole.

    `n_jobs` threads read scans that the store doesn't know yet; each holds one scan's maps in
    memory.

    Raises
    ------
    CohortError
        With all faults; those that leaving people out cures are passed over if so asked.
    StoreError
        If the store can't be written.
    """
    everybody, listing = listing, replace(listing, scans=listing.studied)
    stored, faults = _store_all(listing, store, n_jobs)
    faults = [*listing.faults, *faults, *duplicate_faults(listing.scans, stored)]
    faults += unit_faults(listing, stored)
    stats = {name: one.stats for name, one in stored.items()}
    faults += stat_faults(listing.scans, stats, listing.stat)
    if all(said for scan in listing.scans for said in stats.get(scan.scan_id) or ("",)):
        said = [stat for of_scan in stats.values() for stat in of_scan]
        listing = replace(listing, stat=usual_stat(said, listing.stat))
    faults += t_r_faults(listing.scans, stored)
    excluded = {subject_key(fault.participant_id) for fault in faults if fault.participant_id}
    if listing.on_fault == "exclude":
        scans = [scan for scan in listing.scans if subject_key(scan.participant_id) not in excluded]
        fatal = [fault for fault in faults if not fault.participant_id]
    else:
        scans, fatal = list(listing.scans), faults
    if not fatal and (lost := _class_faults(scans, listing)):
        fatal = [*lost, *faults]
    if not fatal and listing.check is not None:
        fatal = list(listing.check(scans))
    if fatal := [*fatal, *_site_faults(scans, listing)]:
        raise CohortError(fatal)
    left_out = (*(fault for fault in faults if fault.participant_id), *listing.passed_over)
    cohort = Cohort(
        tuple(scans),
        tuple(stored[scan.scan_id] for scan in scans),
        replace(_with_facts(listing, scans, stored), scans=everybody.scans),
        store.grid,
        left_out,
    )
    unit_of, alike = cohort.unit_of, look_alikes(scans, stored)
    in_families = (len({unit_of[subject] for subject in one.people}) == 1 for one in alike)
    alike = [one for one, is_family in zip(alike, in_families, strict=True) if not is_family]
    return replace(cohort, alike=tuple(alike))


def read_unlabelled(scans: Sequence[Scan], grid: Grid) -> tuple[FloatArray, tuple[str, ...]]:
    """Read maps of people of whom no label is asked.

    Returns
    -------
    tuple
        Values, (P, C, V), NaN where one is missing, and the SHA-256 of the content of each file.

    Raises
    ------
    CohortError
        With all faults of all maps, and those of one person under two names.
    """
    stored: dict[str, StoredScan] = {}
    faults: list[Fault] = []
    with tempfile.TemporaryDirectory(prefix="fmnet-unlabelled-") as folder:
        store = ArrayStore(Path(folder), MapsOnGrid(grid))
        for scan, outcome in zip(scans, store.add_all(scans), strict=True):
            if isinstance(outcome, VolumeError):
                faults += outcome.faults
            else:
                stored[scan.scan_id] = outcome
        # one person's map under two names could be learned by heart
        if faults := [*faults, *duplicate_faults(list(scans), stored)]:
            raise CohortError(faults)
        values = np.stack([np.array(stored[scan.scan_id].values()) for scan in scans])
    return values, tuple(one for scan in scans for one in stored[scan.scan_id].source_sha256)


def _with_facts(listing: Listing, scans: Sequence[Scan], stored: dict[str, StoredScan]) -> Listing:
    """Add what the scans state of themselves to the table of participants, unless it is there.

    Of several scans of one subject the mean counts.
    """
    rows = [
        {"key": subject_key(scan.participant_id)} | dict(stored[scan.scan_id].facts)
        for scan in scans
    ]
    found = pd.DataFrame(rows).groupby("key").mean()
    table = listing.participants.copy()
    keys = table["participant_id"].map(subject_key)
    for name in found.columns.difference(table.columns, sort=False):
        numbers = keys.map(found[name])
        table[name] = ["" if np.isnan(number) else f"{number:.6g}" for number in numbers]
    return replace(listing, participants=table) if len(found.columns) else listing


def _covariate(listing: Listing, column: str) -> dict[str, str]:
    """Map subject keys to the values of a column of the participants table."""
    table = listing.participants
    if column not in table:
        return {}
    return dict(zip(table["participant_id"].map(subject_key), table[column].map(str), strict=True))


def _store_all(
    listing: Listing, store: ArrayStore[Scan, StoredScan], n_jobs: int
) -> tuple[dict[str, StoredScan], list[Fault]]:
    stored: dict[str, StoredScan] = {}
    faults: list[Fault] = []
    outcomes = store.add_all(listing.scans, n_jobs)
    shown = track(outcomes, "reading scans", len(listing.scans))
    for scan, outcome in zip(listing.scans, shown, strict=True):
        if isinstance(outcome, VolumeError):
            subject = {"participant_id": scan.participant_id}
            faults += [
                replace(fault, where=f"{scan.scan_id} ({fault.where})", **subject)
                for fault in outcome.faults
            ]
        else:
            stored[scan.scan_id] = outcome
    return stored, faults


def _class_faults(scans: list[Scan], listing: Listing) -> list[Fault]:
    labels, present = listing.labels, {scan.label for scan in scans}
    if not labels.is_given:
        if scans and all(scan.outcome for scan in scans):
            return []
        found = "neither a label column nor a target" if scans else "no scan left"
        action = "name what is predicted: cohort.label=COLUMN or target=NAME"
        return [Fault("cohort", found, "scans of which something is known", action)]
    accepted, action = "scans of both classes", "repair the scans that were left out"
    absent = [label for label in (labels.positive, labels.negative) if label not in present]
    return [Fault(f"class '{label}'", "no scan left", accepted, action) for label in absent]


def _site_faults(scans: list[Scan], listing: Listing) -> list[Fault]:
    """Refuse a cohort whose scanner site gives the label, or the kind of outcome, away."""
    sites_of = _covariate(listing, "site")
    pairs = {
        (site, kind)
        for scan in scans
        if (site := sites_of.get(subject_key(scan.participant_id), ""))
        and (kind := scan.label if listing.labels.is_given else scan.stratum)
    }
    sites = {site for site, _ in pairs}
    if len(sites) < 2 or len(pairs) > len(sites) or len({kind for _, kind in pairs}) < 2:
        return []
    found = ", ".join(f"{site}: only '{kind}'" for site, kind in sorted(pairs))
    if not listing.labels.is_given:
        action = "add people with other outcomes at each site; a network would learn the scanner"
        return [Fault("column 'site'", found, "several kinds of outcome at one site", action)]
    action = "add people of the other class; a network would learn the scanner"
    return [Fault("column 'site'", found, "both classes at one site at least", action)]


def t_r_faults(scans: Sequence[Scan], stored: dict[str, StoredScan]) -> list[Fault]:
    """Find scans whose repetition time is not that of most."""
    found = {
        scan.scan_id: series.t_r
        for scan in scans
        if scan.scan_id in stored and (series := stored[scan.scan_id].series) is not None
    }
    if not found:
        return []
    usual, count = Counter(found.values()).most_common(1)[0]
    return [
        Fault(
            scan.scan_id,
            f"a repetition time of {found[scan.scan_id]:g} s",
            f"{usual:g} s, as for {count} other scans: a network learns from one sampling rate",
            "study the runs of one repetition time, or leave the person out",
            scan.participant_id,
        )
        for scan in scans
        if abs(found.get(scan.scan_id, usual) - usual) > SAME_T_R * usual
    ]
