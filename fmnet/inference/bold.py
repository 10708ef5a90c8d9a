"""Preprocessed BOLD runs: found with their files, checked, cleaned as in training, and scored."""

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.acquired import AcquiredBold
from fmnet.bold.bids_files import (
    OUTPUT_ENTITIES,
    BoldName,
    PreprocessedRun,
    find_raw,
    inherited_files,
    parse_name,
    read_sidecars,
    stated_start_time,
    stated_t_r,
)
from fmnet.bold.bold_file import BoldRun, differs_from_header, open_bold, resolve_t_r
from fmnet.bold.cleaned import CleanedBold, CleanedFacts
from fmnet.bold.decoded import RunFacts
from fmnet.bold.derivatives import CONFOUNDS, MASKS
from fmnet.bold.maps import compute_maps, parse_maps
from fmnet.data.listing import Advice
from fmnet.data.scans import SAME_T_R, coverage_fault, covered_fraction, low_coverage
from fmnet.data.store import ArrayStore
from fmnet.data.volume import FloatArray
from fmnet.errors import BundleError, Fault, FmnetError, VolumeError
from fmnet.inference.bold_contract import BoldContract
from fmnet.inference.bundle import Bundle
from fmnet.inference.predict import (
    USUAL,
    Prediction,
    Request,
    check_same_space,
    failed,
    gated,
    run_instead_of_maps,
)
from fmnet.inference.quality import Reading, scale_readings, temporal_sd
from fmnet.inference.run_gates import RunMeasures, run_readings, t_r_fault

Result = TypeVar("Result")
ADVICE = Advice(raw="state it with --t-r")


@dataclass(frozen=True)
class Stated:
    """What somebody says of a run, which overrules what lies next to it.

    ``t_r``, the repetition time in seconds, overrules the image's header too.
    """

    mask: Path | None = None
    confounds: Path | None = None
    events: Path | None = None
    t_r: float | None = None


NOTHING = Stated()


def describe_run(
    image: Path, space: str, stated: Stated = NOTHING, raw: Path | None = None
) -> PreprocessedRun:
    """Find mask, sidecar, confounds and events of a run by fMRIPrep's naming.

    `image` is a 4-D NIfTI file, ``sub-01_task-rest_space-NAME_desc-preproc_bold.nii.gz`` for
    instance; for another name, nothing is found. `space` holds whatever the name says; `stated`
    overrules the files that are found; the `raw` data set is by default looked for around the
    image's own.

    Raises
    ------
    VolumeError
        If a sidecar is damaged, or there are sidecars and none states a repetition time, unless
        the repetition time is stated here.
    """
    name, is_certain = parse_name(image), stated.t_r is not None
    if not name.get("sub"):
        bare = re.sub(r"\.nii(\.gz)?$", "", image.name, flags=re.IGNORECASE)
        bold = BoldRun(bare, bare, image, space, stated.mask, stated.t_r, is_certain)
        return PreprocessedRun(bold, "", "", "", stated.confounds, stated.events)
    # the image may have been copied out of its data set, to where only its own folder is left
    own = image.absolute().parent
    subjects = [folder for folder in (own, *own.parents) if folder.name.startswith("sub-")]
    roots = [own, subjects[-1].parent] if subjects else [own]
    if raw is None and subjects:
        raw = find_raw(roots[-1])
    roots += [] if raw is None else [raw]
    try:
        sidecars = read_sidecars(name, roots)
    except VolumeError:
        if stated.t_r is None:
            raise
        sidecars = []
    t_r = stated_t_r(name, sidecars, ADVICE) if stated.t_r is None else stated.t_r
    mask = stated.mask or _companion(name, name.stem(("desc",)), MASKS)
    events = (path for root in roots for path in inherited_files(root, name, "events.tsv"))
    return PreprocessedRun(
        BoldRun(name.run_id, name.participant_id, image, space, mask, t_r, is_certain),
        name.get("task"),
        name.get("ses"),
        name.get("run"),
        stated.confounds or _companion(name, name.stem(OUTPUT_ENTITIES), CONFOUNDS),
        stated.events or next(events, None),
        stated_start_time(name, sidecars),
    )


def _companion(image: BoldName, stem: str, endings: Sequence[str]) -> Path | None:
    found = (image.companion(f"{stem}_{ending}") for ending in endings)
    return next((path for path in found if path is not None), None)


WHOLE_RUN = "check the run's registration and its mask"
SAME_CLEANING = "check that the run was preprocessed as the training runs were"


@dataclass(frozen=True)
class NewBoldScan:
    """Runs of one session that are scored together, in the order they were acquired."""

    name: str
    runs: tuple[PreprocessedRun, ...]


@dataclass(frozen=True, eq=False)
class ReadScan:
    """A scan as the preparation takes it, with what the gates look at.

    ``values`` are maps, (C, V), or the cleaned runs one after the other, (T, V); ``runs`` what is
    known of each run.
    """

    values: FloatArray
    runs: tuple[RunMeasures, ...]


def predict_run(bundle: Bundle, scan: NewBoldScan, request: Request = USUAL) -> Prediction:
    """Score one scan; several runs are joined in time, or make maps together.

    Cleaned runs lie in a temporary folder meanwhile; ``TMPDIR`` says where. Bad input never raises:
    the prediction has the reason why there is no score.
    """
    return predict_run_with_values(bundle, scan, request)[0]


def predict_run_with_values(
    bundle: Bundle, scan: NewBoldScan, request: Request = USUAL
) -> tuple[Prediction, FloatArray | None]:
    """Score one scan as `predict_run` does, and give what the preparation takes of it too.

    That is None where runs can't be read. A scan that fails a gate has no score, unless `request`
    forces one, which is then marked.
    """
    try:
        read = read_scan(bundle, scan)
    except FmnetError as error:
        return failed(scan.name, error.faults), None
    result = gated(bundle, scan.name, read.values, _readings(bundle, scan, read), request=request)
    is_of_training = bundle.learned_from([run.sha256 for run in read.runs])
    notes = [result.reason, *header_notes(scan.runs)]
    reason = " | ".join(filter(None, notes))
    return replace(result, reason=reason, is_of_training=is_of_training), read.values


def read_scan(bundle: Bundle, scan: NewBoldScan) -> ReadScan:
    """Clean a scan's runs and make of them what the bundle's preparation takes.

    Raises
    ------
    VolumeError
        With all that is wrong with the runs, or with what they are given for.
    StoreError
        If the temporary folder can't be written.
    """
    contract = contract_of(bundle, scan.name)
    check_runs(scan.runs, scan.name, bundle, contract)
    with tempfile.TemporaryDirectory(prefix="fmnet-") as folder:
        # runs that cover too little are no errors here, but none that something can be said of
        recipe = CleanedBold(bundle.preparation.grid, contract.cleaning, 0.0)
        if contract.maps:
            runs = _store_runs(ArrayStore(Path(folder), AcquiredBold(recipe)), scan)
            values = compute_maps(runs, parse_maps(contract.maps))
            measured = [
                _measures(source, run.stored.facts, run.nuisance.kept, run.nuisance.mean_fd_mm)
                for source, run in zip(scan.runs, runs, strict=True)
            ]
        else:
            cleaned = _store_runs(ArrayStore(Path(folder), recipe), scan)
            values = np.concatenate([run.values() for run in cleaned])
            measured = [
                _measures(source, run.facts, run.kept, run.facts.mean_fd_mm)
                for source, run in zip(scan.runs, cleaned, strict=True)
            ]
    bundle.preparation.check_length(len(values), scan.name)
    return ReadScan(values, tuple(measured))


def _measures(
    run: PreprocessedRun,
    facts: CleanedFacts | RunFacts,
    kept: NDArray[np.intp],
    mean_fd_mm: float | None,
) -> RunMeasures:
    name, of_image = str(run.bold.path), (facts.coverage, facts.source_sha256)
    return RunMeasures(name, facts.t_r, len(kept), mean_fd_mm, *of_image)


def _store_runs(store: ArrayStore[PreprocessedRun, Result], scan: NewBoldScan) -> list[Result]:
    outcomes = list(store.add_all(scan.runs))
    errors = [one for one in outcomes if isinstance(one, VolumeError)]
    if errors:
        raise VolumeError([fault for error in errors for fault in error.faults])
    return [one for one in outcomes if not isinstance(one, VolumeError)]


def _readings(bundle: Bundle, scan: NewBoldScan, read: ReadScan) -> tuple[Reading, ...]:
    """Hold runs, and what was made of them, against those of the training people."""
    least, gates = bundle.preparation.min_coverage, bundle.gates
    readings = []
    for run in read.runs:
        fault = None
        if run.coverage < least:
            fault = low_coverage(run.coverage, run.name, least, WHOLE_RUN)
        gate = "part of the mask with data"
        readings.append(Reading(gate, run.coverage, least, unit="of voxels", fault=fault))
    own, t_r = None if gates is None else gates.runs, contract_of(bundle, scan.name).t_r
    readings += run_readings(read.runs, t_r, bundle.reference, own, scan.name)
    values = temporal_sd(read.values) if bundle.preparation.reads_series else read.values
    for channel, contrast in zip(values, bundle.reference.contrasts, strict=True):
        sparse = coverage_fault(channel, scan.name, least, WHOLE_RUN)
        gate, covered = f"part of the mask with {contrast}", covered_fraction(channel)
        readings.append(Reading(gate, covered, least, unit="of voxels", fault=sparse))
    if gates is not None:
        return (*readings, *gates.read(values, scan.name))
    return (*readings, *scale_readings(values, bundle.reference, scan.name, SAME_CLEANING))


def contract_of(bundle: Bundle, name: str) -> BoldContract:
    """Look up how runs are cleaned.

    Raises
    ------
    VolumeError
        If the signature reads maps.
    BundleError
        If what cleans runs isn't installed.
    """
    if bundle.contract is None:
        raise VolumeError(run_instead_of_maps(bundle, name))
    if find_spec("nilearn") is None:
        found = "a signature that reads BOLD, and no nilearn, which cleans runs, in this Python"
        action = "pip install 'fmnet[bold]'"
        raise BundleError(Fault(name, found, "fmnet installed with what BOLD takes", action))
    return bundle.contract


def check_runs(
    runs: Sequence[PreprocessedRun], name: str, bundle: Bundle, contract: BoldContract
) -> None:
    """Check space, task, repetition time and confounds of a scan's runs.

    Another repetition time than that of training is left to the gates, unless more is wrong.

    Raises
    ------
    VolumeError
        With all that is wrong with all of them.
    """
    faults = [] if runs else [Fault(name, "no run", "one at least", "give a preprocessed run")]
    others = list[Fault]()
    counts = Counter(run.bold.path.absolute() for run in runs)
    for path in (path for path, count in counts.items() if count > 1):
        found = f"the same run twice: {path}"
        faults.append(Fault(name, found, "each run once", "remove one of them"))
    for run in runs:
        try:
            check_same_space(run.bold.space, bundle.space, str(run.bold.path))
        except VolumeError as error:
            faults += error.faults
        try:
            others += _t_r_faults(run, contract.t_r)
        except VolumeError as error:
            faults += error.faults
        if bundle.task and run.task and run.task != bundle.task:
            action = "give runs of the task that the signature was trained on"
            found = f"a run of task '{run.task}'"
            faults.append(Fault(str(run.bold.path), found, f"'{bundle.task}'", action))
        if contract.needs_confounds and run.confounds is None:
            accepted = "fMRIPrep's desc-confounds_timeseries.tsv, with which the run is cleaned"
            action = "put it beside the run, or name it: --confounds FILE"
            faults.append(Fault(str(run.bold.path), "no confounds", accepted, action))
    if faults:
        raise VolumeError([*faults, *others])


def header_notes(runs: Sequence[PreprocessedRun]) -> list[str]:
    """Say where runs' headers aren't all there is to say: two orientations, another t_r stated."""
    notes = []
    for run in runs:
        with open_bold(run.bold.path) as file:
            if file.header.note:
                notes.append(f"{run.bold.path}: {file.header.note}")
            if run.bold.is_t_r_certain and differs_from_header(run.bold, file.header):
                said = f"a repetition time of {run.bold.t_r:g} s was stated"
                notes.append(f"{run.bold.path}: {said}, the header says {file.header.t_r:g} s")
    return notes


def _t_r_faults(run: PreprocessedRun, wanted: float) -> list[Fault]:
    """Describe another repetition time; raise `VolumeError` where a run's own isn't known."""
    with open_bold(run.bold.path) as file:
        header = file.header
    try:
        t_r = resolve_t_r(run.bold, header)
    except VolumeError as error:
        overrule = "or state the right one: --t-r SECONDS"
        said = [replace(fault, action=f"{fault.action}, {overrule}") for fault in error.faults]
        raise VolumeError(said) from error
    is_same = abs(t_r - wanted) <= SAME_T_R * wanted
    return [] if is_same else [t_r_fault(str(run.bold.path), t_r, wanted)]
