import errno
import json
import os
import stat
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fmnet.errors import OutputError
from fmnet.inference.predict import Prediction
from fmnet.inference.results import Results, check_out, missing_sentence
from fmnet.inference.study_results import Evidence

PREDICTIONS = [
    Prediction("a,b", 1.5, 0.8, "ok"),
    Prediction("c", None, None, "error", "no such file, sadly"),
]
KNOWN = Evidence(
    verdict="Above chance.",
    red=["age alone tells the groups apart."],
    amber=["The groups differ in sex."],
    auc=0.8,
    auc_ci=[0.7, 0.9],
    p=0.01,
    n_subjects=9,
)
ABOUT = {"signature": {"name": "größer"}, "evidence": asdict(KNOWN), "base_rate": 0.5}


def write_results(predictions, out, about=None):
    with Results(out, about) as results:
        for prediction in predictions:
            results.add(prediction)


@pytest.mark.parametrize(("name", "separator"), [("x.tsv", "\t"), ("x.csv", ","), ("x.CSV", ",")])
def test_ending_chooses_the_separator(tmp_path, name, separator):
    write_results(PREDICTIONS, tmp_path / "deep" / name)
    table = pd.read_csv(tmp_path / "deep" / name, sep=separator)
    assert list(table) == list(Prediction("", None, None, "error").record())
    assert list(table["scan"]) == ["a,b", "c"]
    assert table["reason"][1] == "no such file, sadly"


@pytest.mark.parametrize("before", [None, "older results"])
def test_full_disk_leaves_what_was_there(tmp_path, monkeypatch, before):
    out = tmp_path / "x.tsv"
    if before:
        out.write_text(before)

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"results can't be written: .*No space left on device"):
        write_results(PREDICTIONS, out)
    assert [path.read_text() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_link_is_kept_and_its_target_replaced(tmp_path):
    (tmp_path / "target.tsv").write_text("older results")
    (tmp_path / "link.tsv").symlink_to("target.tsv")
    write_results(PREDICTIONS, tmp_path / "link.tsv")
    assert (tmp_path / "link.tsv").is_symlink()
    assert "a,b" in (tmp_path / "target.tsv").read_text()


def test_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    check_out(pipe)
    write_results(PREDICTIONS, pipe)
    assert os.read(reader, 100_000).startswith(b"scan\tscore")
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_usable_places_pass_and_stay_untouched(tmp_path):
    check_out(tmp_path / "not" / "yet" / "x.tsv")
    assert list(tmp_path.iterdir()) == []


def test_unusable_places_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"found a folder; .*choose another --out"):
        check_out(tmp_path)
    with pytest.raises(OutputError, match=r"file', which is no folder"):
        check_out(tmp_path / "file" / "x.tsv")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="which can't be written into"):
        check_out(tmp_path / "x.tsv")


def test_rows_that_a_killed_process_left_go_once_the_table_is_whole(tmp_path):
    out, left = tmp_path / "x.tsv", tmp_path / f".x.tsv-{'0' * 32}.part"
    left.write_text("scan\n")
    (tmp_path / ".y.tsv-other.part").write_text("")
    with Results(tmp_path / "x.tsv") as others:  # at work meanwhile
        write_results(PREDICTIONS, out)
        assert len(list(tmp_path.glob(".x.tsv-*.part"))) == 1
        others.add(PREDICTIONS[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".y.tsv-other.part", "x.tsv"]
    assert len(out.read_text().splitlines()) == 2


def test_rows_that_a_killed_process_left_stay_while_there_are_no_others(tmp_path):
    left = tmp_path / f".x.tsv-{'0' * 32}.part"
    left.write_text("scan\n")
    with Results(tmp_path / "x.tsv") as results:
        results.add(PREDICTIONS[0])
        results.finish(is_whole=False)
    assert left.exists()


# --- JSON


def test_json_says_of_each_prediction_what_is_known_of_the_signature(tmp_path):
    out = tmp_path / "deep" / "x.JSON"
    write_results(PREDICTIONS, out, ABOUT)
    document = json.loads(out.read_text("utf-8"))
    assert document["signature"] == {"name": "größer"}
    assert document["complete"] is True
    assert [one["scan"] for one in document["predictions"]] == ["a,b", "c"]
    assert [one["score"] for one in document["predictions"]] == [1.5, None]
    for record in document["predictions"]:
        known = record["evidence"]
        assert record["base_rate"] == 0.5
        assert (known["verdict"], known["red"]) == (KNOWN.verdict, KNOWN.red)
        assert (known["auc"], known["auc_ci"], known["p"]) == (0.8, [0.7, 0.9], 0.01)
        assert known["n_subjects"] == 9
        assert "amber" not in known
    assert "größer" in out.read_text("utf-8")
    assert list(tmp_path.rglob(".*")) == []


def test_json_without_predictions_is_a_document(tmp_path):
    write_results([], tmp_path / "x.json", ABOUT)
    assert json.loads((tmp_path / "x.json").read_text())["predictions"] == []


def test_json_is_whole_after_each_prediction(tmp_path):
    with Results(tmp_path / "x.json", ABOUT) as results:
        (part,) = tmp_path.iterdir()
        for n, prediction in enumerate([*PREDICTIONS, *PREDICTIONS]):
            document = json.loads(part.read_text("utf-8"))
            assert len(document["predictions"]) == n
            assert document["complete"] is False
            results.add(prediction)
    document = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert len(document["predictions"]) == 4
    assert document["complete"] is True


def test_json_that_is_interrupted_within_a_prediction_keeps_those_before(tmp_path, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    def write():
        with Results(tmp_path / "x.json", ABOUT) as results:
            results.add(PREDICTIONS[0])
            with monkeypatch.context() as changed:
                changed.setattr("fmnet.inference.results.END", SimpleNamespace(format=stop))
                results.add(PREDICTIONS[1])

    with pytest.raises(KeyboardInterrupt):
        write()
    document = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert [one["scan"] for one in document["predictions"]] == ["a,b"]
    assert document["complete"] is False


def test_json_holds_no_text_that_steers_and_no_number_that_is_none(tmp_path):
    name = os.fsdecode(b"\x1b]0;x\x07 m\xfcller \xe2\x80\xae\n.nii")
    odd = Prediction(name, np.float64("nan"), float("inf"), "ok", "\u2028")
    known = asdict(KNOWN) | {"red": ["\x1b[2J wiped"]}
    write_results([odd], tmp_path / "x.json", ABOUT | {"evidence": known})
    text = (tmp_path / "x.json").read_text("utf-8")
    assert all(line.isprintable() for line in text.split("\n"))
    (record,) = json.loads(text)["predictions"]
    assert record["scan"] == r"\x1b]0;x\x07 m\xfcller \u202e\n.nii"
    assert (record["score"], record["probability"]) == (None, None)
    assert record["evidence"]["red"] == [r"\x1b[2J wiped"]


def test_json_goes_into_a_pipe(tmp_path):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_results(PREDICTIONS, pipe, ABOUT)
    document = json.loads(os.read(reader, 100_000))
    os.close(reader)
    assert len(document["predictions"]) == 2
    assert document["complete"] is True


@pytest.mark.parametrize(
    ("false_alarms", "said"),
    [(None, "With 9 people in its training, little is looked at"), (0.1, "")],
)
def test_few_people_of_the_training_are_told(false_alarms, said):
    gates = SimpleNamespace(n_people=9, false_alarms=false_alarms)
    bundle = SimpleNamespace(unseen=object(), target=None, gates=gates)
    assert missing_sentence(bundle).startswith(said)
    assert bool(missing_sentence(bundle)) == bool(said)
