"""Which of an fMRIPrep tree's images are wanted: task, sessions, space and resolution."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnet.bold.bids_files import VOLUMES, BoldName
from fmnet.data.advice import Advice
from fmnet.data.volume import MNI_SPACES
from fmnet.errors import CohortError, Fault

FMRIPREP_HINT = "run fMRIPrep with --output-spaces MNI152NLin2009cAsym:res-2"
#: Between a space and its resolution, as in fMRIPrep's --output-spaces.
RES_MARK = ":res-"


@dataclass(frozen=True)
class RunChoice:
    """What to read of each person.

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
    _check_preprocessed(names, root)
    task = _choose_task(names, root, task, advice)
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


def why_unusable(names: Sequence[BoldName]) -> str:
    """Say what there is instead of usable images."""
    kinds = Counter(_describe(name) for name in names)
    return ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))


def _describe(name: BoldName) -> str:
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


def advise(names: Sequence[BoldName]) -> str:
    """Say what to do about images of which none is usable."""
    volumes = [name for name in names if name.extension in VOLUMES]
    if volumes and all(name.get("echo") for name in volumes):
        return "combine the echoes, as fMRIPrep does by itself for runs with three or more"
    return FMRIPREP_HINT


def _check_preprocessed(names: Sequence[BoldName], root: Path) -> None:
    accepted = "sub-*/[ses-*/]func/sub-*_task-*_space-<MNI...>_desc-preproc_bold.nii.gz"
    if not names:
        found, action = "no BOLD image", "give fMRIPrep's output folder, which holds sub-*/"
        raise CohortError(Fault(str(root), found, accepted, action))
    if not any(is_usable(name) for name in names):
        found = f"no preprocessed image in MNI space, but {why_unusable(names)}"
        raise CohortError(Fault(str(root), found, accepted, advise(names)))


def _choose_task(names: Sequence[BoldName], root: Path, task: str | None, advice: Advice) -> str:
    tasks = {name.get("task") for name in names}
    found = _say_people(names, "task")
    if task is None and len(tasks) > 1:
        raise CohortError(Fault(str(root), f"tasks {found}", "one task", advice.runs))
    if task is not None and task not in tasks:
        raise CohortError(Fault(str(root), f"no run of task '{task}'", found, advice.task))
    return task or next(iter(tasks))


def _say_people(names: Sequence[BoldName], entity: str) -> str:
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
    found = _say_people(names, "ses")
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
        found = f"no preprocessed image in MNI space, but {why_unusable(names)}"
        faults.append(Fault(str(root), found, "one in MNI space", advise(names)))
        return ""
    matching = [key for key in sorted(outputs) if _is_output(key, space)]
    matching = [space] if space in matching else matching
    if not matching:
        faults.append(Fault(str(root), f"no image in space '{space}'", found, advice.space))
    elif len(matching) > 1:
        accepted = "one space and resolution"
        action = f"{advice.space}, for instance {matching[0]}"
        faults.append(Fault(str(root), f"images in {found}", accepted, action))
    return matching[0] if matching else ""


def _is_output(output: str, space: str | None) -> bool:
    return space is None or space in {output, output.split(RES_MARK)[0]}
