"""``fmnet check`` in a checkout: check a BIDS data set."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["check", *sys.argv[1:]]))
