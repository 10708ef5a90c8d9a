"""Write a synthetic cohort: python scripts/make_cohort.py OUT [--effect-size 2.5] [--seed 0]."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import installed  # noqa: F401 (it says what is missing)

from fmnet.errors import FmnetError, printable
from fmnet.synthetic.design import Design, Parameters
from fmnet.synthetic.maps import write_cohort


def main(design: type[Parameters], write: Callable[..., Path], made: str, description: str) -> int:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out", type=Path, help="folder to make")
    for name, default in design().parameters.items():
        kind, count = (str, "+") if isinstance(default, list) else (type(default), None)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=kind, nargs=count, default=default, help="default: %(default)s"
        )
    parameters = vars(parser.parse_args())
    try:
        folder = write(parameters.pop("out"), **parameters)
    except FmnetError as error:
        print(error, file=sys.stderr)
        return 2
    whom = f"{parameters['n_subjects']} people, nobody was scanned"
    print(f"{printable(str(folder))}: SYNTHETIC {made} of {whom}")
    return 0


if __name__ == "__main__":
    text = "Write a SYNTHETIC cohort (nobody was scanned) as a BIDS-derivatives tree."
    sys.exit(main(Design, write_cohort, "cohort", text))
