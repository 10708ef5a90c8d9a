"""Check a BIDS data set: python scripts/check_dataset.py ROOT; status 1: faults, 2: no data set."""

import argparse
import sys
from pathlib import Path

import installed  # noqa: F401 (it says what is missing)
from hydra.utils import get_method

from fmnet.bold import dataset, findings
from fmnet.data.tables import write_table
from fmnet.errors import FmnetError, printable


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a BIDS data set, raw or preprocessed.")
    parser.add_argument("root", type=Path, help="raw data set, or fMRIPrep's output folder")
    parser.add_argument("--derivatives", type=Path, help="fMRIPrep's output, if ROOT is raw")
    parser.add_argument("--task", help="only this task, for instance rest")
    parser.add_argument("--space", help="for instance MNI152NLin2009cAsym:res-2")
    parser.add_argument("--target", nargs="+", help="what it lacks for this: NAME [KEY=VALUE ...]")
    parser.add_argument("--out", type=Path, help="write every fault to this table (.tsv)")
    *where, target, out = vars(parser.parse_args()).values()
    sys.stdout.reconfigure(errors="backslashreplace")  # names may hold what can't be shown
    try:
        report = dataset.check_dataset(*where)
        if target:  # by its name, since it takes seconds to import
            check_target = get_method("fmnet.config.targets.check_target")
            report = check_target(report, Path(__file__).resolve().parents[1] / "configs", *target)
        if out:
            write_table(findings.fault_table(report), out, for_people=True)
    except (FmnetError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(map(printable, findings.describe(report))))
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
