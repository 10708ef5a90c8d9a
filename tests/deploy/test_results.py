import errno
import os
import stat

import pandas as pd
import pytest

from fmnet.deploy.predict import Prediction
from fmnet.deploy.results import Results, check_out
from fmnet.errors import OutputError

PREDICTIONS = [
    Prediction("a,b", 1.5, 0.8, "ok"),
    Prediction("c", None, None, "error", "no such file, sadly"),
]


def write_results(predictions, out):
    with Results(out) as results:
        for prediction in predictions:
            results.add(prediction)


@pytest.mark.parametrize(("name", "separator"), [("x.tsv", "\t"), ("x.csv", ","), ("x.CSV", ",")])
def test_ending_chooses_the_separator(tmp_path, name, separator):
    write_results(PREDICTIONS, tmp_path / "deep" / name)
    table = pd.read_csv(tmp_path / "deep" / name, sep=separator)
    assert list(table) == ["scan", "score", "probability", "status", "reason"]
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
