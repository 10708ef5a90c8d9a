"""What an earlier call wrote, and somebody altered, is told or left out, and never believed."""

import json
import os
from dataclasses import asdict

import pytest

from fmnet.errors import Fault, OutputError, VolumeError
from fmnet.inference.bids_app import read_result
from fmnet.inference.predict import NewScan, Prediction
from fmnet.inference.quality import Reading
from fmnet.inference.results import full_record, prediction_of
from fmnet.inference.table_results import Unfinished, identify

SCAN = NewScan("sub-01", (), "MNI152")
FAULT = Fault("sub-01", "9", "1 to 2", "look at it")
READING = Reading("scale of pain", 9.0, 1.0, 2.0, "", 0.01, FAULT)
PREDICTION = Prediction("sub-01", 0.5, 0.6, "forced", "why", {}, (0.4, 0.7), ("FM",), (READING,))
ASKED = {"fmnet": "1", "signature": "a", "request": {"level": 0.8}}
ABOUT = {"fmnet": "1", "signature": {"sha256": "a"}, "request": {"level": 0.8}}
ALTERED = [
    {"scan": 3}, {"status": "good"}, {"status": []}, {"score": "0.5"}, {"score": float("nan")},
    {"probability": [1]}, {"probability_low": {}}, {"reason": None}, {"groups": 3},
    {"groups": [None]}, {"readings": None}, {"readings": ["a"]},
    {"readings": [asdict(READING) | {"value": "9"}]},
    {"readings": [asdict(READING) | {"gate": 3.0}]},
    {"readings": [asdict(READING) | {"more": 1}]},
    {"readings": [asdict(READING) | {"fault": {"where": "a"}}]},
    {"readings": [asdict(READING) | {"fault": asdict(FAULT) | {"found": 1}}]},
]  # fmt: skip


def test_records_are_read_back():
    assert prediction_of(json.loads(json.dumps(full_record(PREDICTION)))) == PREDICTION


@pytest.mark.parametrize("altered", ALTERED)
def test_altered_records_are_none(altered, tmp_path):
    record = full_record(PREDICTION) | altered
    with pytest.raises(ValueError, match=r"no prediction|that are none|another|other values"):
        prediction_of(record)
    path = tmp_path / "sub-01_fmnet.json"
    path.write_text(json.dumps(ABOUT | {"predictions": [record]}))
    with pytest.raises(VolumeError, match="no result of fmnet-predict"):
        read_result(path, ())


@pytest.mark.parametrize(
    "line",
    [b"[]", b"3", b"{}", b'{"prediction": 3}', b'{"scan": [], "prediction": {"status": "ok"}}',
     b'{"a":' * 5000, b"\xff", *(json.dumps(one).encode() for one in ALTERED)],
)  # fmt: skip
def test_altered_lines_of_an_unfinished_table_are_left_out(line, tmp_path):
    hidden = tmp_path / ".a.tsv.unfinished"
    good = {"scan": identify(SCAN), "prediction": full_record(PREDICTION)}
    hidden.write_bytes(b"\n".join([json.dumps(ASKED).encode(), line]))
    unfinished = Unfinished(tmp_path / "a.tsv", ASKED, True)
    assert unfinished.known(SCAN, ()) is None
    unfinished.close(True)
    if line != b"\xff":  # which makes no text of the whole
        hidden.write_bytes(
            b"\n".join([json.dumps(ASKED).encode(), line, json.dumps(good).encode()])
        )
        unfinished = Unfinished(tmp_path / "a.tsv", ASKED, True)
        assert unfinished.known(SCAN, ()) == PREDICTION
        unfinished.close(True)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_not_gone_on_from(make, tmp_path):
    make(tmp_path / ".a.tsv.unfinished")
    with pytest.raises(OutputError, match=r"no regular file under the name \.a\.tsv\.unfinished"):
        Unfinished(tmp_path / "a.tsv", ASKED, True)
