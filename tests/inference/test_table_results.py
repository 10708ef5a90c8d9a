"""Tables that a killed or stopped run left go on; those of others are never replaced unasked."""

import json
import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest

from fmnet.errors import Fault
from fmnet.inference import scoring
from fmnet.inference.cli import main
from fmnet.inference.predict import Prediction
from fmnet.inference.quality import Reading
from fmnet.inference.results import full_record, prediction_of
from fmnet.inference.table_results import Unfinished
from fmnet.synthetic.maps import write_cohort

BUNDLE = str(Path(__file__).resolve().parents[2] / "checkpoints" / "synthetic")
REAL = scoring.score_with_values


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    made = write_cohort(tmp_path_factory.mktemp("people"), n_subjects=6, seed=1)
    return sorted(map(str, made.rglob("*_contrast-pressure_*")))


@pytest.fixture
def scored(monkeypatch):
    """Note what is scored; the scan named by `stop_at` stops the program instead."""
    noted = []

    def score(bundle, scan, request):
        if scan.name == getattr(score, "stop_at", None):
            os.kill(os.getpid(), signal.SIGTERM)
        noted.append(scan.name)
        return REAL(bundle, scan, request)

    monkeypatch.setattr(scoring, "score_with_values", score)
    noted.append(score)
    return noted


def predict(maps, out, *options):
    return main([BUNDLE, *maps, "--out", str(out), "--force", "--jobs", "1", *options])


def begin(maps, out, scored, at=2, *options):
    """Stop after some scans, and forget what was scored."""
    scored[0].stop_at = maps[at]
    assert predict(maps, out, *options) == 143
    del scored[1:]
    scored[0].stop_at = None


@pytest.mark.parametrize("name", ["x.tsv", "x.json"])
def test_stopped_run_goes_on_in_order(maps, scored, tmp_path, capsys, name):
    whole, out = tmp_path / f"whole-{name}", tmp_path / name
    assert predict(maps, whole) == 0
    del scored[1:]
    begin([*maps[:2], "gone.nii", *maps[2:]], out, scored, 4)
    assert predict([maps[5], *maps[:5]], out) == 0
    assert scored[1:] == [maps[5], *maps[3:5]]
    assert "3 of 6 scans are known from before" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"whole-{name}"])
    if name == "x.tsv":
        expected = pd.read_csv(whole, sep="\t").iloc[[5, 0, 1, 2, 3, 4]].reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_csv(out, sep="\t"), expected)
    else:
        found, expected = (json.loads(path.read_text())["predictions"] for path in (out, whole))
        assert found == [expected[5], *expected[:5]]


def test_killed_run_goes_on(maps, scored, tmp_path):
    """As if the process had gone after two scans, in the middle of a line."""
    out, left = tmp_path / "x.tsv", tmp_path / ".x.tsv.unfinished"
    begin(maps, out, scored)
    out.unlink()
    left.write_text(f'{left.read_text()}{{"scan": "0123')
    assert predict(maps, out, "--overwrite") == 0  # there is nothing that it would replace
    assert scored[1:] == maps[2:]
    assert list(pd.read_csv(out, sep="\t")["scan"]) == maps
    assert not left.exists()


def test_file_that_changed_is_scored_again(maps, scored, tmp_path):
    copies = [shutil.copy(path, tmp_path / f"{n}.nii.gz") for n, path in enumerate(maps)]
    copies = list(map(str, copies))
    begin(copies, tmp_path / "x.tsv", scored)
    os.utime(copies[0], (1, 1))
    assert predict(copies, tmp_path / "x.tsv") == 0
    assert scored[1:] == [copies[0], *copies[2:]]


@pytest.mark.parametrize(
    ("options", "before"),
    [(["--prevalence", "0.1"], []), (["--level", "0.7"], []), ([], ["--prevalence", "0.1"])],
)
def test_unfinished_table_of_another_request_is_not_replaced(
    maps, scored, tmp_path, capsys, options, before
):
    out = tmp_path / "x.tsv"
    begin(maps, out, scored, 2, *before)
    text = out.read_text()
    assert predict(maps, out, *options) == 2
    assert "unfinished table of another signature, request or version" in capsys.readouterr().err
    assert (out.read_text(), scored[1:]) == (text, [])
    assert predict(maps, out, "--overwrite", *options) == 0
    assert scored[1:] == maps


def test_finished_table_is_replaced_only_if_asked(maps, scored, tmp_path, capsys):
    out = tmp_path / "x.tsv"
    out.write_text("mine\n")
    assert predict(maps[:1], out) == 2
    assert "found results that are there already" in capsys.readouterr().err
    assert (out.read_text(), list(tmp_path.iterdir()), scored[1:]) == ("mine\n", [out], [])
    assert predict(maps[:1], out, "--overwrite") == 0
    assert len(pd.read_csv(out, sep="\t")) == 1
    assert predict(maps[:1], out) == 2


def test_table_that_another_process_writes_is_left_alone(maps, scored, tmp_path, capsys):
    fcntl = pytest.importorskip("fcntl")
    out, left = tmp_path / "x.tsv", tmp_path / ".x.tsv.unfinished"
    begin(maps, out, scored)
    with left.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert predict(maps, out) == 2
    assert "results that another process writes" in capsys.readouterr().err
    assert predict(maps, out) == 0


def test_page_that_is_missing_is_made(maps, scored, tmp_path):
    out, cards = tmp_path / "x.tsv", tmp_path / "cards"
    begin(maps, out, scored, 2, "--cards", str(cards))
    first, second = sorted(cards.iterdir())
    second.unlink()
    assert predict(maps, out, "--cards", str(cards)) == 0
    assert scored[1:] == maps[1:]
    assert first.exists()
    assert second.exists()
    assert (cards / "group.html").exists()


def test_prediction_is_read_back_as_it_was():
    fault = Fault("x", "found", "accepted", "action", "sub-01")
    readings = (Reading("scale", 2.0, 0.5, 1.5, "SD", 0.01, fault), Reading("sign", None))
    given = Prediction("x", 0.1, 0.2, "forced", "why", {}, (0.1, 0.3), ("FM", "HC"), readings, True)
    assert prediction_of(json.loads(json.dumps(full_record(given)))) == given
    target = Prediction("x", 0.1, None, "ok", "", {"score": 0.1, "value": 3.0})
    columns = ("score", "value")
    assert prediction_of(json.loads(json.dumps(full_record(target, columns))), columns) == target
    nothing = Prediction("x", None, None, "error", "why", groups=None)
    assert prediction_of(full_record(nothing, columns), columns) == nothing


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_what_cannot_be_kept_costs_no_table(maps, scored, tmp_path, monkeypatch):
    full = Path("/dev/full")
    monkeypatch.setattr(
        Unfinished, "_begin", lambda self, *_: setattr(self, "_file", full.open("w"))
    )
    out = tmp_path / "x.tsv"
    assert predict(maps, out) == 0
    assert len(pd.read_csv(out, sep="\t")) == len(maps)
