"""Preprocessed runs in a tree that fMRIPrep wrote: which are wanted, and what belongs to each."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnet.bold.bids_files import (
    OUTPUT_ENTITIES,
    VOLUMES,
    BoldName,
    PreprocessedRun,
    bold_of,
    find_raw,
    find_subjects,
    inherited_files,
    read_sidecars,
    stated_start_time,
    stated_t_r,
)
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.findings import Finding, Kind
from fmnet.data.bids import BidsTree, is_same, read_tree, say_instead
from fmnet.data.listing import SETTINGS, Advice
from fmnet.data.volume import MNI_SPACES
from fmnet.errors import CohortError, Fault, VolumeError

#: fMRIPrep's name for confounds, and the one that it had before version 20.2.
CONFOUNDS = ("desc-confounds_timeseries.tsv", "desc-confounds_regressors.tsv")
#: Entities that tell the runs of a session apart; images that differ in others are one run's.
RUN_ENTITIES = ("sub", "ses", "task", "acq", "ce", "dir", "run")
MASKS = ("desc-brain_mask.nii.gz", "desc-brain_mask.nii")
PREPROCESSED = "sub-*/[ses-*/]func/sub-*_task-*_space-<MNI...>_desc-preproc_bold.nii.gz"
FMRIPREP_HINT = "run fMRIPrep with --output-spaces MNI152NLin2009cAsym:res-2"
#: Between a space and its resolution, as in fMRIPrep's --output-spaces.
RES_MARK = ":res-"


@dataclass(frozen=True)
class RunListing:
    """Preprocessed runs with everything that is wrong so far.

    Parameters
    ----------
    runs : tuple of PreprocessedRun
        Those without a fault of their own, also of people with other faults; by subject, then in
        the order of their names.
    everyone : tuple of str
        All people with a folder in the tree, sorted, with ``sub-``.
    faults : tuple of Fault
        Nothing is left out without one.
    """

    runs: tuple[PreprocessedRun, ...]
    everyone: tuple[str, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class RunChoice:
    """What to read of each subject.

    Parameters
    ----------
    task : str
        Without ``task-``.
    sessions : tuple of str
        Without ``ses-``; one empty name where the tree has no sessions.
    output : str
        Space, and resolution if names state one: ``MNI152NLin2009cAsym:res-2``.
    """

    task: str
    sessions: tuple[str, ...]
    output: str


def find_runs(
    root: str | Path,
    task: str | None = None,
    sessions: Sequence[str] | None = None,
    space: str | None = None,
    raw: str | Path | None = None,
    needs_confounds: bool = True,
    advice: Advice = SETTINGS,
    entities: Mapping[str, str | int] | None = None,
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
        Without ``ses-``; a subject has to have a run in each. May be left out where there is only
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
    entities : dict, optional
        Which images to read by further entities of their names, ``{rec: magnitude}``; ``n/a`` for
        those that don't state one.

    Raises
    ------
    CohortError
        If there is no such folder, nothing to read in it, or a choice to make.
    """
    _check_folder(Path(root), advice)
    tree = read_tree(Path(root), only_subjects=True)
    runs, findings = list_runs(
        keep_entities(bold_of(tree), entities or {}, Path(root), advice),
        Path(root),
        None if task is None else str(task).removeprefix("task-"),
        None if sessions is None else [str(name).removeprefix("ses-") for name in sessions],
        None if space is None else space.removeprefix("space-"),
        find_raw(Path(root)) if raw is None else Path(raw),
        needs_confounds,
        advice,
        tree,
    )
    faults = tuple(finding.fault for finding in findings)
    return RunListing(runs, tuple(tree.subjects), faults)


def list_runs(
    names: Sequence[BoldName],
    root: Path,
    task: str | None,
    sessions: Sequence[str] | None,
    space: str | None,
    raw: Path | None,
    needs_confounds: bool,
    advice: Advice,
    tree: BidsTree | None = None,
) -> tuple[tuple[PreprocessedRun, ...], list[Finding]]:
    """List the runs of one task among images that were found already; see `find_runs`.

    Faults come with what they are about. Subjects and folders without a run are those of the `tree`
    that the images were found in, if it is given.
    """
    if raw is not None:
        _check_folder(raw, advice)
    choice = choose_runs(names, root, task, sessions, space, advice)
    wanted = [
        name
        for name in names
        if name.get("task") == choice.task and name.get("ses") in choice.sessions
    ]
    everyone = dict.fromkeys(find_subjects(root), ()) if tree is None else tree.subjects
    findings = [] if tree is None else [Finding(Kind.UNREADABLE, fault) for fault in tree.faults]
    findings += _absent(wanted, everyone, choice)
    roots = (root,) if raw is None else (root, raw)
    images: dict[str, list[BoldName]] = defaultdict(list)
    for run_id in sorted({name.run_id for name in wanted}, key=_natural_order):
        variants = [name for name in wanted if name.run_id == run_id]
        image = _choose_image(variants, choice, findings)
        if image is not None:
            images[image.stem_of(RUN_ENTITIES)].append(image)
    runs: list[PreprocessedRun] = []
    for name, of_run in images.items():
        if len(of_run) > 1:
            findings.append(_repeated(name, of_run, advice))
            continue
        wrong, run = _build_run(of_run[0], roots, needs_confounds, advice)
        findings += wrong
        runs += [run] if not wrong else []
    return tuple(runs), findings


def choose_runs(
    names: Sequence[BoldName],
    root: Path,
    task: str | None,
    sessions: Sequence[str] | None,
    space: str | None,
    advice: Advice,
) -> RunChoice:
    """Settle what is read; where nothing is asked for, only what leaves no choice.

    Raises
    ------
    CohortError
        With every choice that is missing, or that names what isn't there.
    """
    if not names:
        found, action = "no BOLD image", "give fMRIPrep's output folder, which holds sub-*/"
        raise CohortError(Fault(str(root), found, PREPROCESSED, action))
    if not any(is_usable(name) for name in names):
        found = f"no preprocessed image in MNI space, but {_say_kinds(names)}"
        raise CohortError(Fault(str(root), found, PREPROCESSED, _advise(names)))
    tasks, counted = {name.get("task") for name in names}, _count_people(names, "task")
    if task is None and len(tasks) > 1:
        raise CohortError(Fault(str(root), f"tasks {counted}", "one task", advice.runs))
    if task is not None and task not in tasks:
        raise CohortError(Fault(str(root), f"no run of task '{task}'", counted, advice.task))
    task = task or next(iter(tasks))
    of_task = [name for name in names if name.get("task") == task]
    faults: list[Fault] = []
    chosen = _choose_sessions(of_task, root, sessions, advice, faults)
    if chosen:  # another session's spaces are no choice for these
        of_task = [name for name in of_task if name.get("ses") in chosen]
    output = _choose_output(of_task, root, space, advice, faults)
    if faults:
        raise CohortError(faults)
    return RunChoice(task, chosen, output)


def is_usable(name: BoldName) -> bool:
    """Tell a preprocessed volume in MNI space from whatever else lies beside it."""
    is_volume = name.extension in VOLUMES and name.get("desc") == "preproc"
    is_whole = not name.get("echo") and name.get("part") in {"", "mag"}
    return is_volume and is_whole and name.get("space") in MNI_SPACES


def _say_kinds(names: Sequence[BoldName]) -> str:
    """Say what kinds of images there are, where none is usable."""
    kinds = Counter(_kind_of(name) for name in names)
    return ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))


def _kind_of(name: BoldName) -> str:
    if name.extension not in VOLUMES:
        kind = "CIFTI" if name.extension.startswith("dtseries") else "surface"
        return f"{kind} output in {name.output or 'no stated space'}"
    if name.get("echo"):
        return "single echoes"
    if name.get("part") not in {"", "mag"}:
        return f"part-{name.get('part')}"
    if name.get("desc") != "preproc":
        return f"desc-{name.get('desc')}" if name.get("desc") else "raw images"
    return f"space {name.output}" if name.get("space") else "native space (no space in the name)"


def _advise(names: Sequence[BoldName]) -> str:
    """Say what to do about images of which none is usable."""
    volumes = [name for name in names if name.extension in VOLUMES]
    if volumes and all(name.get("echo") for name in volumes):
        return "combine the echoes, as fMRIPrep does by itself for runs with three or more"
    return FMRIPREP_HINT


def _count_people(names: Sequence[BoldName], entity: str) -> str:
    """List the values of an entity, and how many people have images of each."""
    pairs = {(name.get(entity), name.participant_id) for name in names}
    counts = sorted(Counter(value for value, _ in pairs).items())
    return ", ".join(
        f"{repr(value) if value else 'none'} ({n} {'person' if n == 1 else 'people'})"
        for value, n in counts
    )


def _choose_sessions(
    names: Sequence[BoldName],
    root: Path,
    asked: Sequence[str] | None,
    advice: Advice,
    faults: list[Fault],
) -> tuple[str, ...]:
    sessions = sorted({name.get("ses") for name in names})
    found = _count_people(names, "ses")
    if asked is None:
        if len(sessions) > 1:
            accepted = "one session, or a choice"
            faults.append(Fault(str(root), f"sessions {found}", accepted, advice.sessions))
        return tuple(sessions)
    wanted = tuple(dict.fromkeys(asked))
    absent = [f"'{key}'" for key in wanted if key not in sessions]
    if absent or not wanted:
        missing = f"no session {', '.join(absent)}" if absent else "an empty list of sessions"
        faults.append(Fault(str(root), missing, found, advice.sessions))
    return tuple(key for key in wanted if key in sessions)


def _choose_output(
    names: Sequence[BoldName],
    root: Path,
    space: str | None,
    advice: Advice,
    faults: list[Fault],
) -> str:
    outputs = Counter(name.output for name in names if is_usable(name))
    found = ", ".join(f"'{key}' ({count})" for key, count in sorted(outputs.items()))
    if space is not None and space.split(RES_MARK)[0] not in MNI_SPACES:
        faults.append(Fault(str(root), f"space '{space}'", ", ".join(MNI_SPACES), advice.space))
        return ""
    if not outputs:
        found = f"no preprocessed image in MNI space, but {_say_kinds(names)}"
        faults.append(Fault(str(root), found, "one in MNI space", _advise(names)))
        return ""
    matching = [
        key for key in sorted(outputs) if space is None or space in {key, key.split(RES_MARK)[0]}
    ]
    matching = [space] if space in matching else matching
    if not matching:
        faults.append(Fault(str(root), f"no image in space '{space}'", found, advice.space))
    elif len(matching) > 1:
        accepted = "one space and resolution"
        action = f"{advice.space}, for instance {matching[0]}"
        faults.append(Fault(str(root), f"images in {found}", accepted, action))
    return matching[0] if matching else ""


def keep_entities(
    names: Sequence[BoldName], entities: Mapping[str, str | int], root: Path, advice: Advice
) -> list[BoldName]:
    """Keep the images whose names state what is wanted; raise `CohortError` if there are none."""
    for entity, wanted in entities.items():
        kept = [name for name in names if is_same(name.get(entity.lower()), str(wanted))]
        if names and not kept:
            found = f"no BOLD image with {entity} '{wanted}'"
            values = sorted({name.get(entity.lower()) or "n/a" for name in names})
            action = advice.choose(entity, values[-1])
            raise CohortError(Fault(str(root), found, ", ".join(values), action))
        names = kept
    return list(names)


def _repeated(run: str, images: Sequence[BoldName], advice: Advice) -> Finding:
    """Report images of one run that differ in an entity which tells no runs apart."""
    held = [dict(image.entities) for image in images]
    names = sorted({key for entities in held for key in entities})
    values = {key: sorted({entities.get(key, "") for entities in held}) for key in names}
    choices = {key: found for key, found in values.items() if len(found) > 1}
    files = ", ".join(image.path.name for image in images)
    stated = "; ".join(f"{key} is {' or '.join(map(repr, v))}" for key, v in choices.items())
    action = "; ".join(advice.choose(key, found[-1]) for key, found in choices.items())
    found = f"several images of one run: {stated} ({files})"
    subject = images[0].participant_id
    return Finding(Kind.REPEATED, Fault(run, found, "one image of each run", action, subject))


def _natural_order(name: str) -> list[str | int]:
    """Sort ``run-2`` before ``run-10``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _check_folder(root: Path, advice: Advice) -> None:
    if not root.is_dir():
        raise CohortError(Fault(str(root), "no such folder", "a BIDS folder", advice.root))


def _absent(
    wanted: Sequence[BoldName], everyone: Mapping[str, Sequence[str]], choice: RunChoice
) -> list[Finding]:
    """Find subjects without any run of the task in one of the sessions."""
    there = {(name.participant_id, name.get("ses")) for name in wanted}
    action = "preprocess the person's runs, or leave the person out"
    return [
        Finding(
            Kind.NO_RUN,
            Fault(
                subject,
                f"no run of task '{choice.task}'"
                + (f" in session '{session}'" if session else "")
                + say_instead(images),
                "one at least",
                action,
                subject,
            ),
        )
        for subject, images in everyone.items()
        for session in choice.sessions
        if (subject, session) not in there
    ]


def _choose_image(
    variants: Sequence[BoldName], choice: RunChoice, findings: list[Finding]
) -> BoldName | None:
    """Of all that was made of one run, take the image that is wanted."""
    run_id, subject = variants[0].run_id, variants[0].participant_id
    usable = [name for name in variants if is_usable(name) and name.output == choice.output]
    if len(usable) == 1:
        return usable[0]
    accepted = f"one desc-preproc image in space {choice.output}"
    if usable:
        found = f"several images: {', '.join(name.path.name for name in usable)}"
        action = "remove or rename all but one"
        findings.append(Finding(Kind.REPEATED, Fault(run_id, found, accepted, action, subject)))
        return None
    found = f"no such image but {_say_kinds(variants)}"
    fault = Fault(run_id, found, accepted, _advise(variants), subject)
    findings.append(Finding(Kind.UNUSABLE, fault))
    return None


def _build_run(
    image: BoldName, roots: tuple[Path, ...], needs_confounds: bool, advice: Advice
) -> tuple[list[Finding], PreprocessedRun]:
    """Find the mask, confounds, times and events of an image."""
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
    subject = image.participant_id
    bold = BoldRun(image.run_id, subject, image.path, image.get("space"), mask, t_r)
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
