"""``fmnet compare RUN RUN ...``: put finished runs side by side, as a page and as a table."""

import argparse
import sys
from pathlib import Path

from fmnet.errors import FmnetError, printable

EXAMPLES = """examples:
  fmnet compare outputs/small outputs/large --out comparison
  fmnet compare outputs/sweep               all runs of a sweep (--multirun)
"""


def main(arguments: list[str] | None = None) -> int:
    """Compare the runs that are named on the command line.

    Returns
    -------
    int
        0, or 2 if they can't be compared, with the reasons on standard error.
    """
    parser = argparse.ArgumentParser(
        prog="fmnet compare",
        description="Compare finished runs: what differs in their settings, what their models "
        "reached, and what was concluded. Research use only.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run, or a sweep")
    default = Path("comparison")
    said = "where comparison.html and comparison.tsv go, in place of earlier ones (%(default)s)"
    parser.add_argument("--out", type=Path, default=default, metavar="FOLDER", help=said)
    asked = parser.parse_args(arguments)
    # matplotlib and pandas, which nobody waits for who asks for help
    from fmnet.report.comparison_page import write_comparison

    try:
        lines = write_comparison(asked.runs, asked.out)
    except FmnetError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(map(printable, lines)))
    return 0
