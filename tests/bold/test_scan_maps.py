import json

import numpy as np
import pandas as pd
import pytest
from run_tree import CONFOUNDS

from fmnet.bold import scan_maps
from fmnet.bold.acquired import AcquiredBold
from fmnet.bold.bold_cohort import read_bold
from fmnet.bold.cleaned import CleanedBold
from fmnet.bold.maps import compute_maps, parse_maps
from fmnet.bold.settings import CleaningSettings
from fmnet.data.store import ArrayStore
from fmnet.errors import VolumeError

MOTION = CleaningSettings("motion6", 0.01, 0.1, None, 20)
PAIN = ("contrast:pain=pain - warm",)


@pytest.fixture
def store_all(tmp_path, coarse_grid):
    """Store the scans of a tree, some of them."""

    def store(root, n=None, maps=("alff",), cleaning=MOTION, n_jobs=1, folder="store"):
        listing = read_bold(root, cleaning=cleaning, maps=maps)
        built = ArrayStore(tmp_path / folder, listing.recipe(coarse_grid, 0.5))
        return list(built.add_all(listing.scans[:n], n_jobs))

    return store


@pytest.fixture
def no_work(monkeypatch):
    """Refuse to clean runs and to compute maps."""

    def stop():
        def fail(*_):
            raise AssertionError("computed again")

        monkeypatch.setattr("fmnet.bold.cleaned.clean_values", fail)
        monkeypatch.setattr(scan_maps, "compute_maps", fail)

    return stop


def rewrite_events(root, change):
    for path in root.rglob("*_events.tsv"):
        table = pd.read_csv(path, sep="\t")
        change(table).to_csv(path, sep="\t", index=False)


def test_maps_are_those_of_the_runs(rest_people, tmp_path, coarse_grid, store_all):
    (stored,) = store_all(rest_people, 1, ("temporal_sd", "reho"))
    listing = read_bold(rest_people, cleaning=MOTION)
    runs = listing.recipe(coarse_grid, 0.5).runs[listing.scans[0].scan_id]
    series = ArrayStore(tmp_path / "other", CleanedBold(coarse_grid, MOTION))
    acquired = ArrayStore(tmp_path / "other", AcquiredBold(series.recipe))
    sources = [acquired.add(run) for run in runs]
    expected = compute_maps(sources, parse_maps(["temporal_sd", "reho"]))
    np.testing.assert_array_equal(stored.values(), expected)
    assert stored.values().shape == (2, coarse_grid.n_voxels)
    assert (stored.series.lengths, stored.series.t_r) == ((58,), 2.0)
    np.testing.assert_array_equal(stored.series.values(), series.add(runs[0]).values())


def test_second_opening_computes_nothing(rest_people, store_all, no_work):
    first = store_all(rest_people, 3, n_jobs=2)
    no_work()
    for one, again in zip(first, store_all(rest_people, 3), strict=True):
        assert (one.path, one.facts, one.tsnr) == (again.path, again.facts, again.tsnr)
        assert one.values_sha256 == again.values_sha256
        assert one.series.paths == again.series.paths


@pytest.mark.parametrize("how", ["cut", "altered", "double"])
def test_damaged_maps_are_computed_again(rest_people, store_all, how):
    (stored,) = store_all(rest_people, 1)
    values = stored.values().copy()
    raw = stored.path.read_bytes()
    if how == "double":
        np.save(stored.path, values.astype(np.float64))
    else:
        stored.path.write_bytes(raw[:-9] if how == "cut" else raw[:999] + b"\7" + raw[1000:])
    (again,) = store_all(rest_people, 1)
    np.testing.assert_array_equal(again.values(), values)


def test_other_maps_leave_the_series_as_they_are(rest_people, store_all, monkeypatch):
    (one,) = store_all(rest_people, 1, ("alff", "temporal_sd"))
    monkeypatch.setattr(CleanedBold, "_clean", lambda *_: 1 / 0)
    (other,) = store_all(rest_people, 1, ("temporal_sd", "alff"))
    assert one.path != other.path
    assert one.series.paths == other.series.paths
    np.testing.assert_array_equal(one.values()[::-1], other.values())


def test_other_cleaning_is_done_anew(rest_people, store_all):
    (one,) = store_all(rest_people, 1)
    (other,) = store_all(rest_people, 1, cleaning=CleaningSettings("none", 0.01, 0.1, None, 20))
    assert one.series.paths != other.series.paths
    assert not np.allclose(one.values(), other.values(), rtol=1e-3, equal_nan=True)


def test_other_confounds_are_noticed(grow_tree, store_all):
    tree = grow_tree(a=1, b=2)
    one, other = store_all(tree.root)
    tree.other_confounds("a")
    again, same = store_all(tree.root)
    assert (other.path, other.series.paths) == (same.path, same.series.paths)
    assert one.series.paths != again.series.paths
    assert not np.allclose(one.values(), again.values(), rtol=1e-3, equal_nan=True)


def test_other_components_are_noticed(grow_tree, store_all):
    tree, cleaning = grow_tree(a=1, b=2), CleaningSettings("compcor", None, None, None, 20)
    (one,) = store_all(tree.root, 1, cleaning=cleaning)
    path = tree.file("a", CONFOUNDS.replace(".tsv", ".json"))
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"a_comp_cor_00": {"Mask": "CSF"}}))
    (again,) = store_all(tree.root, 1, cleaning=cleaning)
    assert not np.allclose(one.values(), again.values(), rtol=1e-3, equal_nan=True)


def test_other_events_are_noticed_by_maps_that_need_them(grow_tree, pain_people, store_all):
    tree = grow_tree()
    tree.plant(pain_people / "sub-synthetic001" / "func", "sub-a")
    tree.root.joinpath("participants.tsv").write_text("participant_id\tgroup\nsub-a\tFM\n")
    before = [*store_all(tree.root, maps=PAIN), *store_all(tree.root)]
    rewrite_events(tree.root, lambda table: table.assign(onset=table["onset"] + 4))
    after = [*store_all(tree.root, maps=PAIN), *store_all(tree.root)]
    assert before[0].source_sha256 != after[0].source_sha256
    assert not np.allclose(before[0].values(), after[0].values(), rtol=1e-2, equal_nan=True)
    assert before[1].path == after[1].path
    assert before[0].series.paths == after[0].series.paths


def test_other_start_of_the_first_volume_is_noticed(grow_tree, pain_people, store_all):
    tree = grow_tree()
    tree.plant(pain_people / "sub-synthetic001" / "func", "sub-a")
    tree.root.joinpath("participants.tsv").write_text("participant_id\tgroup\nsub-a\tFM\n")
    (one,) = store_all(tree.root, maps=PAIN)
    for path in tree.root.rglob("*_bold.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"StartTime": 1.0}))
    (other,) = store_all(tree.root, maps=PAIN)
    assert not np.allclose(one.values(), other.values(), rtol=1e-2, equal_nan=True)


def test_runs_of_a_scan_go_together(pain_people, store_all, coarse_grid):
    (stored,) = store_all(pain_people, 1, (*PAIN, "temporal_sd"))
    assert stored.series.lengths == (58, 58)
    assert stored.series.n_volumes == 116
    assert stored.series.values().shape == (116, coarse_grid.n_voxels)
    assert stored.facts["n_volumes_kept"] == 116
    assert len(stored.source_sha256) == 8
    assert stored.values().shape == (2, coarse_grid.n_voxels)


def test_facts_are_those_of_all_volumes(grow_tree, store_all):
    tree = grow_tree(a={"run-1": 1, "run-2": 2}, b=1, c=2)
    scrubbing = CleaningSettings("motion6", 0.01, 0.1, 0.3, 20)
    both, first, second = store_all(tree.root, maps=("temporal_sd",), cleaning=scrubbing)
    assert set(both.facts) == {"mean_framewise_displacement", "share_scrubbed", "n_volumes_kept"}
    for name in ("mean_framewise_displacement", "share_scrubbed"):
        expected = (first.facts[name] + second.facts[name]) / 2
        assert both.facts[name] == pytest.approx(expected)
    kept = first.facts["n_volumes_kept"] + second.facts["n_volumes_kept"]
    assert both.facts["n_volumes_kept"] == kept == both.series.n_volumes
    assert 0 < both.facts["share_scrubbed"] < 0.3
    assert both.mean_fd_mm == (*first.mean_fd_mm, *second.mean_fd_mm)


def test_every_fault_of_every_run_is_named_once(grow_tree, store_all):
    tree = grow_tree(a={"run-1": 1, "run-2": 2}, b=3)
    for path in (tree.root / "sub-a").rglob(f"*{CONFOUNDS}"):
        path.write_text("trans_x\n0\n")
    failed, good = store_all(tree.root)
    assert isinstance(failed, VolumeError)
    assert not isinstance(good, VolumeError)
    for run in ("run-1", "run-2"):
        (where,) = {fault.where for fault in failed.faults if run in fault.where}
        assert where.count(f"sub-a_task-rest_{run}") == 1


def test_runs_of_several_repetition_times_make_no_scan(grow_tree, store_all):
    tree = grow_tree(a={"run-1": 1, "run-2": 2}, b={"run-1": 3, "run-2": 4})
    tree.state_t_r("a", 2.1, "run-2")
    tree.state_t_r("b", 2.004, "run-2")
    failed, good = store_all(tree.root)
    assert isinstance(failed, VolumeError)
    assert "found runs with repetition times of 2 s, 2.1 s; accepted: one" in str(failed)
    assert good.series.lengths == (58, 58)
