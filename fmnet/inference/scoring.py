"""Score many scans, in this process or in several; whatever happens to one never costs another."""

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

from fmnet.errors import BundleError, Fault, FmnetError, JobError, printable
from fmnet.inference.bold import NewBoldScan, contract_of
from fmnet.inference.bundle import Bundle, read_bundle
from fmnet.inference.bundle_files import CHECKSUMS, refuse, sha256_of
from fmnet.inference.card_files import Cards, open_cards
from fmnet.inference.explain import score_with_values
from fmnet.inference.predict import NewScan, Prediction, Request, failed

#: Maps for which a further process is worth its start.
MAPS_EACH = 16
#: How long a process may take to end when it is asked to, and then to be ended.
SECONDS_TO_END = 5.0
#: Forked processes would share the threads of ONNX Runtime and hang.
SPAWNING = get_context("spawn")
#: What a terminal sends to all processes in it; the first one decides.
OF_TERMINALS = ("SIGINT", "SIGHUP")
#: One that is to be scored, or what is said of one that can't be read.
AnyScan = NewScan | NewBoldScan | Prediction


def name_of(scan: AnyScan) -> str:
    """Say what a scan is called."""
    return scan.scan if isinstance(scan, Prediction) else scan.name


@dataclass(frozen=True)
class Task:
    """A scan to be scored, or what is known of it already, and where its page goes."""

    scan: AnyScan
    card: Path | None = None

    @property
    def name(self) -> str:
        """What the scan is called."""
        return name_of(self.scan)


@dataclass(frozen=True)
class Answer:
    """What came of a task: a prediction, and why there is no page if there should be one."""

    prediction: Prediction
    trouble: str = ""


@dataclass(frozen=True, eq=False)
class Scorer:
    """A bundle, what is asked of it, and its pages if tasks want some; see `open_scorer`."""

    bundle: Bundle
    request: Request
    cards: Cards | None = None

    def score(self, task: Task) -> Answer:
        """Score a scan and write its page; nothing is raised but what ends the program."""
        values = None
        if isinstance(task.scan, Prediction):
            prediction = task.scan
        else:
            try:
                prediction, values = score_with_values(self.bundle, task.scan, self.request)
            except FmnetError as error:
                prediction = failed(task.name, error.faults)
            except Exception as error:  # noqa: BLE001 (one scan never costs the others)
                prediction = failed(task.name, [unforeseen(task.name, error)])
        if task.card is None or self.cards is None:
            return Answer(prediction)
        try:
            cards = replace(self.cards, folder=task.card.parent)
            cards.write(task.card.stem, prediction, values)
        except Exception as error:  # noqa: BLE001 (a page never costs a score)
            said = error if isinstance(error, FmnetError) else unforeseen(task.name, error)
            return Answer(prediction, f"no page on {printable(task.name)}: {said}")
        return Answer(prediction)


def open_scorer(bundle: Bundle, request: Request, has_cards: bool) -> Scorer:
    """Make ready to score.

    Raises
    ------
    BundleError
        If what the bundle holds for pages is damaged, or what its scans take isn't installed.
    """
    if bundle.contract is not None:
        contract_of(bundle, str(bundle.folder))
    return Scorer(bundle, request, open_cards(bundle, Path(), request) if has_cards else None)


def unforeseen(name: str, error: Exception) -> Fault:
    """Describe an error that no reader describes."""
    said = (str(error).splitlines() or [""])[0][:300]
    found = f"something that fmnet doesn't foresee ({type(error).__name__}: {said})"
    if isinstance(error, MemoryError):
        found = f"more than fits into memory (MemoryError: {said})"
    accepted = "a scan as --help describes it"
    return Fault(name, found, accepted, "check its files; if they are sound, report this message")


def choose_jobs(asked: int | None, scorer: Scorer, n_scans: int) -> int:
    """Choose in how many processes scans are scored: 1 for this one alone."""
    if asked is not None:
        return max(1, min(asked, n_scans))
    if scorer.bundle.contract is not None or n_scans < 2 * MAPS_EACH:
        return 1
    from joblib import cpu_count  # of this job, where a container or cluster gives it a share

    return max(1, min(int(cpu_count()), n_scans // MAPS_EACH))


def score_all(
    scorer: Scorer, tasks: Sequence[Task], n_jobs: int = 1
) -> Iterator[tuple[int, Answer]]:
    """Score scans, and give each one's number and answer as soon as there is one.

    In several processes, each reads the bundle once. One that is killed takes no scan along: it is
    given to another process, and is an error only if that is killed as well.

    Raises
    ------
    JobError
        If a process is killed before it could score anything.
    BundleError
        If the bundle is another one by now, or its network can't be stopped otherwise.
    """
    if n_jobs == 1:
        yield from ((number, scorer.score(task)) for number, task in enumerate(tasks))
        return
    known = [number for number, one in enumerate(tasks) if isinstance(one.scan, Prediction)]
    new = [number for number, one in enumerate(tasks) if not isinstance(one.scan, Prediction)]
    yield from ((number, scorer.score(tasks[number])) for number in known)
    crew = _Crew(scorer, tasks, new, n_jobs)
    try:
        yield from crew.work()
    finally:
        crew.end()


class _Crew:
    """Processes that share scans."""

    def __init__(
        self, scorer: Scorer, tasks: Sequence[Task], numbers: list[int], n_jobs: int
    ) -> None:
        self.scorer, self.tasks, self.n_jobs = scorer, tasks, n_jobs
        self.waiting, self.again, self.n_left = deque(numbers), set[int](), len(numbers)
        self.workers: list[_Worker] = []

    def work(self) -> Iterator[tuple[int, Answer]]:
        """Give each scan to a process that has nothing else to do; give its number and answer."""
        for _ in range(min(self.n_jobs, self.n_left)):
            self.workers.append(_Worker(self.scorer, self.n_jobs))
        # maps are scored here until the first one is ready, which takes a second
        is_idle = self.scorer.bundle.contract is None
        while self.n_left:
            connections = [worker.connection for worker in self.workers]
            talking = wait(connections, 0 if is_idle and self.waiting else None)
            is_idle = is_idle and not talking
            if not talking:
                following = self.waiting.popleft()
                self.n_left -= 1
                yield following, self.scorer.score(self.tasks[following])
            for worker in [one for one in self.workers if one.connection in talking]:
                number, said = worker.number, worker.receive()
                if said is None:
                    said = self._replace(worker, number)
                elif self.waiting:
                    following = self.waiting.popleft()
                    worker.give(following, self.tasks[following])
                if number is not None and isinstance(said, Answer):
                    self.n_left -= 1
                    yield number, said

    def _replace(self, worker: "_Worker", number: int | None) -> Answer | None:
        """Let another process take the place of one that has ended; a second end is an answer."""
        self.workers.remove(worker)
        if not worker.is_ready:
            raise _not_started(worker.ending)
        answer = None
        if number in self.again:
            name = self.tasks[number].name
            answer = Answer(failed(name, [_killed(name, worker.ending)]))
        elif number is not None:
            self.again.add(number)
            self.waiting.append(number)
        if self.waiting:
            self.workers.append(_Worker(self.scorer, self.n_jobs))
        return answer

    def end(self) -> None:
        """End all processes; they clear away what they have in temporary folders."""
        for worker in self.workers:
            worker.connection.close()
            worker.process.terminate()
        until = time.monotonic() + SECONDS_TO_END
        for worker in self.workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join(SECONDS_TO_END)


class _Worker:
    """A process that scores one scan after the other."""

    def __init__(self, scorer: Scorer, n_jobs: int) -> None:
        self.connection, other = SPAWNING.Pipe()
        self.number: int | None = None
        self.is_ready = False
        folder = scorer.bundle.folder
        setup = (other, folder, sha256_of(folder / CHECKSUMS), scorer.request, bool(scorer.cards))
        self.process = SPAWNING.Process(target=_serve, args=setup, daemon=True)
        with _for_a_child(max(1, (os.cpu_count() or 1) // n_jobs)):
            self.process.start()
        other.close()  # else nobody would notice the end of the process

    def give(self, number: int, task: Task) -> None:
        self.number = number
        with suppress(OSError):  # it is no more, as the next look at it tells
            self.connection.send(task)

    def receive(self) -> Answer | str | None:
        """Take an answer, or the word that it is ready; None where the process has ended."""
        try:
            given = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(SECONDS_TO_END)
            return None
        if isinstance(given, FmnetError):
            raise given
        self.number, self.is_ready = None, True
        said: Answer | str = given
        return said

    @property
    def ending(self) -> str:
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        return f"{signal.Signals(-code).name}, perhaps for want of memory"


@contextmanager
def _for_a_child(n_threads: int) -> Iterator[None]:
    """Set what a process inherits: signals that it never sees, and how many threads it takes."""
    resource_tracker.ensure_running()  # which lets through what is held back here
    has_mask = hasattr(signal, "pthread_sigmask")
    is_set = "OMP_NUM_THREADS" in os.environ
    if has_mask:
        blocked = {getattr(signal, name) for name in OF_TERMINALS}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    os.environ.setdefault("OMP_NUM_THREADS", str(n_threads))
    try:
        yield
    finally:
        if not is_set:
            del os.environ["OMP_NUM_THREADS"]
        if has_mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    connection: Connection, folder: Path, digest: str, request: Request, has_cards: bool
) -> None:
    """Score what the first process sends, until it sends no more or ends."""

    def leave(_: int, __: FrameType | None) -> None:
        sys.exit(1)  # by way of every `finally`

    def give_up(error: BundleError) -> None:
        connection.send(error)
        os._exit(2)

    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if sha256_of(folder / CHECKSUMS) != digest:
            raise refuse(folder, "another bundle than a moment ago")
        scorer = open_scorer(read_bundle(folder, give_up), request, has_cards)
        connection.send("ready")
        while True:
            connection.send(scorer.score(connection.recv()))
    except FmnetError as error:
        connection.send(error)
    except (EOFError, OSError):  # nobody is there any more
        return


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_END)
        os._exit(1)


def _killed(name: str, ending: str) -> Fault:
    found = f"a process that was ended from outside, twice, while it scored this scan ({ending})"
    return Fault(name, found, "a scan that fits into memory", "score it by itself, with --jobs 1")


def _not_started(ending: str) -> JobError:
    found = f"a process that ended before it scored anything ({ending})"
    return JobError(Fault("--jobs", found, "processes that start", "use fewer: --jobs 1"))
