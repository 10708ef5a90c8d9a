"""``fmnet-explain``: say what raised and what lowered the score of one scan."""

import argparse
import sys
import textwrap
from pathlib import Path

from fmnet.errors import ConfigError, Fault, FmnetError, printable
from fmnet.inference.bundle import INTENDED_USE, read_bundle
from fmnet.inference.card_files import write_explanation
from fmnet.inference.cli import Stopped, describe, find_scans, stopping
from fmnet.inference.explain import explain_scan
from fmnet.inference.options import (
    add_scan_options,
    add_signature_option,
    entities_of,
    program,
    stated_by,
)
from fmnet.inference.predict import Prediction
from fmnet.inference.signing import check_signature
from fmnet.inference.study_results import summary
from fmnet.inference.target_bundle import TARGET_USE


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0 if the score was explained, 2 if not; 128 and the signal's number if it was stopped.
    """
    options = build_parser().parse_args(arguments)
    options.scans = [options.scan]
    try:
        with stopping():
            if options.require_signature is not None:
                check_signature(options.bundle, options.require_signature)
            bundle = read_bundle(options.bundle)
            use = INTENDED_USE if bundle.target is None else TARGET_USE
            print(f"{describe(bundle)}\n{use}", file=sys.stderr)
            stated, entities = stated_by(options, bundle), entities_of(options)
            found = find_scans(bundle, options.scan, options.space, stated, entities)
            scans = [one for one in found if not isinstance(one, Prediction)]
            if len(scans) != 1:
                errors = [one.reason for one in found if isinstance(one, Prediction)]
                said = f"{len(scans)} scans" + "".join(f"; {text}" for text in errors[:3])
                accepted, action = "one scan", "name its map or maps, or its runs"
                raise ConfigError(Fault(options.scan, said, accepted, action))
            explanation = explain_scan(bundle, scans[0], options.force)
            written = write_explanation(bundle, explanation, options.out)
    except FmnetError as error:
        print(f"{program('explain')}: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:
        print(f"{program('explain')}: stopped by {stop.signal.name}", file=sys.stderr)
        return 128 + stop.signal
    told = [
        explanation.mark,
        explanation.prediction.reason,
        *explanation.notes,
        summary(bundle.evidence),
    ]
    for line in filter(None, told):
        print(printable(line), file=sys.stderr)
    for path in written:
        print(printable(str(path)))
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Describe the command."""
    name = program("explain")
    said = (
        "Say what raised and what lowered the score of one scan: a map, a table of regions and a "
        "page, beside the study's people. "
    )
    examples = f"""\
examples:
  {name} checkpoints/pain sub-01_statmap.nii.gz --out explanation
  {name} checkpoints/pain sub-01_statmap.nii.gz --force"""
    parser = argparse.ArgumentParser(
        prog=name,
        description=textwrap.fill(said + INTENDED_USE, 79),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, help="folder that fmnet export wrote")
    parser.add_argument("scan", help="one scan, named as for fmnet predict")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("explanation"),
        metavar="DIR",
        help="folder to write into; files of an earlier explanation are replaced",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="also explain a score of a signature that is not stable, by boxes of the brain; all "
        "that is written says so",
    )
    add_signature_option(parser)
    add_scan_options(parser)
    return parser
