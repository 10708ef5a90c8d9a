"""What a door answers to an input, and how its own words are read."""

import csv
import io
import json
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.predicting import COMMAND
from fmnet.inference.cli import main

#: What a door may answer. ``score``: that of the same map, written plainly; ``other score``: a
#: score, but not that one; ``note``: the score with a remark beside it; ``forced``: a score that a
#: gate had stopped, marked as such.
SCORE, OTHER, NOTE, CANNOT_SAY, ERROR = "score", "other score", "note", "cannot_say", "error"
FORCED = "forced"
Answers = frozenset[str]
#: The usual answers that are right.
RIGHT = frozenset({SCORE, NOTE})
REFUSED = frozenset({ERROR})
NO_SCORE = frozenset({ERROR, CANNOT_SAY})
#: Where a lab could live with both.
EITHER = RIGHT | NO_SCORE
#: Where only a traceback, a hang or a lost row would be wrong.
ANY = EITHER | {OTHER}
#: An answer that no case accepts.
UNCLEAR, LOST = "unclear message", "lost"
#: Where, what was found, what is accepted, what to do.
FOUR_PARTS = re.compile(r"\S.*: found \S.*; accepted: \S.*; to do: \S", re.DOTALL)
#: Seconds that the command may take with its start, which a busy machine draws out.
COMMAND_S = 10
#: Columns of what goes with a score.
PROBABILITIES = ("probability", "probability_low", "probability_high")
NUMBERS = ("score", *PROBABILITIES, "set")
#: A bar of progress, and the blanks that wipe it out.
PROGRESS = re.compile(r"(\r[\w ]+: +\d+%\|[^\r\n]*)+\r *\r")
#: What a terminal or a table acts upon.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Answer:
    """What a door said.

    Parameters
    ----------
    answer : str
        One of those that cases accept, or another word for what came.
    detail : str
        The message, or what is amiss.
    """

    answer: str
    detail: str = ""


@dataclass(frozen=True)
class Done:
    """What ``fmnet-predict`` did: rows of its table, or why there are none."""

    rows: list[dict[str, str]]
    refusal: Answer | None = None


def run_predict(
    bundle: Path, sources: list[Any], folder: Path, options: tuple[str, ...] = ()
) -> Done:
    """Run the command in this process, and read what it wrote as a stranger would."""
    out = folder / "results.tsv"
    said, printed = io.StringIO(), io.StringIO()
    arguments = [str(bundle), *map(str, sources), "--out", str(out), "--overwrite", *options]
    with redirect_stderr(said), redirect_stdout(printed):
        try:
            code = main(arguments)
        except SystemExit as error:
            code = -1 if error.code is None else int(error.code)
    said_all = said.getvalue() + printed.getvalue()
    if found := CONTROL.search(PROGRESS.sub("", said_all)):
        return Done([], Answer(UNCLEAR, f"{found[0]!r} reaches the terminal"))
    if code not in {0, 1}:
        return Done([], judge_end(said.getvalue()))
    text = out.read_bytes().decode("utf-8")  # anything else is a traceback
    if found := CONTROL.search(text.replace("\n", "")):
        return Done([], Answer(UNCLEAR, f"{found[0]!r} in the table"))
    return Done(list(csv.DictReader(io.StringIO(text), delimiter="\t")))


def run_command(bundle: Path, sources: list[Any], folder: Path) -> Done:
    """Run the command in a process of its own, in the C locale, its table to the terminal."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": str(folder)}
    arguments = [os.fsencode(str(each)) for each in (bundle, *sources)]
    try:
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True, env=os.environ | plain, check=False, timeout=COMMAND_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Done([], Answer(f"no answer within {COMMAND_S} s"))
    said, text = done.stderr.decode("utf-8", "replace"), done.stdout.decode("utf-8")
    if "Traceback" in said:
        return Done([], Answer("traceback", said[-500:]))
    if found := CONTROL.search(PROGRESS.sub("", said) + text):
        return Done([], Answer(UNCLEAR, f"{found[0]!r} reaches the terminal"))
    if left := [path.name for path in folder.iterdir()]:
        return Done([], Answer("traces left", f"in the home folder: {left}"))
    if done.returncode not in {0, 1}:
        return Done([], judge_message(said))
    return Done(list(csv.DictReader(io.StringIO(text), delimiter="\t")))


def run_app(bundle: Path, data: Path, out: Path, options: tuple[str, ...] = ()) -> Done:
    """Run the command as a BIDS App, both stages; read what it wrote for people and of all."""
    rows: list[dict[str, str]] = []
    for stage in ("participant", "group"):
        said, printed = io.StringIO(), io.StringIO()
        arguments = [str(data), str(out), stage, "--bundle", str(bundle), "--jobs", "1", *options]
        with redirect_stderr(said), redirect_stdout(printed):
            try:
                code = main(arguments)
            except SystemExit as error:
                code = -1 if error.code is None else int(error.code)
        if found := CONTROL.search(PROGRESS.sub("", said.getvalue() + printed.getvalue())):
            return Done([], Answer(UNCLEAR, f"{found[0]!r} reaches the terminal"))
        if code not in {0, 1}:
            return Done([], judge_end(said.getvalue()))
    if fault := _app_fault(out):
        return Done([], Answer(UNCLEAR, fault))
    text = (out / "group_predictions.tsv").read_bytes().decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    if len(rows) != len(list(out.glob("sub-*/**/*_fmnet.json"))):
        return Done([], Answer(LOST, f"{len(rows)} rows of the group, other files of people"))
    # people without any image are told, and have no file
    return Done(rows, Answer("told", said.getvalue()))


def _app_fault(out: Path) -> str:
    """Say what is wrong with the files that a BIDS App wrote; empty if nothing is."""
    about = json.loads((out / "dataset_description.json").read_bytes().decode("utf-8"))
    if about.get("DatasetType") != "derivative" or not about.get("GeneratedBy"):
        return "a dataset_description.json that doesn't say who wrote it"
    for path in out.glob("sub-*/**/*_fmnet.json"):
        record = json.loads(path.read_bytes().decode("utf-8"))["predictions"][0]
        if record["status"] == "ok" and not np.isfinite(record["score"]):
            return f"{path.name} with a score of {record['score']}"
        if not path.with_suffix(".html").exists() and record["status"] == "ok":
            return f"no page beside {path.name}"
    for path in (out / "group_predictions.tsv", *out.glob("**/*.html")):
        if found := CONTROL.search(path.read_bytes().decode("utf-8").replace("\n", "")):
            return f"{found[0]!r} in {path.name}"
    return ""


def judge_end(said: str) -> Answer:
    """Judge why the command gave up; argparse names options its own way, below how to call it."""
    is_of_option = re.search(r"^usage: (.|\n)*: error: argument --[\w-]+: '.*' is no \S", said)
    return Answer(ERROR, said) if is_of_option else judge_message(said)


def judge_message(message: str) -> Answer:
    """Tell a message that says where, what was found, what is accepted and what to do."""
    if "that fmnet doesn't foresee" in message:  # a traceback, caught at last
        return Answer("unforeseen", message)
    return Answer(ERROR if FOUR_PARTS.search(message) else UNCLEAR, message)


def judge_row(row: Mapping[str, str], score: float, tolerance: float) -> Answer:
    """Tell what a row of predict's table says, beside the score that is right."""
    reason = row.get("reason") or "n/a"
    if row["status"] in {"ok", FORCED}:
        found = float(row["score"])
        numbers = [row[name] for name in PROBABILITIES if row.get(name, "n/a") != "n/a"]
        if not np.isfinite(found) or not all(0 <= float(number) <= 1 for number in numbers):
            return Answer("not finite", f"{row['score']}, {numbers}")
        if row["status"] == FORCED:
            is_marked = row["gates_failed"] != "n/a" and FOUR_PARTS.search(reason)
            return Answer(FORCED if is_marked else "forced, unmarked", reason)
        if abs(found - score) > tolerance:
            return Answer(OTHER, f"{found:.4g} for {score:.4g}; {reason}")
        return Answer(SCORE if reason == "n/a" else NOTE, reason)
    if told := [name for name in NUMBERS if row.get(name, "n/a") != "n/a"]:
        return Answer("numbers without a score", f"{told}; {reason}")
    judged = judge_message(reason)
    return (
        Answer(CANNOT_SAY, reason)
        if judged.answer == ERROR and row["status"] == CANNOT_SAY
        else judged
    )


def compare_values(found: Any, expected: Any, tolerance: float) -> Answer:
    """Compare values on a grid with those that are right, NaN where there are none."""
    known, wanted = np.isfinite(found), np.isfinite(expected)
    if (share := float((known != wanted).mean())) > 0.05:
        return Answer(OTHER, f"known in other voxels, {share:.1%} of the mask")
    both = known & wanted
    error = float(np.sqrt(np.mean((found[both] - expected[both]) ** 2))) if both.any() else 0.0
    if error > tolerance:
        return Answer(OTHER, f"values {error:.3g} (RMS) off")
    return Answer(SCORE)


def worst(answers: list[Answer], right: Answers) -> Answer:
    """Give the first answer that isn't right, or else the first."""
    wrong = [answer for answer in answers if answer.answer not in right]
    return (wrong or answers)[0]


def in_training(right: Answers) -> Answers:
    """Translate answers of predict: training knows values or a fault."""
    return right | (REFUSED if CANNOT_SAY in right else frozenset())
