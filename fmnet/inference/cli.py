"""``fmnet-predict``: score new scans on a plain CPU machine."""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from tqdm import tqdm

from fmnet.errors import BundleError, Fault, FmnetError, printable
from fmnet.inference.bold_predict import NewBoldScan, predict_run
from fmnet.inference.bundle import INTENDED_USE, Bundle, read_bundle
from fmnet.inference.calibration import calibration_sentence
from fmnet.inference.companion_files import Stated
from fmnet.inference.find import find_new_scans
from fmnet.inference.find_bold import find_new_runs
from fmnet.inference.options import build_parser, entities_of, stated_by
from fmnet.inference.predict import NewScan, Prediction, failed, predict_scan
from fmnet.inference.results import Results, about_signature, check_out
from fmnet.inference.study_results import summary

#: What asks a program to end.
ENDINGS = ("SIGINT", "SIGTERM", "SIGHUP")
#: What a shell calls the end of a program whose output nobody reads any more.
NO_READER = 141


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
    options = build_parser().parse_args(arguments)
    results, listed = Results(options.out), list[NewScan | NewBoldScan | Prediction]()

    def give_up(error: BundleError) -> None:
        results.finish(is_whole=False)
        print(f"fmnet-predict: {error}", file=sys.stderr, flush=True)
        os._exit(2)

    try:
        with stopping():
            if options.out is not None:
                check_out(options.out)
            bundle = read_bundle(options.bundle, give_up)
            results.about = about_signature(bundle)
            print(f"{describe(bundle)}\n{INTENDED_USE}", file=sys.stderr)
            stated, entities = stated_by(options, bundle), entities_of(options)
            for source in options.scans:
                listed += _find(bundle, source, options.space, stated, entities)
            with results:
                unscored = _predict_all(bundle, listed, results)
            _summarise(results, unscored, bundle)
            sys.stdout.flush()
    except FmnetError as error:
        print(f"fmnet-predict: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:
        done, out = results.counts.total(), options.out
        kept = f"; their rows are in {printable(str(out))}" if done and out else ""
        said = f"stopped by {stop.signal.name} after {done} of {len(listed)} scans{kept}"
        print(f"fmnet-predict: {said}", file=sys.stderr)
        return 128 + stop.signal
    except BrokenPipeError:
        with suppress(OSError):  # else Python complains when it closes its output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    return 0 if results.counts["ok"] else 1


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
    """Say in one line what the signature tells apart and what it was trained on."""
    training = bundle.metadata["training"]
    origin = "SYNTHETIC data, for demonstration" if bundle.is_synthetic else "research data"
    control = training.get("control") or ""
    return printable(
        f"{control}{' ' if control else ''}signature {training['positive']} against "
        f"{training['negative']}, trained on {training['n_scans']} scans ({origin}); "
        f"input: {_input(bundle)}" + "".join(f"; beware: {text}" for text in bundle.warnings)
    )


def _input(bundle: Bundle) -> str:
    if bundle.contract is not None:
        return bundle.contract.words(bundle.space, bundle.task)
    wanted = bundle.metadata["input"]
    return f"{', '.join(wanted['contrasts'])} ({wanted['stat']}) in {bundle.space} space"


def _find(
    bundle: Bundle, source: str, space: str, stated: Stated, entities: Mapping[str, str]
) -> list[NewScan | NewBoldScan | Prediction]:
    """Find the scans that an argument names; what can't be scored is a row already."""
    scans: Sequence[NewScan | NewBoldScan]
    try:
        if bundle.contract is None:
            scans, errors = find_new_scans(source, bundle, space, entities)
        else:
            scans, errors = find_new_runs(source, bundle, space, stated, entities)
    except Exception as error:  # noqa: BLE001 (one argument never costs the others)
        return [failed(source, [_unforeseen(source, error)])]
    return [*errors, *scans]


def _predict_all(
    bundle: Bundle, listed: list[NewScan | NewBoldScan | Prediction], results: Results
) -> list[Prediction]:
    """Score all, a row as soon as there is one; returns those without a score."""
    # runs take seconds each, maps do not
    is_short = len(listed) < (10 if bundle.contract is None else 2)
    unscored = []
    for one in tqdm(listed, desc="scans", unit="scan", disable=is_short, leave=False):
        prediction = one if isinstance(one, Prediction) else _predict(bundle, one)
        results.add(prediction)
        if prediction.status != "ok":
            unscored.append(prediction)
    return unscored


def _predict(bundle: Bundle, scan: NewScan | NewBoldScan) -> Prediction:
    try:
        if isinstance(scan, NewScan):
            return predict_scan(bundle, scan)
        return predict_run(bundle, scan)
    except FmnetError as error:
        return failed(scan.name, error.faults)
    except Exception as error:  # noqa: BLE001 (one scan never costs the others)
        return failed(scan.name, [_unforeseen(scan.name, error)])


def _unforeseen(name: str, error: Exception) -> Fault:
    said = (str(error).splitlines() or [""])[0][:300]
    found = f"something that fmnet doesn't foresee ({type(error).__name__}: {said})"
    if isinstance(error, MemoryError):
        found = f"more than fits into memory (MemoryError: {said})"
    accepted = "a scan as --help describes it"
    return Fault(name, found, accepted, "check its files; if they are sound, report this message")


def _summarise(results: Results, unscored: list[Prediction], bundle: Bundle) -> None:
    """Say what a table that is printed shows by itself, and of each what it does not show."""
    if results.out is not None:
        print(", ".join(f"{n} {status}" for status, n in results.counts.items()), file=sys.stderr)
        for prediction in unscored:
            print(f"  {prediction.status}: {prediction.reason}", file=sys.stderr)
    known = f"{summary(bundle.evidence)}. {calibration_sentence(bundle.calibration)}"
    print(printable(known), file=sys.stderr)
    if results.out is not None:
        print(printable(str(results.out)))
