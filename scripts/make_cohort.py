"""``fmnet make-cohort`` in a checkout: write a synthetic cohort of maps."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["make-cohort", *sys.argv[1:]]))
