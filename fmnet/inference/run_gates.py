"""Gates of BOLD runs: their repetition time, how much is left of them, and how far heads moved."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnet.data.scans import SAME_T_R
from fmnet.errors import Fault
from fmnet.inference.bundle_files import COUNT, FRACTION, optional
from fmnet.inference.quality import MOTION_MARGIN, Reading, Reference, motion_fault

#: How many times shorter than the shortest scan of training a scan may be.
LENGTH_MARGIN = 1.5
#: Of a file of several gates.
KEY = "runs"
NUMBERS = {"n_people": COUNT, "fewest_volumes": COUNT, "length": FRACTION, "motion": FRACTION}
FIELDS = {f"{KEY}.{name}": optional(kind) for name, kind in NUMBERS.items()}
LONGER = "give the whole run, or all runs of the session"


@dataclass(frozen=True)
class RunGates:
    """How long the training people's scans were, and how many like them the gates would stop.

    Parameters
    ----------
    n_people : int
        Whose scans they are.
    fewest_volumes : int
        Of all their scans, after cleaning.
    length, motion : float
        Fraction of people like them whose scans are too short, or moved too much in: as many as
        fail limits that come from the others, and one more.
    """

    n_people: int
    fewest_volumes: int
    length: float
    motion: float

    def to_json(self) -> dict[str, Any]:
        """Give plain values, as `read_run_gates` reads them."""
        return asdict(self)


@dataclass(frozen=True)
class RunMeasures:
    """What is known of one run: where it lies, and what the gates look at.

    ``n_volumes`` are those that cleaning leaves; ``mean_fd_mm`` is None if nobody states it;
    ``coverage`` the fraction of the mask in which there are data; ``sha256`` the hash of the
    image's file.
    """

    name: str
    t_r: float
    n_volumes: int
    mean_fd_mm: float | None
    coverage: float = 1.0
    sha256: str = ""


def fit_run_gates(
    n_volumes: ArrayLike, mean_fd_mm: Sequence[Sequence[float | None]], people: Sequence[str]
) -> RunGates:
    """Describe the training scans by their volumes after cleaning, (N,), and their runs' motion.

    `people` say whose they are, (N,).
    """
    volumes, names = np.asarray(n_volumes, dtype=float), np.asarray(people)
    known = [[one for one in own if one is not None and np.isfinite(one)] for own in mean_fd_mm]
    motion = np.array([max(own, default=0.0) for own in known])
    n_people = len(np.unique(names))
    return RunGates(
        n_people,
        int(volumes.min()),
        _fraction_beyond(-np.log(volumes), np.log(LENGTH_MARGIN), names),
        _fraction_beyond(np.log(np.maximum(motion, 1e-9)), np.log(MOTION_MARGIN), names),
    )


def _fraction_beyond(values: NDArray[Any], margin: float, names: NDArray[Any]) -> float:
    """Count people with a scan beyond the largest of the others' by more than a margin."""
    people = np.unique(names)
    n_beyond = sum(
        bool(values[names == one].max() > values[names != one].max(initial=-np.inf) + margin)
        for one in people
        if len(people) > 1
    )
    return float((n_beyond + 1) / (len(people) + 1))


def read_run_gates(fields: Mapping[str, Any]) -> RunGates | None:
    """Make the gates of what was written of them; None where that is missing."""
    numbers = fields.get(KEY) or {}
    if any(numbers.get(name) is None for name in NUMBERS):
        return None
    return RunGates(**{name: numbers[name] for name in NUMBERS})


def run_readings(
    runs: Sequence[RunMeasures],
    wanted_t_r: float,
    reference: Reference,
    gates: RunGates | None,
    name: str,
) -> tuple[Reading, ...]:
    """Measure the runs of one scan, and hold them against those of training.

    Parameters
    ----------
    runs : sequence of RunMeasures
        One at least.
    wanted_t_r : float
        Repetition time of the training runs, in seconds.
    reference : Reference
        Knows how far heads moved in training.
    gates : RunGates, optional
        None for bundles of before, which set no limit to the length.
    name : str
        Of the scan, for messages.
    """
    farthest = max(runs, key=lambda run: abs(run.t_r - wanted_t_r))
    low, high = (wanted_t_r * (1 + sign * SAME_T_R) for sign in (-1, 1))
    fault = None
    if not abs(farthest.t_r - wanted_t_r) <= SAME_T_R * wanted_t_r:
        fault = t_r_fault(farthest.name, farthest.t_r, wanted_t_r)
    readings = [Reading("repetition time", farthest.t_r, low, high, "s", None, fault)]
    n_volumes = sum(run.n_volumes for run in runs)
    minutes = sum(run.n_volumes * run.t_r for run in runs) / 60
    least = alarms = fault = None
    if gates is not None:
        least, alarms = gates.fewest_volumes / LENGTH_MARGIN, gates.length
        if n_volumes < least:
            found = f"{n_volumes} volumes after cleaning, {minutes:.3g} min"
            accepted = f"at least {least:.0f}, the shortest training scan by {LENGTH_MARGIN:g}"
            fault = Fault(name, found, accepted, LONGER)
    readings.append(Reading("length of the run", n_volumes, least, None, "volumes", alarms, fault))
    shortest = None if least is None else least * wanted_t_r / 60
    readings.append(Reading("duration", minutes, shortest, None, "min", alarms))
    faults = [motion_fault(run.mean_fd_mm, reference, run.name) for run in runs]
    stated = [run.mean_fd_mm for run in runs if run.mean_fd_mm is not None]
    moved = max(filter(np.isfinite, stated), default=None)
    most = alarms = None
    if reference.mean_fd_high_mm is not None:
        most = reference.mean_fd_high_mm * MOTION_MARGIN
        alarms = None if gates is None else gates.motion
    # of each run that moved too much, or else one of all
    failed = [fault for fault in faults if fault is not None]
    for one in failed or faults[:1]:
        readings.append(Reading("head motion", moved, None, most, "mm", alarms, one))
    return tuple(readings)


def t_r_fault(name: str, t_r: float, wanted: float) -> Fault:
    """Describe a run of another repetition time than the training runs'."""
    found = f"a repetition time of {t_r:g} s"
    accepted = f"{wanted:g} s, that of the training runs, give or take {SAME_T_R:.0%}"
    action = "give a run of that repetition time, or state the right one: --t-r SECONDS"
    return Fault(name, found, accepted, action)
