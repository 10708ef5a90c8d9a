"""Commands that write synthetic cohorts: make-cohort, make-bold-cohort, make-target-cohort."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from fmnet.errors import FmnetError, printable
from fmnet.synthetic.bold import write_bold_cohort
from fmnet.synthetic.design import BoldDesign, Design, Parameters
from fmnet.synthetic.maps import write_cohort
from fmnet.synthetic.target_design import TargetDesign
from fmnet.synthetic.targets import write_target_cohort


def make_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of maps."""
    text = "Write a SYNTHETIC cohort (nobody was scanned) as a BIDS-derivatives tree."
    return _make("make-cohort", Design, write_cohort, "cohort", text, arguments)


def make_bold_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of BOLD runs."""
    text = "Write SYNTHETIC BOLD runs (nobody was scanned) as fMRIPrep would leave them."
    return _make("make-bold-cohort", BoldDesign, write_bold_cohort, "BOLD", text, arguments)


def make_target_cohort(arguments: list[str]) -> int:
    """Write a synthetic cohort of maps with outcomes."""
    text = (
        "Write a SYNTHETIC cohort (nobody was scanned) with outcomes, as a BIDS-derivatives tree."
    )
    return _make("make-target-cohort", TargetDesign, write_target_cohort, "cohort", text, arguments)


def _make(
    name: str,
    design: type[Parameters],
    write: Callable[..., Path],
    made: str,
    description: str,
    arguments: list[str],
) -> int:
    parser = argparse.ArgumentParser(prog=f"fmnet {name}", description=description)
    parser.add_argument("out", type=Path, help="folder to make")
    for parameter, default in design().parameters.items():
        kind, count = (str, "+") if isinstance(default, list) else (type(default), None)
        option = f"--{parameter.replace('_', '-')}"
        parser.add_argument(
            option, type=kind, nargs=count, default=default, help="default: %(default)s"
        )
    parameters = vars(parser.parse_args(arguments))
    try:
        folder = write(parameters.pop("out"), **parameters)
    except FmnetError as error:
        print(error, file=sys.stderr)
        return 2
    whom = f"{parameters['n_subjects']} people, nobody was scanned"
    print(f"{printable(str(folder))}: SYNTHETIC {made} of {whom}")
    return 0
