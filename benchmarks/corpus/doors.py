"""The doors through which data reach fmnet, and what each of them answers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.corpus.answers import (
    ERROR,
    FOUR_PARTS,
    LOST,
    NOTE,
    SCORE,
    UNCLEAR,
    Answer,
    Answers,
    Done,
    compare_values,
    in_training,
    judge_message,
    judge_row,
    run_app,
    run_command,
    run_predict,
    worst,
)
from benchmarks.corpus.bold import BoldInput, ask_bold
from benchmarks.corpus.case import CONTRAST, GROUPS, PEOPLE, STAT, Case, Materials, TableInput
from benchmarks.corpus.new_scans import gated_bundle
from fmnet.data.bids import read_bids
from fmnet.data.cohort import open_cohort
from fmnet.data.image_table import read_image_table
from fmnet.data.listing import Listing, MapTable, build_listing
from fmnet.data.scans import MapsOnGrid
from fmnet.data.store import ArrayStore
from fmnet.errors import FmnetError
from fmnet.synthetic.cohort_folder import SPACE


def ask_predict(materials: Materials, case: Case, given: Any, folder: Path) -> Answer:
    """Score one input and a good one beside it: the good one's row has to be there, too."""
    sources = [*(given if isinstance(given, list) else [given]), materials.maps[1]]
    done = run_predict(materials.bundle_folder, sources, folder, case.options)
    return _judge_beside(materials, case, done, len(sources), folder)


def ask_command(materials: Materials, case: Case, given: Any, folder: Path) -> Answer:
    """Do the same with the installed command, in a process and a locale of its own."""
    home = folder / "home"
    home.mkdir()
    done = run_command(materials.bundle_folder, [given, materials.maps[1]], home)
    return _judge_beside(materials, case, done, 2, folder)


def _judge_beside(
    materials: Materials, case: Case, done: Done, n_sources: int, folder: Path
) -> Answer:
    if done.refusal is not None:
        return replace(done.refusal, answer=f"{done.refusal.answer}, all results lost")
    if len(done.rows) != n_sources:
        return Answer(LOST, f"{len(done.rows)} rows for {n_sources} inputs")
    *rows, last = done.rows
    if judge_row(last, materials.scores[1], 1e-3).answer not in {SCORE, NOTE}:
        return Answer(LOST, f"the good map beside it: {last}")
    score = materials.score(materials.reference(case, folder))
    return worst([judge_row(row, score, case.tolerance) for row in rows], case.right)


def ask_training(materials: Materials, case: Case, given: Any, folder: Path) -> Answer:
    """Put one map into a study of four people; the other three have to stay in it."""
    files = [given, *materials.maps[1:]]
    rows = [
        {"participant_id": person, "scan_id": person, "contrast": CONTRAST, "space": SPACE,
         "path": str(file)}
        for person, file in zip(PEOPLE, files, strict=True)
    ]  # fmt: skip
    people = pd.DataFrame({"participant_id": PEOPLE, "group": GROUPS})

    def read() -> Listing:
        maps = MapTable(pd.DataFrame(rows), (CONTRAST,), STAT)
        return build_listing(maps, people, "group", "FM", "HC", "exclude")

    reference = materials.reference(case, folder)
    wanted = {PEOPLE[0]: case.right_at("training")}
    return _judge_study(materials, case, read, folder, wanted, {PEOPLE[0]: reference})


def ask_tree(materials: Materials, case: Case, given: Path, folder: Path) -> Answer:
    """Score a folder in which each person has to have a row."""
    done = run_predict(materials.bundle_folder, [given], folder, case.options)
    if done.refusal is not None:
        return done.refusal
    return _judge_rows(materials, case, done.rows)


def ask_tree_training(materials: Materials, case: Case, given: Path, folder: Path) -> Answer:
    """Read a folder as a study in which each person has to be accounted for."""

    def read() -> Listing:
        return read_bids(given, [CONTRAST], on_fault="exclude")

    wanted = {person: in_training(right) for person, right in case.people.items()}
    return _judge_study(materials, case, read, folder, wanted, {})


def ask_app(materials: Materials, case: Case, given: Path, folder: Path) -> Answer:
    """Score a folder as a BIDS App: each person has files or is named as without any."""
    done = run_app(materials.bundle_folder, given, folder / "out", case.options)
    told = done.refusal
    if told is not None and told.answer != "told":
        return told
    rows = done.rows
    for person in (*PEOPLE, *case.people):
        is_named = told is not None and person.removeprefix("sub-") in told.detail
        if is_named and not any(person in row["scan"] or person in row["reason"] for row in rows):
            action = "accepted: a scan; to do: see the terminal"
            rows = [*rows, {"scan": person, "status": ERROR, "reason": f"a: found none; {action}"}]
    return _judge_rows(materials, case, rows)


def ask_table(materials: Materials, case: Case, given: TableInput, folder: Path) -> Answer:
    """Score the maps of a table."""
    done = run_predict(materials.bundle_folder, [given.images], folder, case.options)
    if done.refusal is not None:
        return done.refusal
    return _judge_rows(materials, case, done.rows)


def ask_table_training(materials: Materials, case: Case, given: TableInput, folder: Path) -> Answer:
    """Read tables as a study."""
    settings = {"stat": STAT, "space": SPACE, "contrasts": None} | dict(given.settings or {})

    def read() -> Listing:
        return read_image_table(given.images, given.participants, on_fault="exclude", **settings)

    wanted = {person: in_training(right) for person, right in case.people.items()}
    return _judge_study(materials, case, read, folder, wanted, {})


def ask_bundle(materials: Materials, case: Case, given: Path, folder: Path) -> Answer:
    """Score a good map with an altered bundle."""
    done = run_predict(given, [materials.maps[0]], folder, case.options)
    if done.refusal is not None:
        return done.refusal
    if len(done.rows) != 1:
        return Answer(LOST, f"{len(done.rows)} rows for 1 input")
    return judge_row(done.rows[0], materials.scores[0], case.tolerance)


def ask_gated(materials: Materials, case: Case, given: Any, folder: Path) -> Answer:
    """Score one input with gates, and a good one beside it."""
    done = run_predict(gated_bundle(materials), [given, materials.maps[1]], folder, case.options)
    return _judge_beside(materials, case, done, 2, folder)


def ask_signed(materials: Materials, case: Case, given: list[Any], folder: Path) -> Answer:
    """Score a good map with a bundle that may have to be signed."""
    bundle, *options = given
    asked = replace(case, options=(*case.options, *map(str, options)))
    return ask_bundle(materials, asked, bundle, folder)


def ask_known(_: Materials, __: Case, given: list[Any], folder: Path) -> Answer:
    """Ask whether a scan is marked as one that the signature learned from."""
    bundle, scan = given
    done = run_predict(bundle, [scan], folder)
    if done.refusal is not None:
        return done.refusal
    told = done.rows[0]["in_training"]
    return Answer({"true": "marked", "false": "unmarked"}.get(told.lower(), told))


def ask_run(_: Materials, case: Case, given: BoldInput, folder: Path) -> Answer:
    """Score a BOLD run with a bundle of runs, and a good one beside it where that can be."""
    done = run_predict(given.bundle, given.sources, folder, (*given.options, *case.options))
    if done.refusal is not None:
        return done.refusal
    if len(done.rows) < len(given.sources):
        return Answer(LOST, f"{len(done.rows)} rows for {len(given.sources)} inputs")
    if len(given.sources) > 1:
        last = done.rows[-1]
        if judge_row(last, given.good_score, 1e-3).answer not in {SCORE, NOTE}:
            return Answer(LOST, f"the good run beside it: {last}")
    return judge_row(done.rows[0], given.score, case.tolerance)


#: Cases that go through the installed command, too.
COMMANDS = frozenset({
    "file name: Latin-1", "file name: invalid UTF-8", "file name: newline",
    "file name: escape sequence", "file name: emoji", "file name: NFD", "file name: formula",
    "thing: FIFO", "thing: link to /dev/zero", "thing: empty file",
    "gzip: bomb behind the map, 4 GiB", "orientations: LAS, NIfTI-1, both forms",
    "truncated: 100 bytes", "units: micron, NIfTI-1, <", "intent: 22 p value",
})  # fmt: skip
#: Ways in, by name: each takes materials, case, what the case made, and a folder to write into.
DOORS: dict[str, Callable[[Materials, Case, Any, Path], Answer]] = {
    "predict": ask_predict,
    "command": ask_command,
    "training": ask_training,
    "tree": ask_tree,
    "tree training": ask_tree_training,
    "app": ask_app,
    "table": ask_table,
    "table training": ask_table_training,
    "bundle": ask_bundle,
    "gated": ask_gated,
    "signed": ask_signed,
    "known": ask_known,
    "run": ask_run,
    "run training": ask_bold,
}


def _judge_rows(materials: Materials, case: Case, rows: list[dict[str, str]]) -> Answer:
    """Compare the rows of a table or tree with what each person is to have."""
    if len(rows) == 1 and not any(person in rows[0]["scan"] for person in PEOPLE):
        return judge_row(rows[0], np.inf, 0)  # the input as a whole
    wanted = dict.fromkeys(PEOPLE, case.right) | dict(case.people)
    answers = []
    for person, right in wanted.items():
        found = [row for row in rows if person in row["scan"] or person in (row["reason"] or "")]
        if not found:
            return Answer(LOST, f"no row for {person}; {len(rows)} rows")
        score = materials.scores[PEOPLE.index(person)] if person in PEOPLE else np.inf
        judged = [judge_row(row, score, case.tolerance) for row in found]
        answer = worst(judged, right)
        if answer.answer not in right:
            return replace(answer, detail=f"{person}: {answer.detail}")
        answers.append(answer)
    return _as_whole(answers, case.right)


def _judge_study(
    materials: Materials,
    case: Case,
    read: Callable[[], Listing],
    folder: Path,
    wanted: dict[str, Answers],
    references: dict[str, Path],
) -> Answer:
    """Open a study; compare the values of those in it, and the faults of those who are not."""
    try:
        store = ArrayStore(folder / "store", MapsOnGrid(materials.bundle.preparation.grid))
        cohort = open_cohort(read(), store)
    except FmnetError as error:
        text = str(error)
        is_clear = all(FOUR_PARTS.search(str(fault)) for fault in error.faults)
        if references:
            return Answer(LOST, f"three good people with the one in question: {text}")
        return Answer(ERROR if is_clear else UNCLEAR, text)
    used = dict(zip(cohort.participant_ids, cohort.stored, strict=True))
    everyone = frozenset({SCORE}) if references else case.right_at("training")
    account = dict.fromkeys(PEOPLE, everyone) | wanted
    answers = []
    for person, right in account.items():
        faults = [
            str(fault)
            for fault in cohort.left_out
            if person in fault.participant_id or person in fault.where
        ]
        if (stored := _of(used, person)) is not None:
            place = PEOPLE.index(person) if person in PEOPLE else 0
            expected = materials.on_grid(references.get(person, materials.maps[place]))
            answer = compare_values(stored.values()[0], expected, case.tolerance * 10)
        elif faults:
            answer = judge_message(" | ".join(faults))
        else:
            answer = Answer(LOST, "neither in the study nor among the faults")
        if answer.answer not in right:
            return replace(answer, detail=f"{person}: {answer.detail}")
        answers.append(answer)
    return answers[0] if references else _as_whole(answers, everyone)


def _of(used: Mapping[str, Any], person: str) -> Any:
    """Find a person whose id may have been written without its prefix."""
    return next((used[key] for key in used if key.strip().removeprefix("sub-") == person[4:]), None)


def _as_whole(answers: list[Answer], usual: Answers) -> Answer:
    """Say in one answer that everybody has one that is right: the first of the usual ones."""
    return next((answer for answer in answers if answer.answer in usual), Answer(SCORE))
