"""Commands that write synthetic cohorts: make-cohort, make-bold-cohort, make-target-cohort."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from fmnet.config.source import read_signature
from fmnet.errors import FmnetError, printable


def make_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of maps."""
    text = "Write a SYNTHETIC cohort (nobody was scanned) as a BIDS-derivatives tree."
    example = "people --contrasts pressure visual --voxel-size-mm 8"
    return _make(
        "make-cohort", "design.Design", "maps.write_cohort", "cohort", text, example, arguments
    )


def make_bold_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of BOLD runs."""
    text = "Write SYNTHETIC BOLD runs (nobody was scanned) as fMRIPrep would leave them."
    example = "people --task pain --n-volumes 120"
    return _make(
        "make-bold-cohort",
        "design.BoldDesign",
        "bold.write_bold_cohort",
        "BOLD",
        text,
        example,
        arguments,
    )


def make_target_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of maps with outcomes."""
    text = (
        "Write a SYNTHETIC cohort (nobody was scanned) with outcomes, as a BIDS-derivatives tree."
    )
    name, example = "make-target-cohort", "people --kind onset"
    return _make(
        name,
        "target_design.TargetDesign",
        "targets.write_target_cohort",
        "cohort",
        text,
        example,
        arguments,
    )


def _make(
    name: str,
    design_name: str,
    writer_name: str,
    made: str,
    description: str,
    example: str,
    arguments: list[str],
) -> int:
    examples = ("people --n-subjects 30 --seed 1", example)
    parser = argparse.ArgumentParser(
        prog=f"fmnet {name}",
        description=description,
        epilog="\n".join(["examples:", *(f"  fmnet {name} {one}" for one in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder to make")
    read = read_signature(f"fmnet.synthetic.{design_name}")
    about = {} if read is None else read.descriptions
    for parameter, default in _part(design_name)().parameters.items():
        kind, count = (str, "+") if isinstance(default, list) else (type(default), None)
        option = f"--{parameter.replace('_', '-')}"
        said = about.get(parameter, "").rstrip(".").replace("`", "").replace("%", "%%")
        said = f"{said}; default: %(default)s"
        metavar = parameter.split("_")[-1].upper()
        parser.add_argument(
            option, type=kind, nargs=count, default=default, help=said, metavar=metavar
        )
    parameters = vars(parser.parse_args(arguments))
    write = _part(writer_name)  # help needs none of what writes
    try:
        folder = write(parameters.pop("out"), **parameters)
    except FmnetError as error:
        print(error, file=sys.stderr)
        return 2
    whom = f"{parameters['n_subjects']} people, nobody was scanned"
    print(f"{printable(str(folder))}: SYNTHETIC {made} of {whom}")
    return 0


def _part(name: str) -> Any:
    """Import a function or class of `fmnet.synthetic`."""
    module, _, own = name.partition(".")
    return getattr(import_module(f"fmnet.synthetic.{module}"), own)
