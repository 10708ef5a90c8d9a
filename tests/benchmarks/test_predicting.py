import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import predicting
from benchmarks.new_maps import native_grid, write_new_scans
from benchmarks.predicting import (
    ALONE,
    FMNET,
    FORCED,
    OWN,
    REFERENCE,
    Predicting,
    cold_rivals,
    many_rivals,
)
from fmnet.data.nifti import read_volume
from fmnet.errors import BenchmarkError
from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import NewScan, predict_scan

BUNDLE = Path(__file__).resolve().parents[2] / "checkpoints" / "synthetic"


@pytest.fixture(scope="module")
def shipped():
    return read_bundle(BUNDLE)


def test_made_up_scans_are_accepted_on_both_grids(shipped, tmp_path):
    space = shipped.metadata["input"]["space"]
    for grid in (shipped.preparation.grid, native_grid(space)):
        one, other = write_new_scans(shipped, grid, tmp_path / str(grid.shape), 2, seed=3)
        first, second = (read_volume(scan.files[0], space) for scan in (one, other))
        assert first.data.shape == (1, *grid.shape)
        assert not np.array_equal(first.data, second.data)
        for scan in (one, other):
            assert predict_scan(shipped, scan, FORCED).status in {"ok", "forced"}


def test_made_up_scans_have_a_map_of_each_contrast(bundle, tmp_path):
    (scan,) = write_new_scans(bundle, bundle.preparation.grid, tmp_path, 1, seed=0)
    assert len(scan.files) == len(bundle.preparation.contrasts) == 2
    assert predict_scan(bundle, scan, FORCED).status in {"ok", "forced"}


def test_everyone_is_compared_with_the_reference(monkeypatch):
    scan = NewScan("map.nii.gz", (Path("map.nii.gz"),))
    names = list(cold_rivals(str(BUNDLE), scan))
    assert names[:2] == [REFERENCE, FMNET]
    monkeypatch.setattr(predicting, "find_spec", lambda _: None)
    assert set(names) - set(cold_rivals(str(BUNDLE), scan)) == {"score (torch, MONAI)"}


def test_scans_are_given_by_their_maps():
    commands = many_rivals("bundle", [["a.nii", "b.nii"], ["c.nii", "d.nii"]])
    assert list(commands) == [REFERENCE, OWN, FMNET, ALONE]
    assert commands[FMNET][-2:] == ["a.nii,b.nii", "c.nii,d.nii"]
    assert commands[OWN][-4:] == ["a.nii", "b.nii", "c.nii", "d.nii"]


def test_rival_that_fails_is_named(tmp_path):
    absent = tmp_path / "absent.nii.gz"
    rivals = cold_rivals(str(BUNDLE), NewScan(str(absent), (absent,)))
    with pytest.raises(BenchmarkError, match=r"scipy_resampling\.py .*: found .*No such file"):
        rivals["decode, resample (SciPy)"]()


@pytest.mark.slow
def test_torch_rival_scores(shipped, tmp_path):
    (scan,) = write_new_scans(shipped, shipped.preparation.grid, tmp_path, 1, seed=0)
    cold_rivals(str(BUNDLE), scan)["score (torch, MONAI)"]()


def once_for_each(work, key):
    """Run commands that differ by their key, and answer the same to those that don't."""
    known = {}

    def do(command):
        if key(command) not in known:
            known[key(command)] = work(command)
        return known[key(command)]

    return do


def but_for_names(command):
    return tuple("map" if word.endswith(".nii.gz") else word for word in command)


@pytest.mark.slow
def test_answers_in_tables_and_goals(tmp_path, monkeypatch):
    monkeypatch.setattr(predicting, "find_spec", lambda _: None)
    # rounds that warm up, and many maps of the other grid, would run 34 commands more
    monkeypatch.setattr(predicting, "_run", once_for_each(predicting._run, tuple))
    measure = once_for_each(predicting.measure_command, but_for_names)
    monkeypatch.setattr(predicting, "measure_command", measure)
    suite = Predicting(str(BUNDLE), n_rounds=1, n_scans=1, n_maps=[1, 3], n_turns=1)
    lines = suite.run(tmp_path)
    kept = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert list(kept["tables"]) == [
        "cold_start_own_grid", "warm_own_grid", "many_own_grid",
        "cold_start_2_mm_grid", "warm_2_mm_grid", "many_2_mm_grid",
    ]  # fmt: skip
    assert [row["scans"] for row in kept["tables"]["warm_own_grid"]] == [1, 4, 16]
    many = kept["tables"]["many_2_mm_grid"]
    assert [(row["maps"], row["rival"]) for row in many] == [
        (n, rival) for n in (1, 3) for rival in (REFERENCE, OWN, FMNET, ALONE)
    ]
    assert all(row["seconds_ratio"] > 0 and row["peak_mb_ratio"] > 0 for row in many)
    assert FMNET in {row["rival"] for row in kept["tables"]["cold_start_2_mm_grid"]}
    assert sum("wanted" in line for line in lines) == len(kept["goals"]) == 20
