"""Commands that write synthetic cohorts: make-cohort, make-bold-cohort, make-target-cohort."""

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path

from fmnet.config.source import read_signature
from fmnet.errors import FmnetError, printable

#: What stands for a value in help.
METAVARS = {int: "N", float: "NUMBER"}


def make_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of maps."""
    text = "Write a SYNTHETIC cohort (nobody was scanned) as a BIDS-derivatives tree."
    example = "people --contrasts pressure visual --voxel-size-mm 8"
    design, write = "fmnet.synthetic.design.Design", "fmnet.synthetic.maps:write_cohort"
    return _make("make-cohort", design, write, "cohort", text, example, arguments)


def make_bold_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of BOLD runs."""
    text = "Write SYNTHETIC BOLD runs (nobody was scanned) as fMRIPrep would leave them."
    example = "people --task pain --n-volumes 120"
    design, write = "fmnet.synthetic.design.BoldDesign", "fmnet.synthetic.bold:write_bold_cohort"
    return _make("make-bold-cohort", design, write, "BOLD", text, example, arguments)


def make_target_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of maps with outcomes."""
    text = (
        "Write a SYNTHETIC cohort (nobody was scanned) with outcomes, as a BIDS-derivatives tree."
    )
    example, design = "people --kind onset", "fmnet.synthetic.target_design.TargetDesign"
    write = "fmnet.synthetic.targets:write_target_cohort"
    return _make("make-target-cohort", design, write, "cohort", text, example, arguments)


def _make(
    name: str,
    design: str,
    write: str,
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
    read = read_signature(design)  # help needs neither NumPy nor pandas
    if read is None:
        raise LookupError(f"{design} has no source")
    for parameter, one in read.parameters.items():
        is_list = isinstance(one.default, tuple)
        said = read.descriptions.get(parameter, "").rstrip(".").replace("`", "").replace("%", "%%")
        shown = " ".join(one.default) if is_list else one.default
        parser.add_argument(
            _option(parameter),
            type=str if is_list else type(one.default),
            nargs="+" if is_list else None,
            default=one.default,
            help=f"{said}; default: {shown}",
            metavar=METAVARS.get(type(one.default), "WORD"),
        )
    parameters = vars(parser.parse_args(arguments))
    module, function = write.split(":")
    try:
        folder = getattr(import_module(module), function)(parameters.pop("out"), **parameters)
    except FmnetError as error:
        print(re.sub(r"\bcohort\.(\w+)", lambda key: _option(key[1]), str(error)), file=sys.stderr)
        return 2
    whom = f"{parameters['n_subjects']} people, nobody was scanned"
    print(f"{printable(str(folder))}: SYNTHETIC {made} of {whom}")
    return 0


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"
