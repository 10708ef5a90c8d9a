"""Write synthetic BOLD: python scripts/make_bold_cohort.py OUT [--coupling 0.3] [--seed 0]."""

import argparse
import sys
from pathlib import Path

import installed  # noqa: F401 (it says what is missing)

from fmnet.errors import FmnetError, printable
from fmnet.synthetic.bold import write_bold_cohort
from fmnet.synthetic.design import BoldDesign


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Write SYNTHETIC BOLD runs (nobody was scanned) as fMRIPrep would leave them.",
    )
    parser.add_argument("out", type=Path, help="folder to make")
    for name, default in BoldDesign().parameters.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=type(default), default=default, help="default: %(default)s"
        )
    parameters = vars(parser.parse_args())
    try:
        folder = write_bold_cohort(parameters.pop("out"), **parameters)
    except FmnetError as error:
        print(error, file=sys.stderr)
        return 2
    people = f"{parameters['n_subjects']} people, nobody was scanned"
    print(f"{printable(str(folder))}: SYNTHETIC BOLD of {people}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
