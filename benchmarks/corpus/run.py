"""The corpus as a benchmark: every case at every door, within limits of time and memory."""

import io
import resource
import shutil
import subprocess
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from benchmarks.corpus.answers import CANNOT_SAY, ERROR, NOTE
from benchmarks.corpus.bold import bold_cases
from benchmarks.corpus.bundles import bundle_cases
from benchmarks.corpus.case import Case, Materials, unique
from benchmarks.corpus.doors import COMMANDS, DOORS
from benchmarks.corpus.headers import header_cases
from benchmarks.corpus.names import name_cases
from benchmarks.corpus.new_scans import new_scan_cases
from benchmarks.corpus.tables import table_cases
from benchmarks.corpus.trees import tree_cases
from benchmarks.corpus.values import value_cases
from benchmarks.race import Goal, write_results
from fmnet.errors import BenchmarkError, Fault
from fmnet.types import Positive

#: How each answer is counted, in this order.
RIGHT, CLEAR, NOTED, TRACEBACK, HANG, MEMORY, WRONG = OUTCOMES = (
    "right", "clear error", "note", "traceback", "hang", "memory over limit", "wrong",
)  # fmt: skip
#: Of these there may be none.
BAD = (TRACEBACK, HANG, MEMORY, WRONG)
NOT_MADE = "not made"
#: Characters that are kept of a message.
MAX_DETAIL = 1000
#: Seconds that a case may take to be written, and a worker to start.
MAKING_S = 120.0
MB = 1 << 20


@dataclass(frozen=True)
class Corpus:
    """Hostile and odd but valid inputs through predict and training: what each of them answers.

    Time is that of the processor, so that a busy machine changes nothing; what has not answered
    by `hang_s` of the clock hangs. Memory is the largest resident size beyond that before.

    Parameters
    ----------
    bundle : str
        A signature of one map named pressure, in z, on the grid of the synthetic cohort.
    only : str
        Part of ``kind: name`` of the cases to run; all of them if empty.
    limit_s : float
        Seconds of the processor that an answer may take.
    hang_s : float
        Seconds of the clock.
    memory_mb : float
        Megabytes that an answer may take.
    """

    bundle: str = "tests/bundles/format_1"
    only: str = ""
    limit_s: Positive = 2.0
    hang_s: Positive = 12.0
    memory_mb: Positive = 1000.0

    def run(self, out: Path) -> list[str]:
        """Write one row per case and door; return counts and all that isn't right in words."""
        rows = list(self.answers())
        if not rows:
            accepted, action = "part of the name of a case", "correct suite.only"
            raise BenchmarkError(Fault("suite.only", f"no case '{self.only}'", accepted, action))
        table = pd.DataFrame(rows)
        counts = count_outcomes(table)
        n_bad = int(table["outcome"].isin(BAD).sum())
        goal = Goal("tracebacks, hangs, too much memory and wrong answers", n_bad, 0, False)
        settings = {key: value for key, value in vars(self).items()}
        tables = {"answers": table, "counts": counts}
        lines = write_results(out, tables, [goal], settings)
        shown = [line for line in lines if not line.startswith("{")]
        place = shown.index("answers")
        shown = shown[:place] + shown[shown.index("counts") :]
        return [*shown, "", *list_bad(table)]

    def answers(self) -> Iterator[dict[str, Any]]:
        """Run the cases, in a process that is replaced when it hangs or dies."""
        numbers = [
            n for n, case in enumerate(all_cases()) if self.only in f"{case.kind}: {case.name}"
        ]
        jobs = [(number, door) for number in numbers for door in all_cases()[number].doors]
        folder = Path(tempfile.mkdtemp(prefix="fmnet-corpus-"))
        worker = Worker(self, folder)
        try:
            for number, door in tqdm(jobs, desc="corpus", unit="answer", leave=False):
                yield worker.ask(number, door)
        finally:
            worker.stop()
            remove_deep(folder)


@cache
def all_cases() -> tuple[Case, ...]:
    """List all cases, in a stable order."""
    parts = (
        header_cases,
        value_cases,
        name_cases,
        table_cases,
        tree_cases,
        bundle_cases,
        bold_cases,
        new_scan_cases,
    )
    cases = unique([case for part in parts for case in part()])
    return tuple(
        replace(case, doors=(*case.doors, "command"))
        if f"{case.kind}: {case.name}" in COMMANDS
        else case
        for case in cases
    )


def count_outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Count outcomes by kind of case, and in all."""
    counts = pd.crosstab(table["kind"], table["outcome"]).reindex(
        columns=list(OUTCOMES), fill_value=0
    )
    counts = counts.reindex(table["kind"].drop_duplicates())
    counts.loc["all"] = counts.sum()
    inputs = table.groupby("kind")["case"].nunique()
    counts.insert(0, "inputs", inputs)
    counts.loc["all", "inputs"] = inputs.sum()
    return counts.astype(int).rename_axis(None, axis=1).reset_index()


def list_bad(table: pd.DataFrame) -> list[str]:
    """Put into words which cases are not right, one line each."""
    lines = []
    for row in table[table["outcome"].isin(BAD)].to_dict("records"):
        detail = " ".join(str(row["detail"]).split())[:300]
        lines.append(
            f"{row['outcome']}: {row['kind']}: {row['case']} [{row['door']}]: {row['answer']}, "
            f"right: {row['right']}; {row['seconds']:.2f} s, {row['peak_mb']:.0f} MB; {detail}"
        )
    if left := table[table["outcome"] == NOT_MADE]["case"].tolist():
        lines.append(f"could not be made here: {', '.join(left)}")
    return lines


class Worker:
    """A process that runs cases one by one; replaced when it hangs or dies.

    Parameters
    ----------
    corpus : Corpus
        Limits and bundle.
    folder : Path
        For materials and inputs.
    """

    def __init__(self, corpus: Corpus, folder: Path) -> None:
        self.corpus, self.folder = corpus, folder
        self._start()

    def ask(self, number: int, door: str) -> dict[str, Any]:
        """Run one case at one door."""
        case = all_cases()[number]
        row: dict[str, Any] = {
            "kind": case.kind, "case": case.name, "door": door,
            "right": " or ".join(sorted(case.right_at(door))),
        }  # fmt: skip
        return row | self._outcome(case, number, door)

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def _start(self) -> None:
        # the imports are done once, in a process that the workers are copies of
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, self.corpus, self.folder)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        if not self.pipe.poll(MAKING_S) or (said := self.pipe.recv()) != "ready":
            found = "no start" if not self.pipe.poll(0) else str(said)
            raise BenchmarkError(Fault("worker", found, "a process", "run the suite again"))

    def _outcome(self, case: Case, number: int, door: str) -> dict[str, Any]:
        self.pipe.send((number, door))
        started = time.perf_counter()
        try:
            for limit in (MAKING_S, self.corpus.hang_s):
                if not self.pipe.poll(limit):
                    break
                said = self.pipe.recv()
                if isinstance(said, dict):
                    return said | judge(case, door, said, self.corpus)
                started = time.perf_counter()
            found = {"outcome": HANG, "answer": "none", "detail": "no answer"}
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            found = {"outcome": TRACEBACK, "answer": "none", "detail": f"the process died ({code})"}
        self.stop()
        self._start()
        return found | {"seconds": time.perf_counter() - started, "peak_mb": 0.0}


def judge(case: Case, door: str, said: dict[str, Any], corpus: Corpus) -> dict[str, str]:
    """Compare an answer with those that are right, and its cost with the limits."""
    if said["answer"] == NOT_MADE:
        return {"outcome": NOT_MADE}
    if said["peak_mb"] > corpus.memory_mb or said["answer"] == "MemoryError":
        return {"outcome": MEMORY}
    if said["is_traceback"]:
        return {"outcome": TRACEBACK}
    if said["seconds"] > corpus.limit_s:
        return {"outcome": HANG}
    if said["answer"] not in case.right_at(door):
        return {"outcome": WRONG}
    kinds = {NOTE: NOTED, ERROR: CLEAR, CANNOT_SAY: CLEAR}
    return {"outcome": kinds.get(said["answer"], RIGHT)}


def serve(pipe: Connection, corpus: Corpus, folder: Path) -> None:
    """Answer for cases until the other end closes: ``made`` once written, then what came."""
    warnings.simplefilter("ignore")
    materials = Materials(folder, Path(corpus.bundle).absolute())
    _ = materials.scores
    # beyond this the machine itself would suffer; numbers below it are measured
    limit = status_bytes("VmSize") + int(4 * corpus.memory_mb) * MB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    pipe.send("ready")
    while True:
        try:
            number, door = pipe.recv()
        except EOFError:
            return
        place = Path(tempfile.mkdtemp(prefix="case-", dir=folder))
        pipe.send(answer(materials, all_cases()[number], door, place, pipe))
        remove_deep(place)


def answer(
    materials: Materials, case: Case, door: str, folder: Path, pipe: Connection | None = None
) -> dict[str, Any]:
    """Make one input, bring it to a door, and measure what it takes."""
    said: dict[str, Any] = {"seconds": 0.0, "peak_mb": 0.0, "is_traceback": False}
    given, results = folder / "given", folder / "results"
    given.mkdir()
    results.mkdir()
    try:
        made = case.make(materials, given)
    except OSError as error:  # devices need root, and file systems differ in what they hold
        return said | {"answer": NOT_MADE, "detail": str(error)}
    materials.reference(case, results)
    if pipe is not None:
        pipe.send("made")
    reset_peak()
    before, started = status_bytes("VmRSS"), time.process_time()
    try:
        with redirect_stderr(io.StringIO()):  # progress of the readers
            found = DOORS[door](materials, case, made, results)
        said |= {"answer": found.answer, "detail": found.detail[:MAX_DETAIL]}
    except Exception as error:  # noqa: BLE001 (all that comes is what is looked for)
        lines = traceback.format_exception(error)
        detail = f"{lines[-1].strip()} {' '.join(lines[-2].split())[:200]}"
        said |= {"answer": type(error).__name__, "detail": detail, "is_traceback": True}
    said["seconds"] = time.process_time() - started
    said["detail"] = said["detail"].encode("utf-8", "backslashreplace").decode()
    said["peak_mb"] = max(0, status_bytes("VmHWM") - before) / 1e6
    return said


def status_bytes(name: str) -> int:
    """Read a size of this process from Linux; 0 elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = status.read_text("utf-8").splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), 0)


def reset_peak() -> None:
    """Begin the measurement of the largest resident size anew."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def remove_deep(folder: Path) -> None:
    """Remove a folder, however deep it is: `shutil.rmtree` calls itself for each level."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False)
