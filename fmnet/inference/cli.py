"""``fmnet-predict``: score new scans on a plain CPU machine."""

import argparse
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from fmnet.data.volume import FloatArray
from fmnet.errors import BundleError, ConfigError, Fault, FmnetError, printable
from fmnet.inference.bold import NewBoldScan, Stated
from fmnet.inference.bundle import INTENDED_USE, Bundle, read_bundle
from fmnet.inference.card_files import Cards, card_names, open_cards
from fmnet.inference.explain import score_with_values
from fmnet.inference.find import find_new_runs, find_new_scans
from fmnet.inference.predict import NewScan, Prediction, failed
from fmnet.inference.results import Results, about_signature, check_out
from fmnet.inference.study_results import summary
from fmnet.inference.target_bundle import TARGET_USE, target_line

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
            results.about, results.columns = about_signature(bundle), bundle.columns
            use = INTENDED_USE if bundle.target is None else TARGET_USE
            print(f"{describe(bundle)}\n{use}", file=sys.stderr)
            cards = None if options.cards is None else open_cards(bundle, options.cards)
            stated, entities = stated_by(options, bundle), entities_of(options)
            for source in options.scans:
                listed += find_scans(bundle, source, options.space, stated, entities)
            with results:
                unscored = _predict_all(bundle, listed, results, cards)
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
    bundle: Bundle,
    listed: list[NewScan | NewBoldScan | Prediction],
    results: Results,
    cards: Cards | None,
) -> list[Prediction]:
    """Score all, a row as soon as there is one; returns those without a score."""
    # runs take seconds each, maps do not
    is_short = len(listed) < (10 if bundle.contract is None else 2)
    names = card_names([one.scan if isinstance(one, Prediction) else one.name for one in listed])
    predictions = []
    for name, one in zip(
        names, tqdm(listed, desc="scans", unit="scan", disable=is_short, leave=False), strict=True
    ):
        prediction, values = (one, None) if isinstance(one, Prediction) else _predict(bundle, one)
        results.add(prediction)
        predictions.append(prediction)
        if cards is not None:
            _try_card(partial(cards.write, name, prediction, values), prediction.scan)
    if cards is not None and predictions:
        _try_card(partial(cards.write_group, predictions, names), "all scans")
    return [one for one in predictions if one.status != "ok"]


def _predict(bundle: Bundle, scan: NewScan | NewBoldScan) -> tuple[Prediction, FloatArray | None]:
    try:
        return score_with_values(bundle, scan)
    except FmnetError as error:
        return failed(scan.name, error.faults), None
    except Exception as error:  # noqa: BLE001 (one scan never costs the others)
        return failed(scan.name, [_unforeseen(scan.name, error)]), None


def _try_card(write: Callable[[], Path], name: str) -> None:
    """Write a page; one that can't be written is told, and costs nothing."""
    try:
        write()
    except Exception as error:  # noqa: BLE001 (a card never costs a score)
        said = error if isinstance(error, FmnetError) else _unforeseen(name, error)
        print(f"fmnet-predict: no card of {printable(name)}: {said}", file=sys.stderr)


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
    known = f"{summary(bundle.evidence)}. {bundle.meaning}"
    print(printable(known), file=sys.stderr)
    if results.out is not None:
        print(printable(str(results.out)))


def build_parser() -> argparse.ArgumentParser:
    """Describe the command."""
    parser = argparse.ArgumentParser(
        prog="fmnet-predict",
        description="Score brain maps, or preprocessed BOLD runs, with an exported fmnet "
        "signature. " + INTENDED_USE,
    )
    parser.add_argument("bundle", type=Path, help="folder that scripts/export.py wrote")
    parser.add_argument(
        "scans",
        nargs="+",
        metavar="scan",
        help="for a signature of maps: a map (.nii, .nii.gz, .img); the maps of one scan joined by "
        "commas, in any order if their names say contrast-NAME, else in the signature's; a table "
        "(.tsv or .csv: participant_id, contrast, path); or a BIDS-derivatives folder. For one "
        "that reads BOLD: a preprocessed run (.nii, .nii.gz), the runs of one session joined by "
        "commas, or a folder that fMRIPrep wrote",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="file to write: .json with what is known of the signature in each record, else a "
        "table, .csv with commas; without it, the table is printed",
    )
    parser.add_argument(
        "--cards",
        type=Path,
        metavar="DIR",
        help="folder for a page on each scan, and one on all, group.html",
    )
    add_scan_options(parser)
    return parser


def add_scan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how scans are found and read."""
    parser.add_argument(
        "--space",
        default="",
        help="space of the maps or runs: overrules what file names say (space-NAME), but not the "
        "space column of a table; in a folder that holds several spaces, the one to read",
    )
    parser.add_argument(
        "--entity",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="which images of a folder to read, by an entity of their names or folders "
        "(node=subjectLevel, res=2; run=n/a for those without); may be given several times",
    )
    files = {"confounds": "fMRIPrep's confounds", "mask": "brain mask", "events": "BIDS events"}
    for name, what in files.items():
        text = f"{what} of a single run, where none lies beside it under the same name"
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "--t-r",
        type=float,
        metavar="SECONDS",
        help="repetition time of single runs, whatever sidecars and headers say",
    )


def entities_of(options: argparse.Namespace) -> dict[str, str]:
    """Read which entities images of a folder have to state; `ConfigError` if they are none."""
    pairs = [text.partition("=")[::2] for text in options.entity]
    names = [name.strip().lower() for name, _ in pairs]
    wrong = [text for text in options.entity if not re.fullmatch(r"\s*[A-Za-z]+\s*=.*", text)]
    wrong += [f"{name} given twice" for name in set(names) if names.count(name) > 1]
    if options.entity and not any(map(os.path.isdir, options.scans)):
        action = "leave it out: files that are named are read whatever their names say"
        raise ConfigError(Fault("--entity", "no folder among the scans", "a folder", action))
    if wrong:
        action = "write it so, for instance --entity node=subjectLevel"
        raise ConfigError(Fault("--entity", ", ".join(wrong), "NAME=VALUE, each name once", action))
    return dict(zip(names, (value.strip() for _, value in pairs), strict=True))


def stated_by(options: argparse.Namespace, bundle: Bundle) -> Stated:
    """Gather what the options say of a run; `ConfigError` where that can't hold."""
    files = {name: getattr(options, name) for name in ("mask", "confounds", "events")}
    given = [f"--{name}" for name, value in files.items() if value is not None]
    is_one = len(options.scans) == 1 and not os.path.isdir(options.scans[0])
    if given and not is_one:
        found = f"{', '.join(given)} beside {len(options.scans)} scans or a folder"
        action = "score that run by itself, or name its files as fMRIPrep does"
        raise ConfigError(Fault(given[0], found, "a single run", action))
    given += [] if options.t_r is None else ["--t-r"]
    if given and bundle.contract is None:
        found, accepted = f"{', '.join(given)} beside a signature of maps", "maps alone"
        raise ConfigError(Fault(given[0], found, accepted, "leave it out"))
    return Stated(**files, t_r=options.t_r)
