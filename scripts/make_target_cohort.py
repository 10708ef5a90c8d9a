"""``fmnet make-target-cohort`` in a checkout: write a cohort with outcomes."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["make-target-cohort", *sys.argv[1:]]))
