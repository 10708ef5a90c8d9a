"""``fmnet-predict``: score new scans on a plain CPU machine."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from fmnet.data.tables import write_table
from fmnet.deploy.bundle import INTENDED_USE, Bundle, read_bundle
from fmnet.deploy.predict import (
    NewScan,
    Prediction,
    find_new_scans,
    predict_scan,
    predictions_table,
)
from fmnet.errors import Fault, FmnetError, RunError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 if at least one scan was scored, 1 if none, 2 on wrong input."""
    options = _parser().parse_args(arguments)
    try:
        bundle = read_bundle(options.bundle)
        print(f"{describe(bundle)}\n{INTENDED_USE}", file=sys.stderr)
        predictions = _predict_all(bundle, options.scans, options.space)
        write_results(predictions, options.out)
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
        help="a map (.nii, .nii.gz, .img); the maps of one scan joined by commas; a table "
        "(.tsv: participant_id, contrast, path); or a BIDS-derivatives folder",
    )
    parser.add_argument("--out", type=Path, help="table to write; without it, it is printed")
    parser.add_argument("--space", default="", help="space of maps whose name does not say it")
    return parser


def describe(bundle: Bundle) -> str:
    """Say in one line what the signature tells apart and what it was trained on."""
    training, wanted = bundle.metadata["training"], bundle.metadata["input"]
    origin = "SYNTHETIC data, for demonstration" if bundle.is_synthetic else "research data"
    return (
        f"signature {training['positive']} against {training['negative']}, trained on "
        f"{training['n_scans']} scans ({origin}); input: {', '.join(wanted['contrasts'])} "
        f"({wanted['stat']}) in {wanted['space']} space"
    )


def write_results(predictions: list[Prediction], out: Path | None) -> None:
    """Write the table to a file, and a summary to the terminal; or the table to the terminal."""
    table = predictions_table(predictions)
    if out is None:
        write_table(table, sys.stdout)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_table(table, out)
    except OSError as error:
        accepted = "a place that can be written"
        raise RunError(Fault(str(out), str(error), accepted, "choose another --out")) from error
    counts = Counter(prediction.status for prediction in predictions)
    print(", ".join(f"{n} {status}" for status, n in counts.items()), file=sys.stderr)
    for prediction in predictions:
        if prediction.status != "ok":
            print(f"  {prediction.status}: {prediction.reason}", file=sys.stderr)
    print(out)


def _predict_all(bundle: Bundle, sources: list[str], space: str) -> list[Prediction]:
    scans: list[NewScan] = []
    predictions: list[Prediction] = []
    for source in sources:
        found, faults = find_new_scans(source, bundle)
        scans += found
        predictions += faults
    for scan in tqdm(scans, desc="scans", disable=len(scans) < 10, leave=False):
        named = NewScan(scan.name, scan.files, scan.space or space)
        predictions.append(predict_scan(bundle, named))
    return predictions
