"""``python -m fmnet`` is the command ``fmnet``."""

import sys

from fmnet.command.main import main

if __name__ == "__main__":
    sys.exit(main())
