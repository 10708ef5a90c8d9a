"""Write a synthetic cohort for a target: python scripts/make_target_cohort.py OUT --kind onset."""

import sys

from make_cohort import main

from fmnet.synthetic.target_design import TargetDesign
from fmnet.synthetic.targets import write_target_cohort

if __name__ == "__main__":
    text = (
        "Write a SYNTHETIC cohort (nobody was scanned) with outcomes, as a BIDS-derivatives tree."
    )
    sys.exit(main(TargetDesign, write_target_cohort, "cohort", text))
