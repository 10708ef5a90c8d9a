"""Readers of what an earlier call of ``fmnet-predict`` wrote, from which a later one goes on."""

import json
from functools import cache
from pathlib import Path

from benchmarks.fuzz.target import Reader
from fmnet.errors import Fault
from fmnet.inference.bids_app import read_result
from fmnet.inference.bundle import Bundle, read_bundle
from fmnet.inference.predict import USUAL, NewScan, Prediction, predictions_table
from fmnet.inference.quality import Reading
from fmnet.inference.results import about_signature, full_record
from fmnet.inference.scan_card import build_group_page
from fmnet.inference.table_results import Unfinished, asked_of, identify

SHIPPED = Path(__file__).resolve().parents[2] / "tests" / "bundles" / "format_1"
#: A scan without files, and what was said of it.
SCAN = NewScan("sub-01", (), "MNI152")
READINGS = (
    Reading("coverage", 0.9, 0.5, None, "of voxels", 0.01),
    Reading("scale", 9.0, 1.0, 2.0, "", None, Fault("sub-01", "9", "1 to 2", "look at it")),
)
PREDICTION = Prediction(
    "sub-01", 0.5, 0.6, "forced", "a reason", {}, (0.4, 0.7), ("FM",), READINGS, True
)


def result_readers() -> list[Reader]:
    """List them."""
    record, asked = full_record(PREDICTION), asked_of(about_signature(_bundle(), USUAL))
    document = {**about_signature(_bundle(), USUAL), "predictions": [record], "complete": True}
    lines = [asked, {"scan": identify(SCAN), "prediction": record}]
    return [
        Reader(_result, "sub-01_fmnet.json", [json.dumps(document).encode()]),
        Reader(_unfinished, ".a.tsv.unfinished", ["\n".join(map(json.dumps, lines)).encode()]),
    ]


@cache
def _bundle() -> Bundle:
    return read_bundle(SHIPPED)


def _result(folder: Path) -> None:
    _, prediction = read_result(folder / "sub-01_fmnet.json", ())
    predictions_table([prediction])
    build_group_page(_bundle(), [prediction], USUAL, [""]).encode()


def _unfinished(folder: Path) -> None:
    unfinished = Unfinished(folder / "a.tsv", asked_of(about_signature(_bundle(), USUAL)), True)
    try:
        if (prediction := unfinished.known(SCAN, ())) is not None:
            predictions_table([prediction])
            build_group_page(_bundle(), [prediction], USUAL, [""]).encode()
    finally:
        unfinished.close(False)
