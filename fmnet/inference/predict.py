"""Score new scans with a bundle; what can't be scored honestly is said, not guessed."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fmnet.data.bids import read_entities
from fmnet.data.image_files import SUFFIXES
from fmnet.data.nifti import read_raw, read_volume
from fmnet.data.resample import SAME_POSITION, coordinates
from fmnet.data.scans import apply_to_all, coverage_fault, covered_fraction, place_checked
from fmnet.data.values import UNSAID_STAT, name_stat, p_value_fault, same_stat, stat_fault
from fmnet.data.volume import FloatArray, Volume, check_space
from fmnet.errors import ConfigError, Fault, VolumeError
from fmnet.inference.bundle import MAX_SCORE, Bundle
from fmnet.inference.bundle_files import is_number
from fmnet.inference.calibration import probability_interval
from fmnet.inference.quality import Reading, scale_readings
from fmnet.inference.sets import fit_sets
from fmnet.inference.study_results import red_note

WHOLE_MAP = "give the unthresholded map, or check its registration"
#: ``forced``: a score that a gate would have withheld, and somebody asked for.
Status = Literal["ok", "cannot_say", "error", "forced"]
#: Where a bundle doesn't know its contrast (or its statistic), names can't contradict it.
UNSAID_CONTRASTS = ("map",)
#: Some MNI152 space, not said which.
UNSAID_SPACE = "MNI152"


@dataclass(frozen=True)
class NewScan:
    """A scan to be scored: one map per contrast of the bundle, in its order.

    ``space`` is empty if nobody says it. ``says_contrast``: whether a table or a folder states the
    contrast of each map; names may as well.
    """

    name: str
    files: tuple[Path, ...]
    space: str = ""
    says_contrast: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked of predictions, the same for all scans.

    Parameters
    ----------
    prevalence : float, optional
        Fraction of the positive group among those who are scanned, between 0 and 1, for which
        probabilities are stated; None for the base rate of the bundle's calibration.
    level : float
        Fraction of each group's people whose set has to hold their group; where the bundle has too
        few people to promise it, the largest that it can.
    is_forced : bool
        Whether scans that fail a gate are scored all the same, and marked.

    Raises
    ------
    ConfigError
        If one of them is something else.
    """

    prevalence: float | None = None
    level: float = 0.8
    is_forced: bool = False

    def __post_init__(self) -> None:
        given = {"level": self.level}
        given |= {} if self.prevalence is None else {"prevalence": self.prevalence}
        for name, value in given.items():
            if not (is_number(value) and 0 < value < 1):
                action = "write a percentage as a fraction: 0.1 for 10 %"
                raise ConfigError(Fault(name, repr(value), "a number between 0 and 1", action))
        if not isinstance(self.is_forced, bool):
            found, accepted = repr(self.is_forced), "true or false"
            raise ConfigError(Fault("is_forced", found, accepted, "write one of them"))


USUAL = Request()


@dataclass(frozen=True)
class Prediction:
    """What is said about one scan.

    ``score`` and the calibrated ``probability`` of the positive class are None unless status is
    ``ok`` or ``forced``; ``cannot_say``: readable, but unlike what the signature was trained on;
    ``error``: unusable. ``reason`` says why there is no score; of one that there is, what it can't
    be read without. Of a signature with a target, ``numbers`` holds its scores and outputs instead,
    by the names of `Bundle.columns`; ``score`` is then the first of the scores, and there is no
    probability.

    ``interval`` is the 95 % interval of the probability. ``groups`` is the set: those that can't be
    ruled out at the level that was asked for, both where nothing can be said, none where the scan
    is unlike either, which then has no probability; None where there is no set. ``readings`` are of
    the gates, passed or not; ``is_of_training``: whether the same scan was among those that the
    signature learned from; None where nobody knows.
    """

    scan: str
    score: float | None
    probability: float | None
    status: Status
    reason: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    groups: tuple[str, ...] | None = None
    readings: tuple[Reading, ...] = ()
    is_of_training: bool | None = None

    @property
    def gates_failed(self) -> tuple[str, ...]:
        """Name the gates that it did not pass, each once though several runs failed it."""
        failed = (reading.gate for reading in self.readings if not reading.is_passed)
        return tuple(dict.fromkeys(failed))

    def record(self, columns: Sequence[str] = ()) -> dict[str, Any]:
        """List what a table tells of it: of two groups, or else the columns of a target."""
        told: dict[str, Any] = {name: self.numbers.get(name) for name in columns}
        if not columns:
            low, high = self.interval or (None, None)
            told = {"score": self.score, "probability": self.probability}
            told |= {"probability_low": low, "probability_high": high}
            told["set"] = set_word(self.groups)
        told |= {"status": self.status, "gates_failed": list(self.gates_failed)}
        told["in_training"] = self.is_of_training
        return {"scan": self.scan, **told, "reason": self.reason}


def set_word(groups: tuple[str, ...] | None) -> str | None:
    """Name a set: its only group, ``both``, or ``neither``; None where there is no set."""
    if groups is None or len(groups) == 1:
        return groups and groups[0]
    return "both" if groups else "neither"


def predict_scan(bundle: Bundle, scan: NewScan, request: Request = USUAL) -> Prediction:
    """Score one scan; bad input never raises, but gives the reason why there is no score."""
    return predict_with_values(bundle, scan, request)[0]


def predict_with_values(
    bundle: Bundle, scan: NewScan, request: Request = USUAL
) -> tuple[Prediction, FloatArray | None]:
    """Score one scan, and give its maps on the grid, (C, V), too; None where they can't be read.

    A scan that fails a gate has no score, unless `request` forces one, which is then marked.
    """
    try:
        volumes = _read_volumes(bundle, scan)
        values = _place_volumes(bundle, scan, volumes)
        is_of_training = _is_of_training(bundle, scan, values)
    except VolumeError as error:
        return failed(scan.name, error.faults), None
    readings = _readings(bundle, scan, volumes, values)
    notes = dict.fromkeys([_unstated(bundle, scan, volumes), *(volume.note for volume in volumes)])
    note = "; ".join(filter(None, notes))
    found = gated(bundle, scan.name, values, readings, note, request)
    return replace(found, is_of_training=is_of_training), values


def _is_of_training(bundle: Bundle, scan: NewScan, values: FloatArray) -> bool | None:
    """Tell whether a map was learned from, by its values on the grid or, at last, by its file."""
    if bundle.training_scans is None:
        return None
    on_grid = (hashlib.sha256(channel.tobytes()).hexdigest() for channel in values)
    return bundle.learned_from(on_grid) or bundle.learned_from(
        read_raw(file).sha256 for file in scan.files
    )


def gated(
    bundle: Bundle,
    name: str,
    values: FloatArray,
    readings: tuple[Reading, ...],
    note: str = "",
    request: Request = USUAL,
) -> Prediction:
    """Score what the preparation takes of a scan, if it passed all gates or a score is forced.

    The last gate is of the features that the network computes together with the scores.
    """
    gate = None if bundle.gates is None else bundle.gates.features
    if gate is not None or is_passed(readings) or request.is_forced:
        scores, features = bundle.scores_and_features_of_scan(values)
        readings = (*readings, gate.read(features, name)) if gate is not None else readings
        if is_passed(readings) or request.is_forced:
            return scored(bundle, name, scores, note, request, readings)
    faults = [reading.fault for reading in readings if reading.fault is not None]
    return replace(failed(name, faults, "cannot_say"), readings=readings)


def is_passed(readings: Iterable[Reading]) -> bool:
    """Tell whether all gates were passed."""
    return all(reading.is_passed for reading in readings)


def _readings(
    bundle: Bundle, scan: NewScan, volumes: list[Volume], values: FloatArray
) -> tuple[Reading, ...]:
    """Hold maps on the grid, (C, V), against what the bundle knows of the training people."""
    least, readings = bundle.preparation.min_coverage, [_field_of_view(bundle, scan, volumes)]
    for file, channel, contrast in zip(
        scan.files, values, bundle.preparation.contrasts, strict=True
    ):
        fault = coverage_fault(channel, str(file), least, WHOLE_MAP)
        fraction = covered_fraction(channel)
        gate = f"part of the mask with {contrast}"
        readings.append(Reading(gate, fraction, least, unit="of voxels", fault=fault))
    if bundle.gates is not None:
        return (*readings, *bundle.gates.read(values, scan.name))
    return (*readings, *scale_readings(values, bundle.reference, scan.name))


def _field_of_view(bundle: Bundle, scan: NewScan, volumes: list[Volume]) -> Reading:
    """Measure how much of where training people have data lies in the boxes of the images.

    There are data in no larger part, so that nobody fails it who covers enough.
    """
    grid, gates, limit = bundle.preparation.grid, bundle.gates, bundle.preparation.min_coverage
    usual = np.ones((len(volumes), grid.n_voxels), np.float32)
    if gates is not None:
        usual, limit = gates.usual, gates.least_coverage(limit)
    reached = 0.0
    for volume, own in zip(volumes, usual, strict=True):
        points, last = coordinates(grid, volume.affine), np.array(volume.data.shape[1:]) - 1
        inside = ((points >= -SAME_POSITION) & (points <= last + SAME_POSITION)).all(axis=1)
        reached += float(own[inside].sum(dtype=np.float64))
    fraction, fault = reached / max(float(usual.sum(dtype=np.float64)), 1e-30), None
    if fraction < limit:
        found = f"images whose boxes reach {fraction:.0%} of the brain"
        action = "give whole images, or check their affine and their space"
        fault = Fault(scan.name, found, f"at least {limit:.0%}, as in training people", action)
    return Reading("field of view", fraction, limit, unit="of the brain", fault=fault)


def scored(
    bundle: Bundle,
    name: str,
    scores: ArrayLike,
    note: str = "",
    request: Request = USUAL,
    readings: tuple[Reading, ...] = (),
) -> Prediction:
    """Give a score, or K of a target, with what they mean and what they can't be read without.

    Of two groups these are the probability at the prevalence of the request with its interval, and
    the set at its level. A score that no network gives is an error, and so is one that leads to no
    finite output. With `readings` of which one failed it is marked as forced.
    """
    given = np.atleast_1d(np.asarray(scores, dtype=float))
    numbers = dict[str, float]()
    if bundle.link is not None and bundle.target is not None:
        with np.errstate(all="ignore"):
            outputs = bundle.link.outputs(given[None])
        numbers = dict(zip(bundle.target["scores"], map(float, given), strict=True))
        numbers |= {output: float(value[0]) for output, value in outputs.items()}
    wrong = [value for value in given if not abs(value) <= MAX_SCORE]
    wrong = wrong or [value for value in numbers.values() if not np.isfinite(value)]
    if wrong:
        accepted = f"a finite score, of at most {MAX_SCORE:g}"
        action = "check the map or run, and where the signature comes from"
        return failed(name, [Fault(name, f"a score of {wrong[0]:g}", accepted, action)])
    score = float(given[0])
    failures = [str(reading.fault) for reading in readings if reading.fault is not None]
    notes = [*failures, note, *bundle.warnings, red_note(bundle.evidence)]
    found = Prediction(
        name,
        score=score,
        probability=None,
        status="forced" if failures else "ok",
        reason=" | ".join(filter(None, notes)),
        numbers=numbers,
        readings=readings,
    )
    if bundle.calibration is None:
        return found
    calibration = bundle.calibration.at_prevalence(request.prevalence)
    found = replace(found, probability=float(calibration.probability(score)))
    if bundle.unseen is None:
        return found
    training = bundle.metadata["training"]
    names = training["positive"], training["negative"]
    groups = fit_sets(bundle.unseen, request.level).groups(score, names)
    if not groups:  # a curve through scores of the study's people says nothing of such a one
        return replace(found, groups=groups, probability=None)
    interval = probability_interval(bundle.unseen, bundle.calibration, score, request.prevalence)
    return replace(found, groups=groups, interval=interval)


def failed(name: str, faults: Iterable[Fault], status: Status = "error") -> Prediction:
    """Say why a scan has no score."""
    return Prediction(name, None, None, status, " | ".join(map(str, faults)))


def read_values(bundle: Bundle, scan: NewScan) -> FloatArray:
    """Read a scan's maps and put them on the bundle's grid: (C, V).

    Raises
    ------
    VolumeError
        If there are too few or too many maps, one twice, one is unusable, in another space or of
        another statistic, or the signature reads BOLD.
    """
    return _place_volumes(bundle, scan, _read_volumes(bundle, scan))


def _read_volumes(bundle: Bundle, scan: NewScan) -> list[Volume]:
    """Read a scan's maps, and check that names and headers say what the signature needs."""
    if bundle.contract is not None:
        accepted = bundle.contract.words(bundle.space, bundle.task)
        raise VolumeError(Fault(scan.name, "maps", accepted, "give the run and not its maps"))
    contrasts = bundle.preparation.contrasts
    if (n_files := len(scan.files)) != len(contrasts):
        found, accepted = f"{n_files} map{'' if n_files == 1 else 's'}", ", ".join(contrasts)
        action = "join the maps of one scan by commas, in that order"
        raise VolumeError(Fault(scan.name, found, f"{len(contrasts)}: {accepted}", action))
    if scan.space:
        check_same_space(scan.space, bundle.space, scan.name)
    wanted = bundle.metadata["input"]["stat"]
    check_stat(scan.files, wanted, scan.name)

    def read(file: Path) -> Volume:
        volume, name = read_volume(file, scan.space or bundle.space), str(file)
        fault = stat_fault(volume.stat, wanted, name)
        fault = fault or stat_fault(volume.stat, name_stat(file), name)
        if fault := fault or p_value_fault(volume.data, wanted, name):
            raise VolumeError(fault)
        return volume

    return apply_to_all(read, scan.files)


def _place_volumes(bundle: Bundle, scan: NewScan, volumes: list[Volume]) -> FloatArray:
    grid = bundle.preparation.grid
    values = np.concatenate(apply_to_all(lambda volume: place_checked(volume, grid), volumes))
    for one, other in combinations(range(len(values)), 2):
        if np.array_equal(values[one], values[other], equal_nan=True):
            found = f"the same map twice: {scan.files[one]} and {scan.files[other]}"
            accepted, action = "a map of its own for each contrast", "correct the files"
            raise VolumeError(Fault(scan.name, found, accepted, action))
    return values


def _unstated(bundle: Bundle, scan: NewScan, volumes: list[Volume]) -> str:
    """Say what the signature needs and neither name, table nor header states; else empty."""
    wanted = bundle.metadata["input"]
    says_contrast = scan.says_contrast or all(stated(scan.files, "contrast"))
    pairs = zip(volumes, scan.files, strict=True)
    says_stat = all(volume.stat or name_stat(file) for volume, file in pairs)
    missing = []
    if not says_contrast and tuple(wanted["contrasts"]) != UNSAID_CONTRASTS:
        missing.append("contrast")
    if not says_stat and wanted["stat"] != UNSAID_STAT:
        missing.append("statistic")
    verb = "are" if len(missing) > 1 else "is"
    return f"{' and '.join(missing)} {verb} not stated" if missing else ""


def run_instead_of_maps(bundle: Bundle, name: str) -> Fault:
    """Describe a BOLD run that was given to a signature of maps."""
    wanted = bundle.metadata["input"]
    names = ", ".join(wanted["contrasts"])
    accepted = f"3-D maps: {names} ({wanted['stat']}), {bundle.space} space"
    action = "give first-level maps, or use a signature that reads BOLD"
    return Fault(name, "a BOLD run, 4-D", accepted, action)


def table_row(prediction: Prediction, columns: Sequence[str] = ()) -> dict[str, Any]:
    """List what a table says of a scan, see `predictions_table`."""
    row = prediction.record(columns)
    row["gates_failed"] = ", ".join(row["gates_failed"])
    row["in_training"] = {True: "true", False: "false", None: None}[row["in_training"]]
    return row


def predictions_table(predictions: list[Prediction], columns: Sequence[str] = ()) -> pd.DataFrame:
    """List predictions with one row per scan, in the columns of `Prediction.record`.

    Of a signature with a target there are its `columns`, `Bundle.columns`, in the place of what is
    said of two groups.
    """
    names = list(Prediction("", None, None, "error").record(columns))
    rows = [table_row(prediction, columns) for prediction in predictions]
    return pd.DataFrame(rows, columns=names)


def stated(files: Sequence[Path], entity: str) -> list[str]:
    """Read an entity (``contrast``, ``stat``, ``space``) off each name; empty where unsaid."""
    stems = [file.name[: -len(image_ending(file)) or None] for file in files]
    return [read_entities(stem.split("_")).get(entity, "") for stem in stems]


def image_ending(file: Path) -> str:
    """Name how a file of an image ends, ``.nii.gz`` for instance; empty for other files."""
    name = file.name.lower()
    return max((end for end in SUFFIXES if name.endswith(end)), key=len, default="")


def check_stat(files: tuple[Path, ...], stat: str, name: str) -> None:
    """Raise `VolumeError` if a map's name states another statistic than the signature's."""
    for file, said in zip(files, stated(files, "stat"), strict=True):
        if said and stat != UNSAID_STAT and not same_stat(said, stat):
            found = f"a map whose name says statistic '{said}' ({file})"
            action = "give that statistic's maps, which the signature was trained on"
            raise VolumeError(Fault(name, found, f"'{stat}'", action))


def check_same_space(space: str, wanted: str, name: str) -> None:
    """Raise `VolumeError` unless a scan's space is the signature's, or one isn't said."""
    check_space(space, name)
    if UNSAID_SPACE not in {space, wanted} and space != wanted:
        action = "give images normalised to that template, or correct the space stated for them"
        raise VolumeError(Fault(name, f"space '{space}'", f"'{wanted}'", action))
