"""Subjects or a site set aside before anything is looked at, to be scored once at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fmnet.data.cohort import Cohort
from fmnet.data.tables import subject_key
from fmnet.errors import CohortError, Fault
from fmnet.types import PartialShare

#: Part of the seed that people are drawn with.
LOCKBOX = 3_000_000


@dataclass(frozen=True)
class LockBox:
    """Who is set aside; the three ways add up.

    Parameters
    ----------
    subjects : list of str
        Participant ids.
    site : str, optional
        Everybody of this site.
    fraction : float
        Share of each class, drawn at random.
    """

    subjects: Sequence[str] = ()
    site: str | None = None
    fraction: PartialShare = 0.0


def set_aside(cohort: Cohort, lockbox: LockBox, seed: int) -> Cohort:
    """Move people from the scans in use to ``cohort.set_aside``.

    Raises
    ------
    CohortError
        If somebody named is not there, or a class has nobody left inside or outside of the box.
    """
    chosen = _with_families(
        cohort, _named(cohort, lockbox) | _drawn(cohort, lockbox.fraction, seed)
    )
    if not chosen:
        return cohort
    inside = [subject_key(scan.participant_id) in chosen for scan in cohort.scans]
    pairs = list(zip(cohort.scans, cohort.stored, inside, strict=True))
    for place, wanted in (("in the lock-box", True), ("outside the lock-box", False)):
        if len({scan.label for scan, _, is_in in pairs if is_in is wanted}) < 2:
            raise CohortError(
                Fault("lockbox", f"one class only {place}", "both classes", "set others aside")
            )
    return replace(
        cohort,
        scans=tuple(scan for scan, _, is_in in pairs if not is_in),
        stored=tuple(stored for _, stored, is_in in pairs if not is_in),
        set_aside=tuple(scan for scan, _, is_in in pairs if is_in),
    )


def _named(cohort: Cohort, lockbox: LockBox) -> set[str]:
    people = {subject_key(person) for person in cohort.participant_ids}
    named = {subject_key(person) for person in lockbox.subjects}
    sites = cohort.covariate("site")
    if lockbox.site is not None and lockbox.site not in sites:
        found = f"no site '{lockbox.site}'"
        accepted = ", ".join(sorted(set(sites) - {""})) or "a column 'site' in participants.tsv"
        raise CohortError(Fault("lockbox.site", found, accepted, "correct lockbox.site"))
    if absent := sorted(named - people):
        raise CohortError(
            Fault(
                "lockbox.subjects",
                f"nobody called {', '.join(absent)}",
                "participant ids of the cohort",
                "correct lockbox.subjects",
            )
        )
    of_site = {
        subject_key(person)
        for person, site in zip(cohort.participant_ids, sites, strict=True)
        if lockbox.site is not None and site == lockbox.site
    }
    return named | of_site


def _with_families(cohort: Cohort, chosen: set[str]) -> set[str]:
    """Add the families of the people chosen: relatives in training would give them away."""
    families = cohort.covariate("family")
    people = [subject_key(person) for person in cohort.participant_ids]
    pairs = list(zip(people, families, strict=True))
    inside = {family for person, family in pairs if family and person in chosen}
    return chosen | {person for person, family in pairs if family in inside}


def _drawn(cohort: Cohort, fraction: float, seed: int) -> set[str]:
    """Draw a share of the people of each class; whoever has scans of both counts for the first."""
    if not fraction:
        return set()
    rng = np.random.default_rng([seed, LOCKBOX])
    label_of: dict[str, str] = {}
    for scan in cohort.scans:
        label_of.setdefault(subject_key(scan.participant_id), scan.label)
    drawn: set[str] = set()
    for label in sorted(set(label_of.values())):
        people = sorted(person for person, own in label_of.items() if own == label)
        drawn |= set(rng.choice(people, max(1, round(fraction * len(people))), replace=False))
    return drawn
