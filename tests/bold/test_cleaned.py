import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import fmnet.bold.cleaned as cleaned_module
import fmnet.data.store as store_module
from fmnet.bold.acquired import AcquiredBold
from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.cleaned import CleanedBold, CleanedRun
from fmnet.bold.cleaning import clean_values
from fmnet.bold.confounds import read_nuisance
from fmnet.bold.decoded import DecodedBold
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume, write_series, write_volume
from fmnet.data.store import ArrayStore
from fmnet.errors import StoreError, VolumeError

PLAIN = CleaningSettings("motion6")


@pytest.fixture
def run(write_run):
    return write_run()


@pytest.fixture
def series(tmp_path, grid):
    return ArrayStore(tmp_path / "store", CleanedBold(grid, PLAIN))


def other(store, **changes):
    """Change settings of a store's recipe."""
    return replace(store, recipe=replace(store.recipe, **changes))


def acquired(store):
    """Open runs as acquired instead of cleaned."""
    return ArrayStore(store.folder, AcquiredBold(store.recipe))


@pytest.fixture
def settled(monkeypatch):
    """Let files just written count as left alone."""
    monkeypatch.setattr(store_module, "SETTLING_NS", -(10**12))


@pytest.fixture
def work(monkeypatch):
    """Count what is decoded and what is cleaned."""
    counts = {"decoded": 0, "cleaned": 0}
    decode, clean = DecodedBold._decode, cleaned_module.clean_values

    def counting_decode(self, run, entry):
        counts["decoded"] += 1
        return decode(self, run, entry)

    def counting_clean(*arguments):
        counts["cleaned"] += 1
        return clean(*arguments)

    monkeypatch.setattr(DecodedBold, "_decode", counting_decode)
    monkeypatch.setattr(cleaned_module, "clean_values", counting_clean)
    return counts


def change_table(run, change):
    table = change(pd.read_csv(run.confounds, sep="\t"))
    table.to_csv(run.confounds, sep="\t", index=False, na_rep="n/a")


# what is stored ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fd_threshold", [None, 0.5])
def test_stores_cleaned_values(run, series, tmp_path, grid, fd_threshold):
    settings = replace(PLAIN, fd_threshold=fd_threshold)
    cleaned = other(series, cleaning=settings).add(run)
    stored = ArrayStore(tmp_path / "other", DecodedBold(grid)).add(run.bold)
    nuisance = read_nuisance(run, 90, settings)
    expected = clean_values(stored, nuisance, settings)
    values = cleaned.values()
    assert values.dtype == np.float32
    assert values.shape == (86 if fd_threshold else 88, grid.n_voxels)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(cleaned.kept, nuisance.kept)
    assert 0.1 < np.nanstd(values) < 5
    assert 0.5 < np.isfinite(values[0]).mean() < 1


def test_facts_are_those_of_the_run(run, series):
    facts = series.add(run).facts
    source = acquired(series).add(run)
    stored, nuisance = source.stored, source.nuisance
    values = stored.read_window(2, 88).astype(np.float64)
    known = np.isfinite(values[0])
    ratio = values[:, known].mean(axis=0) / values[:, known].std(axis=0)
    np.testing.assert_allclose(facts.tsnr, np.percentile(ratio, (10, 50, 90)), rtol=1e-4)
    assert (facts.t_r, facts.n_acquired, facts.n_non_steady, facts.n_scrubbed) == (2.0, 90, 2, 0)
    assert facts.mean_fd_mm == pytest.approx(nuisance.mean_fd_mm)
    assert facts.max_fd_mm == 0.6
    assert facts.coverage == known.mean()
    assert facts.file_grid == "8x9x10 of 19x18x18.5 mm, RAS, int16"
    assert facts.source_sha256 == stored.facts.source_sha256
    assert facts.mask_sha256 == stored.facts.mask_sha256
    assert facts.confounds_sha256 == nuisance.sha256


def test_run_without_confounds(run, series):
    bare = replace(run, confounds=None)
    cleaned = other(series, cleaning=CleaningSettings("none")).add(bare)
    facts = cleaned.facts
    assert (facts.mean_fd_mm, facts.max_fd_mm, facts.confounds_sha256) == (None, None, "")
    np.testing.assert_array_equal(cleaned.kept, np.arange(90))


def test_opens_the_run_as_acquired(run, series, work, settled):
    series.add(run)
    source = acquired(series).add(run)
    stored, nuisance = source.stored, source.nuisance
    assert work["decoded"] == 1
    assert stored.n_volumes == 90
    assert len(nuisance.names) == 6
    np.testing.assert_array_equal(clean_values(stored, nuisance, PLAIN), series.add(run).values())


def test_open_decodes_what_is_not_stored_yet(run, series, work, settled):
    acquired(series).add(run)
    acquired(series).add(run)
    series.add(run)
    assert work == {"decoded": 1, "cleaned": 1}


# again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["none", "motion6", "compcor"])
def test_unchanged_run_is_not_read_again(run, series, work, settled, monkeypatch, strategy):
    store = other(series, cleaning=CleaningSettings(strategy))
    first = store.add(run)
    for name in ("check_preprocessed", "hash_file"):
        monkeypatch.delattr(cleaned_module, name)
    (second,) = store.add_all([run])
    assert work == {"decoded": 1, "cleaned": 1}
    assert (second.path, second.facts) == (first.path, first.facts)
    np.testing.assert_array_equal(second.kept, first.kept)
    np.testing.assert_array_equal(second.values(), first.values())


def test_run_that_may_have_changed_is_hashed_only(run, series, work):
    series.add(run)
    os.utime(run.bold.path)
    os.utime(run.confounds)
    series.add(run)
    assert work == {"decoded": 1, "cleaned": 1}


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("how", ["missing", "cut", "empty"])
@pytest.mark.parametrize("is_known", [True, False])
def test_damaged_file_is_made_again(run, series, work, settled, suffix, how, is_known):
    first = series.add(run)
    path = first.path.with_suffix(suffix)
    raw = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(raw[:-9] if how == "cut" else b"")
    if not is_known:
        (series.folder / store_module.INDEX_NAME).unlink()
    series.add(run)
    assert work == {"decoded": 1 if is_known else 2, "cleaned": 2}
    assert path.read_bytes() == raw


@pytest.mark.parametrize("is_known", [True, False])
def test_altered_values_are_made_again(run, series, settled, is_known):
    path = series.add(run).path
    raw = path.read_bytes()
    path.write_bytes(raw[:-4] + b"\1\2\3\4")
    os.utime(path, (1e9, 1e9))
    if not is_known:
        (series.folder / store_module.INDEX_NAME).unlink()
    series.add(run)
    assert path.read_bytes() == raw


def test_altered_facts_are_made_again(run, series, settled):
    sidecar = series.add(run).path.with_suffix(".json")
    raw = sidecar.read_text()
    sidecar.write_text(raw.replace('"n_acquired": 90', '"n_acquired": 91'))
    assert series.add(run).facts.n_acquired == 90
    assert sidecar.read_text() == raw


def test_other_content_or_settings_are_another_run(run, series, grid, settled):
    paths = [series.add(run).path]
    others = [
        replace(PLAIN, strategy="motion24"),
        replace(PLAIN, strategy="compcor"),
        replace(PLAIN, high_hz=0.12),
        replace(PLAIN, low_hz=None),
        replace(PLAIN, fd_threshold=0.5),
    ]
    paths += [other(series, cleaning=settings).add(run).path for settings in others]
    mask = grid.mask.copy()
    mask[3, 3, 3] = False
    paths.append(other(series, grid=Grid(mask, grid.affine, grid.space)).add(run).path)
    paths.append(series.add(replace(run, bold=replace(run.bold, t_r=2.01))).path)
    paths.append(series.add(replace(run, bold=replace(run.bold, mask=None))).path)
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("what", ["bold", "mask", "confounds", "json"])
def test_changed_file_is_noticed(run, series, bold_data, settled, what):
    store = other(series, cleaning=CleaningSettings("compcor"))
    first = store.add(run)
    if what == "bold":
        write_series(bold_data(), read_volume(run.bold.mask, "MNI152").affine, 2.0, run.bold.path)
    elif what == "mask":
        mask = read_volume(run.bold.mask, "MNI152")
        data = mask.data.copy()
        data[0, 4, 4, 4] = 0
        write_volume(replace(mask, data=data), run.bold.mask)
    elif what == "confounds":
        change_table(run, lambda table: table.assign(rot_x=table["rot_y"]))
    else:
        path = run.confounds.with_suffix(".json")
        path.write_text(path.read_text().replace("combined", "WM", 1))
    second = store.add(run)
    assert second.path != first.path
    assert second.facts != first.facts or what == "json"


def test_same_content_elsewhere_is_the_same_file(run, series, tmp_path):
    first = series.add(run)
    folder = run.confounds.parent.rename(tmp_path / "moved")
    bold = replace(run.bold, path=folder / run.bold.path.name, mask=folder / run.bold.mask.name)
    moved = replace(run, bold=bold, confounds=folder / run.confounds.name)
    assert series.add(moved).path == first.path


# many --------------------------------------------------------------------------------------------


def test_one_bad_run_does_not_stop_the_others(write_run, series):
    runs = [write_run(f"sub-0{number}") for number in range(3)]
    runs[1].confounds.unlink()
    outcomes = list(series.add_all(runs))
    assert [type(outcome) for outcome in outcomes] == [CleanedRun, VolumeError, CleanedRun]
    assert outcomes[0].path != outcomes[2].path


def test_jobs_change_nothing(write_run, tmp_path, grid):
    runs = [write_run(f"sub-0{number}") for number in range(4)]
    alone = list(ArrayStore(tmp_path / "one", CleanedBold(grid, PLAIN)).add_all(runs))
    together = list(ArrayStore(tmp_path / "two", CleanedBold(grid, PLAIN)).add_all(runs, n_jobs=3))
    for one, two in zip(alone, together, strict=True):
        assert one.path.name == two.path.name
        assert one.path.read_bytes() == two.path.read_bytes()
        assert one.facts == two.facts


# refused -----------------------------------------------------------------------------------------


def test_says_everything_that_is_wrong_with_a_run(run, series):
    wide = read_volume(run.bold.mask, "MNI152")
    write_volume(replace(wide, affine=wide.affine * [[2], [1], [1], [1]]), run.bold.mask)
    change_table(run, lambda table: table[:80].drop(columns="rot_x"))
    with pytest.raises(VolumeError) as caught:
        series.add(replace(run, bold=replace(run.bold, t_r=3.0)))
    found = [fault.found for fault in caught.value.faults]
    expected = [
        "a repetition time of 2 s in the header where 3 s is given",
        "a mask of 8x9x10 voxels",
        "80 rows where the run has 90 volumes",
        "no column 'rot_x'",
    ]
    assert len(found) == len(expected)
    for one, start in zip(found, expected, strict=True):
        assert one.startswith(start)
    assert not series.folder.exists()


def test_image_that_is_none_says_so(run, series):
    run.bold.path.write_bytes(b"nothing")
    run.bold.mask.unlink()
    with pytest.raises(VolumeError, match=r"2 faults(.|\n)*brain_mask(.|\n)*preproc_bold"):
        series.add(run)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (replace(PLAIN, high_hz=0.3), "an upper limit of 0.3 Hz where volumes are 2 s apart"),
        (replace(PLAIN, high_hz=0.02), "6 regressors where 88 volumes leave 3 degrees of freedom"),
    ],
)
def test_band_is_checked_before_the_run_is_decoded(run, series, work, settings, found):
    with pytest.raises(VolumeError, match=found) as caught:
        other(series, cleaning=settings).add(run)
    assert caught.value.faults[0].where == str(run.bold.path)
    assert work["decoded"] == 0


def test_refuses_run_that_is_cleaned_already(write_run, series, bold_data):
    data = bold_data().astype(np.float32)
    data[..., :2] = data[..., 2:3]  # no volumes before the steady state
    data -= data.mean(axis=-1, keepdims=True)
    with pytest.raises(VolumeError, match=r"found values in 0% of the mask.*not cleaned yet"):
        series.add(write_run("sub-02", data=data))


def test_coverage_is_checked_of_stored_runs_too(run, series):
    share = series.add(run).facts.coverage
    with pytest.raises(VolumeError, match="of the mask; accepted: at least 99%"):
        other(series, min_coverage=0.99).add(run)
    assert other(series, min_coverage=share).add(run).facts.coverage == share


def test_full_disk_is_said(run, series, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="store_dir"):
        replace(series, folder=blocked / "store").add(run)


def test_sidecar_is_plain_json(run, series):
    content = json.loads(series.add(run).path.with_suffix(".json").read_text())
    assert content["facts"]["kept"] == list(range(2, 90))
    assert content["facts"]["run"]["t_r"] == 2.0


def test_real_run(tmp_path, real_data, grid):
    path = next((real_data / "bold/haxby_sub001").rglob("bold_25mm.nii.gz"))
    run = PreprocessedRun(BoldRun("a", "a", path, "MNI152"), "objects")
    store = ArrayStore(tmp_path / "store", CleanedBold(grid, CleaningSettings("none"), 0.1))
    cleaned = store.add(run)
    values = cleaned.values()
    assert values.shape == (121, grid.n_voxels)
    assert 0.05 < np.nanmedian(values.std(axis=0)) < 5
    assert 10 < cleaned.facts.tsnr[1] < 1000
