"""``fmnet check``: check a BIDS data set before anything is trained on it."""

import argparse
import io
import sys
from pathlib import Path

from fmnet.bold import dataset, findings
from fmnet.config.primary import config_dir
from fmnet.data.tables import write_table
from fmnet.errors import FmnetError, printable

EXAMPLES = """\
examples:
  fmnet check rawdata --derivatives derivatives/fmriprep --task rest
  fmnet check derivatives/fmriprep --target severity column=fiqr --out faults.tsv"""


def main(arguments: list[str]) -> int:
    """Check a data set.

    Returns
    -------
    int
        0 if nothing is wrong, 1 if there are faults, 2 if there is no data set to check.
    """
    parser = argparse.ArgumentParser(
        prog="fmnet check",
        description="Check a BIDS data set, raw or preprocessed; status 1 if anything is wrong.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, help="raw data set, or fMRIPrep's output folder")
    parser.add_argument("--derivatives", type=Path, help="fMRIPrep's output, if ROOT is raw")
    parser.add_argument("--task", help="only this task, for instance rest")
    parser.add_argument("--space", help="for instance MNI152NLin2009cAsym:res-2")
    parser.add_argument(
        "--target", nargs="+", help="target whose columns it has to have, too: NAME [KEY=VALUE ...]"
    )
    parser.add_argument("--out", type=Path, help="write every fault to this table (.tsv)")
    *where, target, out = vars(parser.parse_args(arguments)).values()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may hold what can't be shown
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        report = dataset.check_dataset(*where)
        if target:
            from fmnet.config.targets import check_target  # takes seconds, and the train extra

            report = check_target(report, config_dir(), *target)
        if out:
            write_table(findings.fault_table(report), out, for_people=True)
    except (FmnetError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(map(printable, findings.describe(report))))
    return 1 if report.findings else 0
