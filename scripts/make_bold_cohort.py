"""``fmnet make-bold-cohort`` in a checkout: write synthetic BOLD runs."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["make-bold-cohort", *sys.argv[1:]]))
