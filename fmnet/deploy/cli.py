"""``fmnet-predict``: score new scans on a plain CPU machine."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from fmnet.data.tables import write_table
from fmnet.deploy.beside import Stated
from fmnet.deploy.bold_predict import NewBoldScan, predict_run
from fmnet.deploy.bundle import INTENDED_USE, Bundle, read_bundle
from fmnet.deploy.find import find_new_scans
from fmnet.deploy.find_bold import find_new_runs
from fmnet.deploy.options import build_parser, stated_by
from fmnet.deploy.predict import NewScan, Prediction, predict_scan, predictions_table
from fmnet.deploy.results import check_out, write_results
from fmnet.errors import FmnetError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 if at least one scan was scored, 1 if none, 2 on wrong input."""
    options = build_parser().parse_args(arguments)
    try:
        if options.out is not None:
            check_out(options.out)
        bundle = read_bundle(options.bundle)
        print(f"{describe(bundle)}\n{INTENDED_USE}", file=sys.stderr)
        stated = stated_by(options, bundle)
        predictions = _predict_all(bundle, options.scans, options.space, stated)
        if options.out is None:
            write_table(predictions_table(predictions), sys.stdout)
        else:
            write_results(predictions, options.out)
            _summarise(predictions, options.out)
    except FmnetError as error:
        print(f"fmnet-predict: {error}", file=sys.stderr)
        return 2
    return 0 if any(prediction.status == "ok" for prediction in predictions) else 1


def describe(bundle: Bundle) -> str:
    """Say in one line what the signature tells apart and what it was trained on."""
    training = bundle.metadata["training"]
    origin = "SYNTHETIC data, for demonstration" if bundle.is_synthetic else "research data"
    control = training.get("control", "")
    return (
        f"{control}{' ' if control else ''}signature {training['positive']} against "
        f"{training['negative']}, trained on {training['n_scans']} scans ({origin}); "
        f"input: {_input(bundle)}"
    )


def _input(bundle: Bundle) -> str:
    if bundle.contract is not None:
        return bundle.contract.words(bundle.space, bundle.task)
    wanted = bundle.metadata["input"]
    return f"{', '.join(wanted['contrasts'])} ({wanted['stat']}) in {bundle.space} space"


def _predict_all(
    bundle: Bundle, sources: list[str], space: str, stated: Stated
) -> list[Prediction]:
    listed: list[NewScan | NewBoldScan | Prediction] = []
    for source in sources:
        scans: Sequence[NewScan | NewBoldScan]
        if bundle.contract is None:
            scans, errors = find_new_scans(source, bundle, space)
        else:
            scans, errors = find_new_runs(source, bundle, space, stated)
        listed += [*errors, *scans]
    # runs take seconds each, maps do not
    is_short = len(listed) < (10 if bundle.contract is None else 2)
    bar = tqdm(listed, desc="scans", unit="scan", disable=is_short, leave=False)
    return [_predict(bundle, one) for one in bar]


def _predict(bundle: Bundle, listed: NewScan | NewBoldScan | Prediction) -> Prediction:
    if isinstance(listed, NewScan):
        return predict_scan(bundle, listed)
    return predict_run(bundle, listed) if isinstance(listed, NewBoldScan) else listed


def _summarise(predictions: list[Prediction], out: Path) -> None:
    counts = Counter(prediction.status for prediction in predictions)
    print(", ".join(f"{n} {status}" for status, n in counts.items()), file=sys.stderr)
    for prediction in predictions:
        if prediction.status != "ok":
            print(f"  {prediction.status}: {prediction.reason}", file=sys.stderr)
    print(out)
