import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import benchmarks.readers as readers
from benchmarks.bold_files import make_run, with_mask
from benchmarks.opening import SECOND
from benchmarks.readers import TORCHIO, absent_readers, whole_run_readers, window_readers
from benchmarks.reading import Reading
from fmnet.bold.decoded import DecodedBold
from fmnet.data.store import ArrayStore

SHAPE = (9, 11, 10)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run.nii.gz", SHAPE, 6, 0)


def test_made_run_is_a_brain_in_a_void(run):
    image = nib.load(run.path)
    data = np.asarray(image.dataobj)
    assert data.dtype == np.int16
    assert data.shape == (*SHAPE, 6)
    assert 0.1 < (data != 0).mean() < 0.5
    assert float(image.header["pixdim"][4]) == 2.0
    inside = nib.load(run.mask).get_fdata() > 0
    assert (data[inside].std(axis=1) > 0).all()


def test_runs_differ_by_seed_only(tmp_path, run):
    same = make_run(tmp_path / "same.nii.gz", SHAPE, 6, 0)
    other = make_run(tmp_path / "other.nii.gz", SHAPE, 6, 1)
    data = [np.asarray(nib.load(one.path).dataobj) for one in (run, same, other)]
    np.testing.assert_array_equal(data[0], data[1])
    assert not np.array_equal(data[0], data[2])


def test_all_ways_to_read_agree(tmp_path, run):
    stored = ArrayStore(tmp_path / "store", DecodedBold()).add(run)
    (window,) = window_readers(run, 2, 3).values()
    np.testing.assert_array_equal(window(), stored.read_window(2, 3))
    found = whole_run_readers(run)
    inside = nib.load(run.mask).get_fdata() > 0
    whole = stored.read_window(0, 6)
    np.testing.assert_allclose(np.asarray(found[readers.MONAI]())[inside].T, whole)
    np.testing.assert_allclose(found["nilearn NiftiMasker"](), whole)


def test_names_what_is_not_installed(run, monkeypatch):
    monkeypatch.setattr(readers, "torchio", None)
    assert TORCHIO not in whole_run_readers(run)
    (line,) = absent_readers()
    assert line == "torchio ScalarImage: not installed (pip install torchio)"


def test_mask_of_a_file_given_is_what_is_bright(tmp_path, run):
    again = with_mask(run.path, tmp_path / "again.nii.gz")
    first = np.asarray(nib.load(run.path).dataobj)[..., 0]
    np.testing.assert_array_equal(nib.load(again.mask).get_fdata() > 0, first > first.mean())


@pytest.mark.slow
def test_suite_answers_with_tables_and_goals(tmp_path, measure_here):
    measure_here("benchmarks.opening")
    suite = Reading(
        shape=SHAPE,
        n_volumes=[6, 12],
        n_window=4,
        n_runs=3,
        n_run_volumes=5,
        run_shape=(8, 9, 7),
        growth_volumes=2,
        growth_runs=1,
        n_rounds=1,
    )
    lines = suite.run(tmp_path)
    assert sum("wanted" in line for line in lines) == 9
    names = {"reading_one_run", "reading_a_window", "opening_a_study", "growth_of_cost"}
    assert {path.stem for path in tmp_path.glob("*.tsv")} == names
    opened = pd.read_csv(tmp_path / "opening_a_study.tsv", sep="\t")
    assert len(opened) == 7
    assert len(json.loads((tmp_path / "results.json").read_text())["goals"]) == 9


def test_suite_reads_files_given(tmp_path, run, monkeypatch):
    # made-up runs are for these two, whatever files are given
    grown = [{"what": "start", "exponent": 1.0}]
    opened = [{"rival": SECOND, "seconds": 0.1}]
    monkeypatch.setattr(Reading, "_grow", lambda *_: pd.DataFrame(grown))
    monkeypatch.setattr(Reading, "_open_study", lambda *_: pd.DataFrame(opened))
    suite = Reading((8, 9, 7), [2], 2, 2, 3, (8, 9, 7), 2, 1, 1, files=[str(run.path)] * 2)
    suite.run(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "reading_one_run.tsv", sep="\t")
    assert set(table["file"]) == {str(run.path)}
