"""``fmnet train`` in a checkout: cross-validate a network and train the final models."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
