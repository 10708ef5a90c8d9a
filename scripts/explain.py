"""Say what raised and what lowered the score of one scan; needs the base install alone.

python scripts/explain.py BUNDLE SCAN --out explanation
"""

import sys

import installed  # noqa: F401 (it says what is missing)

from fmnet.inference.explain_command import main

if __name__ == "__main__":
    sys.exit(main())
