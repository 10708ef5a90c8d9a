"""Preprocessed runs in a tree that fMRIPrep wrote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnet.bold.bids_files import (
    OUTPUT_ENTITIES,
    BoldName,
    find_bold,
    find_people,
    find_raw,
    inherited_files,
)
from fmnet.bold.findings import Finding, Kind
from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.bold.run_choice import RunChoice, advise, choose_runs, is_usable, why_unusable
from fmnet.bold.sidecars import read_sidecars, stated_start_time, stated_t_r
from fmnet.data.advice import SETTINGS, Advice
from fmnet.data.bold_run import BoldRun
from fmnet.errors import CohortError, Fault, VolumeError

#: fMRIPrep's name for confounds, and the one that it had before version 20.2.
CONFOUNDS = ("desc-confounds_timeseries.tsv", "desc-confounds_regressors.tsv")
MASKS = ("desc-brain_mask.nii.gz", "desc-brain_mask.nii")


@dataclass(frozen=True)
class RunListing:
    """Preprocessed runs with everything that is wrong so far.

    Parameters
    ----------
    runs : tuple of PreprocessedRun
        Those without a fault of their own, also of people with other faults; by person, then in
        the order of their names.
    everyone : tuple of str
        All people with a folder in the tree, sorted, with ``sub-``.
    faults : tuple of Fault
        Nothing is left out without one.
    """

    runs: tuple[PreprocessedRun, ...]
    everyone: tuple[str, ...]
    faults: tuple[Fault, ...]


def find_runs(
    root: str | Path,
    task: str | None = None,
    sessions: Sequence[str] | None = None,
    space: str | None = None,
    raw: str | Path | None = None,
    needs_confounds: bool = True,
    advice: Advice = SETTINGS,
) -> RunListing:
    """Find the runs of one task in a tree that fMRIPrep wrote; no image is opened.

    Where there are other variants beside ``desc-preproc`` (smoothed, AROMA), or single echoes
    beside their combination, the ``desc-preproc`` image of the whole run is read.

    Parameters
    ----------
    root : Path
        The folder that holds ``sub-*``.
    task : str, optional
        Without ``task-``; may be left out where there is only one.
    sessions : sequence of str, optional
        Without ``ses-``; a person has to have a run in each. May be left out where there is only
        one, or none is named.
    space : str, optional
        One of `fmnet.data.volume.MNI_SPACES`, with the resolution behind it where there are
        several: ``MNI152NLin2009cAsym:res-2``. May be left out where there is only one.
    raw : Path, optional
        The raw BIDS data set, which holds events, and sidecars for what the tree doesn't state; by
        default up to two folders above `root`.
    needs_confounds : bool
        Whether a run without a confounds file has a fault.
    advice : Advice
        How faults name the settings.

    Raises
    ------
    CohortError
        If there is no such folder, nothing to read in it, or a choice to make.
    """
    _check_folder(Path(root), advice)
    runs, findings = list_runs(
        find_bold(Path(root)),
        Path(root),
        None if task is None else str(task).removeprefix("task-"),
        None if sessions is None else [str(name).removeprefix("ses-") for name in sessions],
        None if space is None else space.removeprefix("space-"),
        find_raw(Path(root)) if raw is None else Path(raw),
        needs_confounds,
        advice,
    )
    faults = tuple(finding.fault for finding in findings)
    return RunListing(runs, find_people(Path(root)), faults)


def list_runs(
    names: Sequence[BoldName],
    root: Path,
    task: str | None,
    sessions: Sequence[str] | None,
    space: str | None,
    raw: Path | None,
    needs_confounds: bool,
    advice: Advice,
) -> tuple[tuple[PreprocessedRun, ...], list[Finding]]:
    """Do the same with images found already, and say what each fault is about."""
    if raw is not None:
        _check_folder(raw, advice)
    choice = choose_runs(names, root, task, sessions, space, advice)
    wanted = [
        name
        for name in names
        if name.get("task") == choice.task and name.get("ses") in choice.sessions
    ]
    findings = _absent(wanted, find_people(root), choice)
    roots = (root,) if raw is None else (root, raw)
    runs: list[PreprocessedRun] = []
    for run_id in sorted({name.run_id for name in wanted}, key=_as_counted):
        variants = [name for name in wanted if name.run_id == run_id]
        image = _choose_image(variants, choice, findings)
        if image is not None:
            wrong, run = _put_together(image, roots, needs_confounds, advice)
            findings += wrong
            runs += [run] if not wrong else []
    return tuple(runs), findings


def _as_counted(name: str) -> list[str | int]:
    """Sort ``run-2`` before ``run-10``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _check_folder(root: Path, advice: Advice) -> None:
    if not root.is_dir():
        raise CohortError(Fault(str(root), "no such folder", "a BIDS folder", advice.root))


def _absent(
    wanted: Sequence[BoldName], everyone: Sequence[str], choice: RunChoice
) -> list[Finding]:
    """People without any run of the task in one of the sessions."""
    there = {(name.participant_id, name.get("ses")) for name in wanted}
    action = "preprocess the person's runs, or leave the person out"
    return [
        Finding(
            Kind.NO_RUN,
            Fault(
                person,
                f"no run of task '{choice.task}'" + (f" in session '{session}'" if session else ""),
                "one at least",
                action,
                person,
            ),
        )
        for person in everyone
        for session in choice.sessions
        if (person, session) not in there
    ]


def _choose_image(
    variants: Sequence[BoldName], choice: RunChoice, findings: list[Finding]
) -> BoldName | None:
    """Of all that was made of one run, take the image that is wanted."""
    run_id, person = variants[0].run_id, variants[0].participant_id
    usable = [name for name in variants if is_usable(name) and name.output == choice.output]
    if len(usable) == 1:
        return usable[0]
    accepted = f"one desc-preproc image in space {choice.output}"
    if usable:
        found = f"several images: {', '.join(name.path.name for name in usable)}"
        action = "remove or rename all but one"
        findings.append(Finding(Kind.REPEATED, Fault(run_id, found, accepted, action, person)))
        return None
    found = f"no such image but {why_unusable(variants)}"
    fault = Fault(run_id, found, accepted, advise(variants), person)
    findings.append(Finding(Kind.UNUSABLE, fault))
    return None


def _put_together(
    image: BoldName, roots: tuple[Path, ...], needs_confounds: bool, advice: Advice
) -> tuple[list[Finding], PreprocessedRun]:
    """Find what belongs to an image."""
    findings: list[Finding] = []
    mask = _beside(image, image.stem(("desc",)), MASKS)
    confounds = _beside(image, image.stem(OUTPUT_ENTITIES), CONFOUNDS)
    if mask is None:
        findings.append(_lacks(image, Kind.MASK, f"{image.stem(('desc',))}_{MASKS[0]}"))
    if confounds is None and needs_confounds:
        expected = f"{image.stem(OUTPUT_ENTITIES)}_{CONFOUNDS[0]}"
        findings.append(_lacks(image, Kind.CONFOUNDS, expected))
    t_r, start_time = None, 0.0
    try:
        sidecars = read_sidecars(image, roots)
    except VolumeError as error:
        findings += [Finding(Kind.SIDECAR, fault) for fault in error.faults]
    else:
        try:
            t_r = stated_t_r(image, sidecars, advice)
        except VolumeError as error:
            findings += [Finding(Kind.T_R, fault) for fault in error.faults]
        try:
            start_time = stated_start_time(image, sidecars)
        except VolumeError as error:
            findings += [Finding(Kind.SIDECAR, fault) for fault in error.faults]
    person = image.participant_id
    bold = BoldRun(image.run_id, person, image.path, image.get("space"), mask, t_r)
    events = [path for root in roots for path in inherited_files(root, image, "events.tsv")]
    return findings, PreprocessedRun(
        bold,
        image.get("task"),
        image.get("ses"),
        image.get("run"),
        confounds,
        events[0] if events else None,
        start_time,
    )


def _beside(image: BoldName, stem: str, endings: Sequence[str]) -> Path | None:
    found = (image.beside(f"{stem}_{ending}") for ending in endings)
    return next((path for path in found if path is not None), None)


def _lacks(image: BoldName, kind: Kind, expected: str) -> Finding:
    found = "no mask" if kind is Kind.MASK else "no confounds"
    action = "copy the file from fMRIPrep's output, or run fMRIPrep again"
    fault = Fault(image.run_id, f"{found} beside the image", expected, action, image.participant_id)
    return Finding(kind, fault)
