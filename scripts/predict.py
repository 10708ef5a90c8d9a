"""``fmnet predict`` in a checkout: score new scans with an exported signature."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
