"""What a signature answers when it is asked for new people, with its gates and without."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.shift_studies import Person, Studies, Trial
from fmnet.data.nifti import write_volume
from fmnet.errors import BenchmarkError, Fault
from fmnet.inference.bundle import Bundle, read_bundle
from fmnet.inference.predict import NewScan, Prediction, Request, predict_scan

ROOT = Path(__file__).resolve().parents[1]
#: What a scan comes to: no score; a set of both groups, of none, of the right or the wrong one.
ANSWERS = ("abstained", "both", "neither", "right", "wrong")
#: What is exported is the default network, and nothing stands beside it.
USUAL = ("baselines=none", "signature=null", "logger=none")


def ask_all(
    studies: Studies, number: int, level: float, overrides: Sequence[str], seed: int
) -> pd.DataFrame:
    """Train and export a signature, and ask it for everybody.

    Returns
    -------
    DataFrame
        One row per scan: ``study, shift, person, group`` (empty where none is right), ``before``
        and ``after`` (without gates and with them, see `ANSWERS`), ``score``, ``probability``, and
        ``gates``, those that it failed.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="fmnet-shift-") as place:
        folder = Path(place)
        trial = studies.prepare(number, seed, folder)
        bundle = export_signature(trial, overrides, seed, folder)
        for row, (shift, person, change) in enumerate(tqdm(list(trial.cases()), leave=False)):
            rng = np.random.default_rng([seed, number, row])
            file = folder / f"{person.name}{trial.ending}"
            write_volume(change(person.volume, rng), file)
            found = ask(bundle, file, person, level)
            rows.append({"study": number, "shift": shift, "person": person.name, **found})
    return pd.DataFrame(rows)


def export_signature(trial: Trial, overrides: Sequence[str], seed: int, folder: Path) -> Bundle:
    """Train the default network as a study does, and export it, however good it is."""
    run, out = folder / "run", folder / "bundle"
    places = [f"run_dir={run}", f"store_dir={folder / 'store'}", f"seed={seed}"]
    _call("train", *trial.overrides, *USUAL, *overrides, *places)
    _call("export", f"run_dir={run}", f"out={out}", "model=network", "allow_uninformative=true")
    return read_bundle(out)


def _call(script: str, *arguments: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        found = " ".join(done.stderr.splitlines()[-5:]) or "no message"
        raise BenchmarkError(Fault(" ".join(command), found, "a result", "run it by itself"))


def ask(bundle: Bundle, file: Path, person: Person, level: float) -> dict[str, Any]:
    """Ask for a person; a score that had to be forced is one that the gates withhold."""
    scan = NewScan(person.name, (file,), person.volume.space)
    said = predict_scan(bundle, scan, Request(level=level, is_forced=True))
    before = answer_of(bundle, said, person.group, level)
    failed = [reading.gate for reading in said.readings if not reading.is_passed]
    return {
        "group": person.group,
        "before": before,
        "after": "abstained" if said.status == "forced" else before,
        "score": said.score,
        "probability": said.probability,
        "gates": " + ".join(failed) or ("" if said.score is not None else "can't be read"),
    }


def answer_of(bundle: Bundle, said: Prediction, group: str, level: float) -> str:
    """Say which of `ANSWERS` a prediction is; no group is right where `group` is empty.

    Of bundles without sets, a probability of `level` stands for a set of one group.
    """
    if said.score is None:
        return "abstained"
    groups = said.groups
    if groups is None:
        training, probability = bundle.metadata["training"], float(said.probability or 0.0)
        positive, negative = str(training["positive"]), str(training["negative"])
        likely = positive if probability > 0.5 else negative
        is_sure = max(probability, 1 - probability) >= level
        groups = (likely,) if is_sure else (positive, negative)
    if len(groups) != 1:
        return "both" if groups else "neither"
    return "right" if groups == (group,) else "wrong"
