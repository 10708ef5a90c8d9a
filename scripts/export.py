"""``fmnet export`` in a checkout: turn a finished run into a bundle."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
