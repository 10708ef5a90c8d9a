"""Score new scans with an exported signature; needs the base install alone.

python scripts/predict.py BUNDLE SCAN [SCAN ...] --out results.tsv
"""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.inference.cli import main

if __name__ == "__main__":
    sys.exit(main())
