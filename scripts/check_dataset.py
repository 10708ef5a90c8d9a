"""Check a BIDS data set, fMRIPrep's output, or both: python scripts/check_dataset.py ROOT.

Exit status: 0 if nothing is wrong, 1 if there are faults, 2 if the folder holds no data set.
"""

import argparse
import sys
from pathlib import Path

import installed  # noqa: F401 (it says what is missing)

from fmnet.bold.dataset import check_dataset
from fmnet.bold.findings import describe, fault_table
from fmnet.data.tables import write_table
from fmnet.errors import FmnetError, printable


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a BIDS data set, raw or preprocessed.")
    parser.add_argument("root", type=Path, help="raw data set, or fMRIPrep's output folder")
    parser.add_argument("--derivatives", type=Path, help="fMRIPrep's output, if ROOT is raw")
    parser.add_argument("--task", help="only this task, for instance rest")
    parser.add_argument("--space", help="for instance MNI152NLin2009cAsym:res-2")
    parser.add_argument("--out", type=Path, help="write every fault to this table (.tsv)")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # names may hold what can't be shown
    try:
        report = check_dataset(options.root, options.derivatives, options.task, options.space)
        if options.out:
            write_table(fault_table(report), options.out, for_people=True)
    except (FmnetError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(map(printable, describe(report))))
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
