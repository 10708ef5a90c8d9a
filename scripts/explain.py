"""``fmnet explain`` in a checkout: say what raised and lowered a score."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["explain", *sys.argv[1:]]))
