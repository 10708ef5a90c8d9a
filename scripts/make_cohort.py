"""Write a synthetic cohort: python scripts/make_cohort.py OUT [--effect-size 2.5] [--seed 0]."""

import argparse
import sys
from pathlib import Path

import installed  # noqa: F401 (it says what is missing)

from fmnet.errors import FmnetError, printable
from fmnet.synthetic.design import Design
from fmnet.synthetic.maps import write_cohort


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Write a SYNTHETIC cohort (nobody was scanned) as a BIDS-derivatives tree.",
    )
    parser.add_argument("out", type=Path, help="folder to make")
    for name, default in Design().parameters.items():
        kind, count = (str, "+") if isinstance(default, list) else (type(default), None)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=kind, nargs=count, default=default, help="default: %(default)s"
        )
    parameters = vars(parser.parse_args())
    try:
        folder = write_cohort(parameters.pop("out"), **parameters)
    except FmnetError as error:
        print(error, file=sys.stderr)
        return 2
    people = f"{parameters['n_subjects']} people, nobody was scanned"
    print(f"{printable(str(folder))}: SYNTHETIC cohort of {people}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
