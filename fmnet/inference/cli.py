"""``fmnet-predict``: score new scans on a plain CPU machine."""

import io
import os
import signal
import sys
import threading
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeAlias

from fmnet.errors import BundleError, FmnetError, JobError, printable
from fmnet.inference.bids_app import PersonFolders, check_folders, choose_people
from fmnet.inference.bids_group import make_group
from fmnet.inference.bold import NewBoldScan, Stated
from fmnet.inference.bundle import INTENDED_USE, Bundle, read_bundle
from fmnet.inference.find import find_new_runs, find_new_scans
from fmnet.inference.options import (
    GROUP,
    entities_of,
    program,
    read_options,
    request_of,
    stated_by,
)
from fmnet.inference.predict import NewScan, Prediction, Request, failed
from fmnet.inference.results import (
    about_signature,
    meaning_of,
    missing_sentence,
    sets_sentence,
)
from fmnet.inference.scoring import (
    AnyScan,
    Scorer,
    Task,
    choose_jobs,
    open_scorer,
    score_all,
    unforeseen,
)
from fmnet.inference.signing import check_signature
from fmnet.inference.study_results import summary
from fmnet.inference.table_results import TableResults
from fmnet.inference.target_bundle import TARGET_USE, target_line
from fmnet.progress.show import say, step

Results: TypeAlias = TableResults | PersonFolders
#: What asks a program to end.
ENDINGS = ("SIGINT", "SIGTERM", "SIGHUP")
#: What a shell calls the end of a program whose output nobody reads any more.
NO_READER = 141
#: Most scans that are told of one by one.
MAX_TOLD = 10


class Stopped(BaseException):  # no Exception, since it is nobody's to catch but `main`'s
    """A signal that asks the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0 if at least one scan was scored, 1 if none, 2 on wrong input; 128 and the signal's number
        if it was stopped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names may hold what the terminal can't show
            stream.reconfigure(errors="backslashreplace")
    call = _Call()
    try:
        with stopping():
            return call.run(read_options(arguments))
    except FmnetError as error:
        print(f"{program('predict')}: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:
        print(
            f"{program('predict')}: stopped by {stop.signal.name} {call.progress}", file=sys.stderr
        )
        return 128 + stop.signal
    except BrokenPipeError:
        with suppress(OSError):  # else Python complains when it closes its output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER


class _Call:
    """One call of the command, of which it is known how far it is when something ends it."""

    def __init__(self) -> None:
        self.results: Results | None = None
        self.listed: list[AnyScan] = []

    def run(self, options: Namespace) -> int:
        """Do what the options say; gives the exit code."""
        results: Results
        if options.stage:
            check_folders(options.bids_dir, options.out_dir)
            results = PersonFolders(options.bids_dir, options.out_dir, options.overwrite)
        else:
            results = TableResults(options.out, options.cards, options.overwrite)
        self.results = results
        bundle = self._open_bundle(options)
        if options.stage == GROUP:
            return _make_group(bundle, options)
        request = request_of(options, bundle)
        about = about_signature(bundle, request)
        stated, entities = stated_by(options, bundle), entities_of(options)
        for source in options.scans:
            self.listed += find_scans(bundle, source, options.space, stated, entities)
        if options.stage:
            self.listed = choose_people(self.listed, options)
        scorer = open_scorer(bundle, request, bool(options.stage or options.cards))
        with results.open(scorer, about, self.listed):
            _predict_all(scorer, self.listed, results, options.jobs)
        _summarise(bundle, request, results.counts, results.predictions, results.place)
        sys.stdout.flush()
        return exit_code(results.counts)

    def _open_bundle(self, options: Namespace) -> Bundle:
        """Read the bundle, signed by whom it has to be, and say what it is."""
        if options.require_signature is not None:
            key = check_signature(options.bundle, options.require_signature)
            print(f"signed by the key with fingerprint {key}", file=sys.stderr)
        bundle = read_bundle(options.bundle, self._give_up)
        use = INTENDED_USE if bundle.target is None else TARGET_USE
        print(f"{describe(bundle)}\n{use}", file=sys.stderr)
        return bundle

    def _give_up(self, error: BundleError) -> None:
        if self.results is not None:
            self.results.finish(is_whole=False)
        print(f"{program('predict')}: {error}", file=sys.stderr, flush=True)
        os._exit(2)

    @property
    def progress(self) -> str:
        """Say how far it is, and where that is found."""
        done = 0 if self.results is None else self.results.counts.total()
        said = f"after {done} of {len(self.listed)} scans"
        if self.results is None or not (done and self.results.place):
            return said
        return f"{said}; they are in {printable(self.results.place)}, and the same command goes on"


@contextmanager
def stopping() -> Iterator[None]:
    """Raise `Stopped` within the block where the process is asked to end, and only once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    numbers = [getattr(signal, name) for name in ENDINGS if hasattr(signal, name)]
    # what nohup and shells have switched off stays off
    before = {one: signal.getsignal(one) for one in numbers}
    before = {one: what for one, what in before.items() if what is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, what in before.items():
            signal.signal(number, what)


def describe(bundle: Bundle) -> str:
    """Say in one line what the signature tells and what it was trained on."""
    training = bundle.metadata["training"]
    origin = "SYNTHETIC data, for demonstration" if bundle.is_synthetic else "research data"
    control, target = training.get("control") or "", bundle.target
    predicted = (
        f"{training['positive']} against {training['negative']}"
        if target is None
        else f"of {target_line(target)}"
    )
    return printable(
        f"{control}{' ' if control else ''}signature {predicted}, "
        f"trained on {training['n_scans']} scans ({origin}); "
        f"input: {_input(bundle)}" + "".join(f"; beware: {text}" for text in bundle.warnings)
    )


def _input(bundle: Bundle) -> str:
    if bundle.contract is not None:
        return bundle.contract.words(bundle.space, bundle.task)
    wanted = bundle.metadata["input"]
    return f"{', '.join(wanted['contrasts'])} ({wanted['stat']}) in {bundle.space} space"


def find_scans(
    bundle: Bundle, source: str, space: str, stated: Stated, entities: Mapping[str, str]
) -> list[AnyScan]:
    """Find the scans that an argument names; what can't be scored is a row already."""
    scans: Sequence[NewScan | NewBoldScan]
    try:
        if bundle.contract is None:
            scans, errors = find_new_scans(source, bundle, space, entities)
        else:
            scans, errors = find_new_runs(source, bundle, space, stated, entities)
    except Exception as error:  # noqa: BLE001 (one argument never costs the others)
        return [failed(source, [unforeseen(source, error)])]
    return [*errors, *scans]


def _predict_all(
    scorer: Scorer,
    listed: Sequence[AnyScan],
    results: Results,
    asked_jobs: int | None,
) -> None:
    """Score all but what is known from before; results get them in order, as soon as they can."""
    tasks = [Task(*pair) for pair in zip(listed, results.cards, strict=True)]
    ready = dict(results.known)
    new = [number for number in range(len(listed)) if number not in ready]
    n_new = sum(not isinstance(listed[number], Prediction) for number in new)
    n_jobs = choose_jobs(asked_jobs, scorer, n_new)
    if ready:
        print(f"{len(ready)} of {len(listed)} scans are known from before", file=sys.stderr)
    written, counts = 0, Counter[str]()

    def write(is_end: bool) -> None:
        nonlocal written
        while written < len(listed) and (is_end or written in ready):
            if written in ready:
                results.add(ready[written])
            written += 1

    # runs take seconds each, maps do not
    is_short = len(new) < (10 if scorer.bundle.contract is None else 2)
    is_printed = not results.place and sys.stdout.isatty()  # rows of a table show how far it is
    try:
        with step("" if is_short or is_printed else "scans", len(new)) as advance:
            for at, answer in score_all(scorer, [tasks[number] for number in new], n_jobs):
                if answer.trouble:
                    say(f"{program('predict')}: {answer.trouble}")
                ready[new[at]] = answer.prediction
                results.keep(new[at], answer.prediction)
                write(is_end=False)
                counts[answer.prediction.status] += 1
                advance(note=say_counts(counts))
    except (Stopped, BundleError, JobError):
        write(is_end=True)  # those that others have overtaken, too
        raise
    write(is_end=True)


def _make_group(bundle: Bundle, options: Namespace) -> int:
    predictions, request, note = make_group(bundle, options)
    if note:
        print(printable(note), file=sys.stderr)
    counts = Counter[str](prediction.status for prediction in predictions)
    _summarise(bundle, request, counts, predictions, str(options.out_dir))
    return exit_code(counts)


def _summarise(
    bundle: Bundle,
    request: Request,
    counts: Counter[str],
    predictions: Sequence[Prediction],
    place: str,
) -> None:
    """Say what a table that is printed shows by itself, and of each what it does not show."""
    unscored = [one for one in predictions if one.status != "ok"]
    if place:
        print(say_counts(counts), file=sys.stderr)
        gates = Counter(gate for one in unscored for gate in one.gates_failed)
        if gates:
            failed_checks = ", ".join(f"{name} ({n})" for name, n in gates.most_common())
            print(printable(f"checks that failed: {failed_checks}"), file=sys.stderr)
        for prediction in unscored[:MAX_TOLD]:
            print(f"  {prediction.status}: {prediction.reason}", file=sys.stderr)
        if (more := len(unscored) - MAX_TOLD) > 0:
            print(f"  and {more} more, of which the results say why", file=sys.stderr)
    known = f"{summary(bundle.evidence)}. {meaning_of(bundle, request)}"
    told = (known, sets_sentence(bundle, request), missing_sentence(bundle))
    for line in filter(None, told):
        print(printable(line), file=sys.stderr)
    if place:
        print(printable(place))


def exit_code(counts: Counter[str]) -> int:
    """Tell by the exit code whether anything has a score."""
    return 0 if counts["ok"] + counts["forced"] else 1


def say_counts(counts: Counter[str]) -> str:
    """List how many scans have each status."""
    return ", ".join(f"{n} {name}" for name, n in counts.items())
