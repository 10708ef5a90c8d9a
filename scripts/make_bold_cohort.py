"""Write synthetic BOLD: python scripts/make_bold_cohort.py OUT [--coupling 0.3] [--seed 0]."""

import sys

from make_cohort import main

from fmnet.synthetic.bold import write_bold_cohort
from fmnet.synthetic.design import BoldDesign

if __name__ == "__main__":
    text = "Write SYNTHETIC BOLD runs (nobody was scanned) as fMRIPrep would leave them."
    sys.exit(main(BoldDesign, write_bold_cohort, "BOLD", text))
