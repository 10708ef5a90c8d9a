import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.haxby import DECODER, LDA, SVM, Entrant, Haxby, shuffle_within_runs, summarise
from benchmarks.haxby_runs import list_runs, make_run_maps, read_motion
from fmnet.errors import BenchmarkError
from fmnet.networks.closed_form import build_scale_space

IMAGE, MASK = "bold_25mm.nii.gz", "haxby2001/sub001/masks/25mm/brain.nii.gz"


@pytest.fixture(scope="module")
def data(real_data):
    return real_data / "bold" / "haxby_sub001"


@pytest.fixture(scope="module")
def maps(data, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    return make_run_maps(data, IMAGE, MASK, ("face", "house"), store)


def test_each_run_has_a_map_of_each_condition(maps):
    assert maps.values.shape == (24, 1, 129)
    assert np.isfinite(maps.values).all()
    cohort = maps.cohort
    assert cohort.labels.tolist() == [1, 0] * 12
    assert len(set(cohort.participant_ids)) == len(maps.runs) == 12
    assert cohort.scans[3].scan_id == "run-02_house"
    assert set(maps.runs["t_r"]) == {2.5}
    assert (maps.runs["coverage"] == 1).all()


def test_nothing_claims_to_be_in_a_template(maps):
    assert maps.cohort.grid.space == "own"
    assert maps.cohort.grid.affine[0, 0] == 25  # stored from right to left


def test_conditions_are_more_alike_across_runs_than_others(maps):
    """Real signal: maps of one condition correlate over runs, beyond those of two conditions."""
    values = maps.values[:, 0] - maps.values[:, 0].mean(axis=0)
    r = np.corrcoef(values)
    same_run = np.kron(np.eye(12), np.ones((2, 2))).astype(bool)
    same = np.equal.outer(maps.cohort.labels, maps.cohort.labels) & ~same_run
    assert r[same].mean() > r[~same & ~same_run].mean()


def test_motion_is_read_with_its_units(data, tmp_path):
    run = list_runs(data, IMAGE, MASK)[0]
    nuisance = read_motion(run, 121)
    assert nuisance.regressors.shape == (121, 6)
    assert np.isnan(nuisance.framewise_displacement_mm[0])
    moved = np.abs(np.diff(nuisance.regressors, axis=0))
    expected = (50 * moved[:, :3]).sum(axis=1).mean() + moved[:, 3:].sum(axis=1).mean()
    assert nuisance.mean_fd_mm == pytest.approx(expected)
    with pytest.raises(BenchmarkError, match=r"shape \(121, 6\); accepted: .*\(120, 6\)"):
        read_motion(run, 120)


def test_no_data_is_said(tmp_path):
    with pytest.raises(BenchmarkError, match=r"found no run; .*suite\.data=FOLDER"):
        list_runs(tmp_path, IMAGE, MASK)


def test_shuffling_stays_within_runs(maps):
    shuffled = shuffle_within_runs(maps.values, np.random.default_rng(0))
    swapped = 0
    for start in range(0, 24, 2):
        own, other = maps.values[start : start + 2], shuffled[start : start + 2]
        same = np.array_equal(own, other)
        assert same or np.array_equal(own[::-1], other)
        swapped += not same
    assert 0 < swapped < 12


def test_intervals_of_perfect_models_are_no_points():
    rows = [
        {"participant_id": f"run-{run}", "scan_id": f"{run}-{label}", "repeat": 0, "fold": run,
         "model": "all_right", "label": label, "score": 2 * label - 1.0, "probability": 0.5}
        for run in range(12)
        for label in (0, 1)
    ]  # fmt: skip
    (row,) = summarise(pd.DataFrame(rows), 0).to_dict("records")
    assert row["auc"] == 1
    assert row["auc_low"] < 0.8


@pytest.mark.slow
def test_suite_answers_with_models_and_runs(data, tmp_path):
    build = partial(build_scale_space, voxel_size_mm=25.0, bands_mm=((0.0, 75.0),))
    networks = {"scale_space": Entrant(build)}
    lines = Haxby(data, networks, n_shuffles=2).run(tmp_path)
    assert sum("wanted" in line for line in lines) == 1
    models = pd.read_csv(tmp_path / "models.tsv", sep="\t").set_index("model")
    assert list(models.index) == ["scale_space", SVM, LDA, DECODER]
    assert models.loc["scale_space", "auc"] > 0.7
    runs = pd.read_csv(tmp_path / "runs.tsv", sep="\t")
    won = (runs["scale_space"] > 0).mean()
    assert won == pytest.approx(models.loc["scale_space", "auc"])
    predictions = pd.read_csv(tmp_path / "predictions.tsv", sep="\t")
    assert (predictions.groupby("model").size() == 24).all()
    assert (predictions.groupby("fold")["participant_id"].nunique() == 1).all()
    kept = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert kept["settings"]["space"] == "the person's own"
    assert kept["tables"]["shuffled"][0]["shuffles"] == 2
