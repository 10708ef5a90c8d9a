"""``fmnet-predict``: score new scans on a plain CPU machine."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from fmnet.data.tables import write_table
from fmnet.deploy.bundle import INTENDED_USE, Bundle, read_bundle
from fmnet.deploy.find import find_new_scans
from fmnet.deploy.predict import NewScan, Prediction, predict_scan, predictions_table
from fmnet.deploy.results import check_out, write_results
from fmnet.errors import FmnetError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 if at least one scan was scored, 1 if none, 2 on wrong input."""
    options = _parser().parse_args(arguments)
    try:
        if options.out is not None:
            check_out(options.out)
        bundle = read_bundle(options.bundle)
        print(f"{describe(bundle)}\n{INTENDED_USE}", file=sys.stderr)
        predictions = _predict_all(bundle, options.scans, options.space)
        if options.out is None:
            write_table(predictions_table(predictions), sys.stdout)
        else:
            write_results(predictions, options.out)
            _summarise(predictions, options.out)
    except FmnetError as error:
        print(f"fmnet-predict: {error}", file=sys.stderr)
        return 2
    return 0 if any(prediction.status == "ok" for prediction in predictions) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fmnet-predict",
        description="Score brain maps with an exported fmnet signature. " + INTENDED_USE,
    )
    parser.add_argument("bundle", type=Path, help="folder that scripts/export.py wrote")
    parser.add_argument(
        "scans",
        nargs="+",
        metavar="scan",
        help="a map (.nii, .nii.gz, .img); the maps of one scan joined by commas, in any order if "
        "their names say contrast-NAME, else in the signature's; a table (.tsv or .csv: "
        "participant_id, contrast, path); or a BIDS-derivatives folder",
    )
    parser.add_argument(
        "--out", type=Path, help="table to write, .csv with commas; without it, it is printed"
    )
    parser.add_argument(
        "--space",
        default="",
        help="space of the maps: overrules what file names say (space-NAME), but not the space "
        "column of a table; in a folder that holds maps in several spaces, the one to read",
    )
    return parser


def describe(bundle: Bundle) -> str:
    """Say in one line what the signature tells apart and what it was trained on."""
    training, wanted = bundle.metadata["training"], bundle.metadata["input"]
    origin = "SYNTHETIC data, for demonstration" if bundle.is_synthetic else "research data"
    control = training.get("control", "")
    return (
        f"{control}{' ' if control else ''}signature {training['positive']} against "
        f"{training['negative']}, trained on {training['n_scans']} scans ({origin}); "
        f"input: {', '.join(wanted['contrasts'])} ({wanted['stat']}) in {wanted['space']} space"
    )


def _predict_all(bundle: Bundle, sources: list[str], space: str) -> list[Prediction]:
    listed: list[NewScan | Prediction] = []
    for source in sources:
        scans, errors = find_new_scans(source, bundle, space)
        listed += [*errors, *scans]
    return [
        one if isinstance(one, Prediction) else predict_scan(bundle, one)
        for one in tqdm(listed, desc="scans", disable=len(listed) < 10, leave=False)
    ]


def _summarise(predictions: list[Prediction], out: Path) -> None:
    counts = Counter(prediction.status for prediction in predictions)
    print(", ".join(f"{n} {status}" for status, n in counts.items()), file=sys.stderr)
    for prediction in predictions:
        if prediction.status != "ok":
            print(f"  {prediction.status}: {prediction.reason}", file=sys.stderr)
    print(out)
