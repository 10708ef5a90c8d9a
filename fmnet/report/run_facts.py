"""Say of a run what its record states: when, by which version and command, on which data."""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import fmnet
from fmnet.data.cohort import Cohort
from fmnet.report.sentences import count
from fmnet.runs.run_folder import read_json

#: A home folder in a path: pages are passed on, and whose machine it was is nobody's business.
HOME = re.compile(
    r"(?:[A-Za-z]:)?(?:[/\\][^\s/\\'\"=,\[\]]+)*?[/\\](?:home|Users)[/\\][^\s/\\'\"=,\[\]]+|/root(?=/)"
)
#: Readers of cohorts by the last part of their name, and what they read.
READERS = {
    "read_bids": "maps of BIDS derivatives",
    "read_image_table": "images listed in a table",
    "read_bold": "preprocessed BOLD runs of BIDS derivatives",
    "read_synthetic": "made-up maps",
    "read_synthetic_bold": "made-up BOLD runs",
    "read_injected": "real maps with a planted effect",
}
#: Settings of a reader that say where its files lie.
PLACES = ("root", "images", "participants")


class RunFact(NamedTuple):
    """A line of the head of the report: what it is about, and what is so; `is_code` as typed."""

    about: str
    lines: Sequence[str]
    is_code: bool = False


def run_facts(cohort: Cohort, settings: Mapping[str, Any], folder: Path) -> list[RunFact]:
    """List the facts of a run, from its ``manifest.json``, its settings and its cohort.

    Nothing is of the moment: a run that is gone on with keeps its date, and says when it was gone
    on with. What earlier versions didn't record is left out.
    """
    path = folder / "manifest.json"
    record = read_json(path) if path.exists() else {}
    versions, resumed = record.get("versions", {}), record.get("resumed", [])
    started, commit = _date(record.get("started")), record.get("git_commit")
    own = versions.get("fmnet", "")
    software = f"fmnet {own}{f', commit {commit}' if commit else ''}" if own else ""
    if own and own != fmnet.__version__:
        software += f"; this page was written by fmnet {fmnet.__version__}"
    took = f", in {duration(record['seconds'])}" if "seconds" in record else ""
    seed = f", seed {record['seed']}" if "seed" in record else ""
    facts = [
        RunFact("run", [f"{started}{took}{seed}"] if started else []),
        RunFact("software", list(filter(None, [software, _libraries(versions)]))),
        RunFact("data", data_lines(cohort, settings)),
        RunFact("command", [command_line(record.get("command", []))], is_code=True),
        RunFact(
            "gone on with",
            [
                f"{_date(one.get('started'))}: {command_line(one.get('command', []))}"
                for one in resumed
            ],
            is_code=True,
        ),
        RunFact(
            "SHA-256",
            [
                f"{record[key]} {words}"
                for key, words in (("data_sha256", "(scans)"), ("code_sha256", "(code)"))
                if key in record
            ],
            is_code=True,
        ),
    ]  # fmt: skip
    return [fact for fact in facts if any(fact.lines)]


def data_lines(cohort: Cohort, settings: Mapping[str, Any]) -> list[str]:
    """Say where scans come from, what they are, and how many people each group has."""
    asked, listing = settings.get("cohort", {}), cohort.listing
    reader = str(asked.get("_target_", "")).rsplit(".", 1)[-1]
    places = [without_home(str(asked[name])) for name in PLACES if asked.get(name)]
    source = ": ".join(filter(None, [READERS.get(reader, ""), ", ".join(places)]))
    if not listing.labels.is_given:  # of a target, which says by itself who was studied
        groups = f"{len(set(cohort.participant_ids))} people"
    else:
        labels = listing.labels
        people: dict[str, set[str]] = {labels.positive: set(), labels.negative: set()}
        for scan in cohort.scans:
            people.setdefault(scan.label, set()).add(scan.participant_id)
        groups = ", ".join(f"{len(members)} {label}" for label, members in people.items())
        groups += f" (people; column “{labels.column}”)"
    stat = "" if listing.stat == "n/a" else f" ({listing.stat})"
    used = set(cohort.participant_ids)
    # of somebody who is studied, some scans may be left out
    gone = [fault for fault in cohort.left_out if fault.participant_id not in used]
    others = [
        f"{n} {'person' if n == 1 else 'people'} {where}"
        for those, where in ((cohort.set_aside, "in the lock-box"), (gone, "left out"))
        if (n := len({one.participant_id for one in those}))
    ]
    grid = cohort.grid
    size = " x ".join(map(str, grid.shape))
    edges = " x ".join(f"{edge:g}" for edge in dict.fromkeys(grid.voxel_size_mm))
    return [
        *filter(None, [source]),
        f"{groups}; {count(len(cohort.scans), 'scan')} of {', '.join(listing.contrasts)}{stat}",
        *filter(None, [", ".join(others)]),
        f"grid of {size} voxels of {edges} mm, {grid.n_voxels} in the mask",
    ]


def command_line(command: Sequence[str]) -> str:
    """Write a command as it can be typed, from the folder of the scripts, without homes."""
    if not command:
        return ""
    script, *rest = map(str, command)
    path = PurePath(script.replace("\\", "/"))
    if path.stem == "ipykernel_launcher":  # whose arguments are of no use to anybody
        return "fmnet.study in a notebook"
    program = ["python", without_home(script)]
    if path.parent.name == "scripts":
        program = ["python", f"scripts/{path.name}"]
    if path.stem == "fmnet":  # the installed command
        program = ["fmnet"]
    if path.parts[-2:] == ("fmnet", "__main__.py"):
        program = ["python", "-m", "fmnet"]
    return shlex.join([*program, *map(without_home, rest)])


def without_home(text: str) -> str:
    """Write ``~`` for home folders in a text."""
    return HOME.sub("~", text)


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _date(moment: str | None) -> str:
    """Write a moment as ``manifest.json`` holds it in UTC, or as it is if it can't be read."""
    try:
        return f"{datetime.fromisoformat(str(moment)):%Y-%m-%d %H:%M} UTC" if moment else ""
    except ValueError:
        return str(moment)


def _libraries(versions: Mapping[str, str]) -> str:
    shown = ("torch", "monai", "nilearn", "scikit-learn")
    return ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)
