"""What ``fmnet-predict`` can be told on its command line."""

import argparse
import os
import re
from pathlib import Path

from fmnet.errors import ConfigError, Fault
from fmnet.inference.bundle import INTENDED_USE, Bundle
from fmnet.inference.companion_files import Stated


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
    for name, what in (
        ("confounds", "fMRIPrep's confounds of a single run"),
        ("mask", "brain mask of a single run"),
        ("events", "BIDS events of a single run"),
    ):
        text = f"{what}, where none lies beside it under the same name"
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "--t-r",
        type=float,
        metavar="SECONDS",
        help="repetition time of single runs, whatever sidecars and headers say",
    )
    return parser


def entities_of(options: argparse.Namespace) -> dict[str, str]:
    """Read which entities images of a folder have to state.

    Raises
    ------
    ConfigError
        If one is not given as NAME=VALUE, or twice.
    """
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
    """Gather what the options say of a run.

    Raises
    ------
    ConfigError
        If they are given where they can't hold.
    """
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
