"""The options of ``fmnet-predict``: which there are, and what they say together."""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from fmnet import __version__
from fmnet.errors import ConfigError, Fault
from fmnet.inference.bold import Stated
from fmnet.inference.bundle import INTENDED_USE, Bundle
from fmnet.inference.predict import USUAL, Request

PARTICIPANT, GROUP = "participant", "group"
USAGE = """
  {program} BUNDLE SCAN [SCAN ...] [options]
  {program} BIDS_DIR OUT_DIR {{participant,group}} --bundle BUNDLE [options]
"""
EXAMPLES = """\
examples:
  {program} checkpoints/pain sub-01_statmap.nii.gz sub-02_statmap.nii.gz --out scores.tsv
  {program} derivatives scores participant --bundle checkpoints/pain

"""
EXIT_CODES = """\
exit codes:
  0    at least one scan has a score
  1    none has: each one's reason is told
  2    wrong input: options, the signature, or a place that can't be written
  130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP. The same command goes on
  141  nobody reads the printed table any more
"""


def program(name: str) -> str:
    """Name a command as it was called: ``fmnet predict`` or, by itself, ``fmnet-predict``."""
    path = Path(sys.argv[0])
    is_part = path.stem == "fmnet" or path.parts[-2:] == ("fmnet", "__main__.py")
    return f"fmnet {name}" if is_part else f"fmnet-{name}"


def build_parser() -> argparse.ArgumentParser:
    """Describe the command in both of its forms."""
    name = program("predict")
    said = (
        "Score brain maps, or preprocessed BOLD runs, with an exported fmnet signature: named "
        "scans into one table, or a whole data set as a BIDS App, with a folder for each person. "
    )
    parser = argparse.ArgumentParser(
        prog=name,
        usage=USAGE.format(program=name),
        description=textwrap.fill(said + INTENDED_USE, 79),
        epilog=EXAMPLES.format(program=name) + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "first", metavar="BUNDLE | BIDS_DIR", help="folder that fmnet export wrote; of a BIDS "
        "App, the data set"
    )  # fmt: skip
    parser.add_argument(
        "rest",
        nargs="+",
        metavar="SCAN | OUT_DIR LEVEL",
        help="for a signature of maps: a map (.nii, .nii.gz, .img); the maps of one scan joined by "
        "commas, in any order if their names say contrast-NAME, else in the signature's; a table "
        "(.tsv or .csv: participant_id, contrast, path); or a BIDS-derivatives folder. For one "
        "that reads BOLD: a preprocessed run (.nii, .nii.gz), the runs of one session joined by "
        "commas, or a folder that fMRIPrep wrote. Of a BIDS App, the folder to write, and "
        "participant (a folder for each person) or group (the table and page of all of them)",
    )
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")
    asked = parser.add_argument_group("what is asked")
    asked.add_argument(
        "--prevalence",
        type=_fraction,
        metavar="FRACTION",
        help="of the positive group among those who are scanned, for which probabilities are "
        "stated: 0.1 for one in ten; by default the signature's own base rate",
    )
    asked.add_argument(
        "--level",
        type=_fraction,
        metavar="FRACTION",
        help=f"of each group's people whose set has to hold their group ({USUAL.level:g}); if the "
        "study had too few people to promise it, the largest that it can is taken, and told",
    )
    asked.add_argument(
        "--force",
        action="store_true",
        help="also score scans that fail a check; all that is written marks them",
    )
    add_signature_option(asked)
    written = parser.add_argument_group("what is written, and how")
    written.add_argument(
        "--out",
        type=Path,
        help="file to write: .json with what is known of the signature in each record, else a "
        "table, .csv with commas; without it, the table is printed. An unfinished one goes on",
    )
    written.add_argument("--cards", type=Path, metavar="DIR", help="folder for a page on each scan")
    written.add_argument(
        "--overwrite", action="store_true", help="replace results that are there already"
    )
    written.add_argument(
        "--jobs",
        type=_count,
        metavar="N",
        help="processes that score at the same time; by default one for each core where there are "
        "maps enough, and one for runs, which take much memory",
    )
    app = parser.add_argument_group("as a BIDS App")
    app.add_argument("--bundle", type=Path, help="folder that fmnet export wrote")
    for name, prefix in (("participant", "sub"), ("session", "ses")):
        app.add_argument(
            f"--{name}-label",
            f"--{name}_label",
            nargs="+",
            default=[],
            metavar="LABEL",
            help=f"only these {name}s, with or without {prefix}-",
        )
    add_scan_options(parser.add_argument_group("how scans are found and read"))
    return parser


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line: ``bundle`` and ``scans``, or ``bids_dir``, ``out_dir`` and ``stage``.

    Raises
    ------
    ConfigError
        If the two forms of the command are mixed.
    """
    options = build_parser().parse_intermixed_args(arguments)
    options.stage = ""
    positional = [options.first, *options.rest]
    if options.bundle is None and positional[2:] not in ([PARTICIPANT], [GROUP]):
        options.bundle, options.scans = Path(options.first), options.rest
        _refuse_beside("--bundle", options, "participant_label", "session_label")
        return options
    form = "BIDS_DIR OUT_DIR, then participant or group, and --bundle BUNDLE"
    if options.bundle is None:
        raise ConfigError(Fault("--bundle", "none", form, "say which signature scores the data"))
    if len(positional) != 3 or positional[2] not in {PARTICIPANT, GROUP}:
        found = f"--bundle beside {' '.join(positional)}"
        action = "add what is missing; to score single files, name the bundle first, without it"
        raise ConfigError(Fault("--bundle", found, form, action))
    options.bids_dir, options.out_dir = map(Path, positional[:2])
    options.scans, options.stage = [options.first], positional[2]
    _refuse_beside("OUT_DIR", options, "out", "cards")
    return options


def request_of(options: argparse.Namespace, bundle: Bundle) -> Request:
    """Gather what is asked; `ConfigError` where the signature has no such answer."""
    given = [f"--{name}" for name in ("prevalence", "level") if getattr(options, name) is not None]
    if given and bundle.target is not None:
        found = f"{', '.join(given)} beside a signature of {bundle.target['title']}"
        accepted = "a signature that tells two groups apart"
        raise ConfigError(Fault(given[0], found, accepted, "leave it out"))
    level = USUAL.level if options.level is None else options.level
    return Request(options.prevalence, level, options.force)


def _refuse_beside(what: str, options: argparse.Namespace, *names: str) -> None:
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]
    if given:
        found = f"{', '.join(given)}"
        has_app = what == "OUT_DIR"
        accepted = "OUT_DIR, which gets all" if has_app else "a BIDS App's arguments, with --bundle"
        action = "leave it out" if has_app else "name those people's scans, or use that form"
        raise ConfigError(Fault(given[0], found, accepted, action))


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        percent = f"; {value:g} % is {value / 100:g}" if 1 <= value < 100 else ""
        raise argparse.ArgumentTypeError(f"'{text}' is no number between 0 and 1{percent}")
    return value


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of processes, from 1")
    return int(text)


def add_signature_option(parser: "argparse._ActionsContainer") -> None:
    """Add the option that says whose signature a bundle has to bear."""
    parser.add_argument(
        "--require-signature",
        type=Path,
        metavar="KEY",
        help="refuse a bundle that the owner of this public key (PEM, Ed25519) did not sign",
    )


def add_scan_options(parser: "argparse._ActionsContainer") -> None:
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
