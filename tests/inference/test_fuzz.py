"""Bytes set at random: whatever comes, predict answers with a prediction or one of its errors."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.corpus.craft import nifti, pack_gzip
from fmnet.errors import BundleError
from fmnet.inference.bundle import read_bundle
from fmnet.inference.find import find_new_scans
from fmnet.inference.predict import NewScan, predict_scan

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "format_1"
AFFINE = np.array([[12.0, 0, 0, -70], [0, 12, 0, -106], [0, 0, 12, -72], [0, 0, 0, 1]])
BYTES = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 255]))
#: Places in a file and what is put there.
EDITS = st.lists(st.tuples(st.integers(0, 600), BYTES), min_size=1, max_size=6)
ANYWHERE = st.lists(st.tuples(st.integers(0, 40_000), BYTES), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def shipped():
    return read_bundle(BUNDLE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def _map():
    shape = (12, 15, 13)
    x, y, z = (np.linspace(-1, 1, n) for n in shape)
    inside = x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None] ** 2 < 1
    return np.where(inside, np.random.default_rng(0).normal(size=shape), 0).astype(np.float32)


def _edited(content, edits):
    altered = bytearray(content)
    for where, value in edits:
        altered[where % len(altered)] = value
    return bytes(altered)


def _check(prediction):
    assert prediction.status in {"ok", "cannot_say", "error"}
    if prediction.status == "ok":
        assert np.isfinite([prediction.score, prediction.probability]).all()
    else:
        assert "accepted:" in prediction.reason


@pytest.mark.parametrize("version", [1, 2])
@settings(max_examples=40)
@given(edits=EDITS)
@example(edits=[(70, 0), (71, 0)])
@example(edits=[(76, 0), (77, 0), (78, 0), (79, 0)])
def test_any_header_is_answered(shipped, place, version, edits):
    path = place / "sub-01_contrast-pressure_stat-z_statmap.nii"
    path.write_bytes(_edited(nifti(_map(), AFFINE, version=version), edits))
    _check(predict_scan(shipped, NewScan("a", (path,))))


@settings(max_examples=40)
@given(edits=ANYWHERE, cut=st.integers(0, 200))
def test_any_compressed_file_is_answered(shipped, place, edits, cut):
    path = place / "map.nii.gz"
    packed = pack_gzip(nifti(_map(), AFFINE))
    path.write_bytes(_edited(packed, edits)[: len(packed) - cut])
    _check(predict_scan(shipped, NewScan("a", (path,))))


@settings(max_examples=40)
@given(edits=EDITS, ending=st.sampled_from([".tsv", ".csv"]))
def test_any_table_is_answered(shipped, place, edits, ending):
    good = place / "good.nii"
    good.write_bytes(nifti(_map(), AFFINE))
    separator = "," if ending == ".csv" else "\t"
    rows = ["participant_id,contrast,path", *(f"sub-{n:02d},pressure,good.nii" for n in range(9))]
    table = place / f"table{ending}"
    table.write_bytes(_edited("\n".join(rows).replace(",", separator).encode(), edits))
    scans, errors = find_new_scans(str(table), shipped)
    for scan in scans[:2]:
        _check(predict_scan(shipped, scan))
    for error in errors:
        _check(error)


@pytest.mark.parametrize(
    "name",
    ["metadata.json", "calibration.json", "reference.json", "preparation.json", "SHA256SUMS"],
)
@settings(max_examples=15)
@given(edits=st.lists(st.tuples(st.integers(0, 20_000), BYTES), min_size=1, max_size=4))
def test_any_bundle_is_read_or_refused(place, name, edits):
    folder = place / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BUNDLE, folder)
    path = folder / name
    path.write_bytes(_edited(path.read_bytes(), edits))
    if name != "SHA256SUMS":
        files = sorted(file for file in folder.iterdir() if file.name != "SHA256SUMS")
        sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
        (folder / "SHA256SUMS").write_text("".join(sums))
    try:
        bundle = read_bundle(folder)
    except BundleError as error:
        said = str(error)
    else:
        said = json.dumps(bundle.metadata)
    assert said
