"""``fmnet pretrain`` in a checkout: pretrain the default network."""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main(["pretrain", *sys.argv[1:]]))
