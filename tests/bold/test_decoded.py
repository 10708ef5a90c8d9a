import io
import json
import os
import pickle
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bold_geometry import BOLD_AFFINE, BOLD_SHAPE
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fmnet.bold.decoded as decoded_module
import fmnet.data.resample as resample
from fmnet.bold.bold_file import BoldHeader, BoldRun, check_run
from fmnet.bold.decoded import STEPS, DecodedBold, RunValues, open_runs
from fmnet.data.files import open_draft
from fmnet.data.grid import Grid
from fmnet.data.resample import Lookup, place_on_grid
from fmnet.data.store import INDEX_NAME, ArrayStore
from fmnet.data.volume import Volume
from fmnet.errors import CohortError, StoreError, VolumeError


@pytest.fixture
def run(tmp_path, write_bold, write_mask):
    path = write_bold(tmp_path / "bold.nii.gz", n_volumes=9)
    return BoldRun("run-1", "sub-01", path, "MNI152", write_mask(tmp_path / "mask.nii.gz"))


@pytest.fixture
def own(tmp_path):
    return ArrayStore(tmp_path / "store", DecodedBold())


@pytest.fixture
def on_grid(tmp_path, grid):
    return ArrayStore(tmp_path / "store", DecodedBold(grid, min_coverage=0.1))


@pytest.fixture
def settled(monkeypatch):
    monkeypatch.setattr("fmnet.data.store.SETTLING_NS", -(10**12))


@pytest.fixture
def decoded(monkeypatch):
    """Names of the runs that were decoded, in order."""
    names = []
    check_run = decoded_module.check_run

    def check(run, needs_mask):
        names.append(run.run_id)
        return check_run(run, needs_mask)

    monkeypatch.setattr(decoded_module, "check_run", check)
    return names


def ras(path):
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj), image.affine


def all_of(stored):
    return stored.read_window(0, stored.n_volumes)


# on its own grid -------------------------------------------------------------------------------


def test_keeps_the_file_s_numbers_in_its_mask(run, own):
    stored = own.add(run)
    data, affine = ras(run.path)
    mask = (ras(run.mask)[0] > 0) & (data[..., 0] != 0)
    assert stored.mapped().dtype == np.int16
    np.testing.assert_array_equal(stored.mapped(), data[mask].T)
    np.testing.assert_array_equal(stored.grid.mask, mask)
    np.testing.assert_allclose(stored.grid.affine, affine)
    assert (stored.t_r, stored.n_volumes, stored.grid.space) == (2.0, 9, "MNI152")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_other_types_keep_their_values(tmp_path, write_bold, rng, run, own, dtype):
    data = rng.integers(50, 250, size=(*BOLD_SHAPE, 6)).astype(dtype)
    run = replace(run, path=write_bold(tmp_path / "other.nii", data))
    stored = own.add(run)
    expected = ras(run.path)[0][stored.grid.mask].T
    np.testing.assert_allclose(all_of(stored), expected, atol=200 / 65534)


def test_slope_and_intercept_of_the_header_are_kept(tmp_path, write_bold, run, own):
    run = replace(run, path=write_bold(tmp_path / "scaled.nii.gz", scaling=(0.25, -100.0)))
    stored = own.add(run)
    assert (stored.facts.slope, stored.facts.intercept) == (0.25, -100)
    expected = ras(run.path)[0][stored.grid.mask].T
    np.testing.assert_allclose(all_of(stored), expected, rtol=1e-6)


def test_window_reads_the_volumes_asked_for(run, own):
    stored = own.add(run)
    whole = all_of(stored)
    np.testing.assert_array_equal(stored.read_window(3, 4), whole[3:7])
    np.testing.assert_array_equal(stored.volume(8), whole[8])
    assert stored.read_window(3, 4).dtype == np.float32


@pytest.mark.parametrize(("start", "n"), [(0, 10), (9, 1), (-1, 2), (3, 0), (8, 2)])
def test_refuses_volumes_that_the_run_has_not(run, own, start, n):
    stored = own.add(run)
    with pytest.raises(VolumeError, match=rf"{n} volumes from volume {start} .*volumes 0 to 8"):
        stored.read_window(start, n)


def test_stored_run_travels_to_other_processes(run, own):
    stored = own.add(run)
    there = pickle.loads(pickle.dumps(stored))
    np.testing.assert_array_equal(all_of(there), all_of(stored))


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_run_lost_while_in_use_is_named(run, own, how):
    stored = own.add(run)
    if how == "gone":
        stored.path.unlink()
    else:
        stored.path.write_bytes(stored.path.read_bytes()[:-8])
    with pytest.raises(StoreError, match=r"\.npy: found (No such file|a shorter file)"):
        stored.read_window(5, 4)


def test_own_space_stays_on_own_grids(tmp_path, run, own, on_grid, grid):
    run = replace(run, space="own")
    assert own.add(run).grid.space == "own"
    same = ArrayStore(tmp_path / "same", DecodedBold(replace(grid, space="own"), min_coverage=0.1))
    assert same.add(run).grid.space == "own"
    with pytest.raises(VolumeError, match=r"bold\.nii\.gz: found space 'own'; accepted: MNI152"):
        on_grid.add(run)


# on the template grid --------------------------------------------------------------------------


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_each_volume_is_where_place_on_grid_puts_it(
    tmp_path, write_bold, run, on_grid, grid, has_mask, dtype
):
    data = np.asarray(nib.load(run.path).dataobj).astype(dtype)
    run = replace(run, path=write_bold(tmp_path / "b.nii.gz", data))
    if not has_mask:
        run = replace(run, mask=None)
    stored = on_grid.add(run)
    data, affine = ras(run.path)
    if has_mask:
        data = np.where(ras(run.mask)[0][..., None] > 0, data, 0)
    values = all_of(stored)
    assert values.shape == (9, grid.n_voxels)
    for number in range(9):
        volume = Volume(data[None, ..., number].astype(np.float32), affine, "MNI152")
        expected = place_on_grid(volume, grid)[0]
        np.testing.assert_array_equal(np.isnan(values[number]), np.isnan(expected))
        np.testing.assert_allclose(values[number], expected, rtol=1e-5)


def test_template_s_own_voxels_are_kept_number_by_number(tmp_path, write_bold, rng, on_grid, grid):
    data = rng.integers(8000, 9000, size=(*grid.shape, 4)).astype(np.int16)
    data[:2, 3] = 0
    path = write_bold(tmp_path / "b.nii.gz", data, grid.affine)
    stored = on_grid.add(BoldRun("a", "a", path, "MNI152"))
    known = data[grid.mask][:, 0] != 0
    np.testing.assert_array_equal(stored.mapped()[:, known], data[grid.mask].T[:, known])
    np.testing.assert_array_equal(np.isnan(stored.volume(2)), ~known)


def test_one_set_of_weights_serves_all_runs_of_a_grid(tmp_path, write_bold, on_grid, monkeypatch):
    calls = []
    resample._weights_between.cache_clear()  # other tests have the same grids
    build = resample.linear_weights
    monkeypatch.setattr(resample, "linear_weights", lambda *a: calls.append(1) or build(*a))
    for number in range(3):
        path = write_bold(tmp_path / f"{number}.nii.gz")
        on_grid.add(BoldRun(str(number), "a", path, "MNI152"))
    assert calls == [1]


def test_resampled_run_has_the_time_course_of_its_place(tmp_path, write_bold, on_grid):
    """A wave in the data is a wave in the store, whatever the space between voxels."""
    wave = np.sin(np.arange(12))
    data = (np.full(BOLD_SHAPE, 9000)[..., None] + 100 * wave).astype(np.float32)
    stored = on_grid.add(
        BoldRun("a", "a", write_bold(tmp_path / "a.nii", data), "MNI152"),
    )
    values = all_of(stored)
    known = ~np.isnan(values[0])
    assert 0.5 < known.mean() < 1
    np.testing.assert_allclose(
        values[:, known], np.tile(9000 + 100 * wave[:, None], known.sum()), atol=0.01
    )


def test_memory_does_not_grow_with_the_run(tmp_path, write_bold, rng, on_grid):
    peaks = []
    for n_volumes in (20, 160):
        data = rng.normal(9000, 90, size=(20, 21, 22, n_volumes)).astype(np.float32)
        affine = BOLD_AFFINE @ np.diag([0.3, 0.33, 0.36, 1])
        path = write_bold(tmp_path / f"{n_volumes}.nii.gz", data, affine)
        run = BoldRun("a", "a", path, "MNI152")
        ArrayStore(tmp_path / "warm", DecodedBold(on_grid.recipe.grid)).add(run)
        tracemalloc.start()
        on_grid.add(run)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 2**17
    assert peaks[1] < data.nbytes / 2


# faults ----------------------------------------------------------------------------------------


def test_every_fault_of_every_run_is_named(tmp_path, write_bold, write_mask, run, own):
    def spoilt(name, **changes):
        return replace(run, run_id=name, participant_id=name, **changes)

    wide = BOLD_AFFINE @ np.diag([2, 1, 1, 1])
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(run.path.read_bytes()[:-300])
    empty = np.full((*BOLD_SHAPE, 4), np.nan, np.float32)
    pointer = tmp_path / "pointer.nii.gz"
    pointer.write_text("/annex/objects/MD5E-s7412588--3eab1328dd20.nii.gz\n")
    runs = [
        run,
        spoilt("cut", path=cut),
        spoilt("map", path=run.mask),
        spoilt("empty", path=write_bold(tmp_path / "empty.nii", empty)),
        spoilt("mask", mask=write_mask(tmp_path / "m.nii", affine=wide)),
        spoilt("pointer", path=pointer),
        spoilt("time", path=write_bold(tmp_path / "time.nii", t_r=None)),
        spoilt("gone", path=tmp_path / "gone.nii.gz", mask=tmp_path / "away.nii.gz"),
    ]
    with pytest.raises(CohortError, match="8 faults") as caught:
        open_runs(runs, own, n_jobs=2)
    found = [(fault.participant_id, fault.found) for fault in caught.value.faults]
    expected = [
        ("cut", "a damaged or truncated file"),
        ("map", "an image of shape"),
        ("empty", "no value other than NaN and 0 in its mask in the first volume"),
        ("mask", "a mask of 6x7x8 voxels of 42x22x23 mm"),
        ("pointer", "a DataLad (git-annex) pointer"),
        ("time", "no usable repetition time"),
        ("gone", "no such file"),
        ("gone", "no such file"),
    ]
    for (who, what), (expected_who, start) in zip(found, expected, strict=True):
        assert (who, what[: len(start)]) == (expected_who, start)


@pytest.mark.parametrize(
    ("given", "stated", "found"),
    [
        (None, None, r"no usable repetition time in the header; .*give t_r, in seconds"),
        (2000.0, None, r"a repetition time of 2000 s; accepted: 0\.05 to 30 s"),
        (2.5, 2.0, r"a repetition time of 2 s in the header where 2\.5 s is given"),
    ],
)
def test_refuses_repetition_time(tmp_path, write_bold, run, own, given, stated, found):
    run = replace(run, path=write_bold(tmp_path / "b.nii", t_r=stated), t_r=given)
    with pytest.raises(VolumeError, match=rf"b\.nii: found {found}"):
        own.add(run)


@pytest.mark.parametrize(
    ("given", "stated"), [(2.5, None), (2.0, 2.0), (2.01, 2.0), (2.5, 2000), (2.5, 1.0)]
)
def test_given_repetition_time_holds(tmp_path, write_bold, run, own, given, stated):
    run = replace(run, path=write_bold(tmp_path / "b.nii", t_r=stated), t_r=given)
    assert own.add(run).t_r == given


def test_certain_repetition_time_overrules_the_header(tmp_path, write_bold, run, own):
    run = replace(run, path=write_bold(tmp_path / "b.nii", t_r=2.0), t_r=2.5, is_t_r_certain=True)
    assert own.add(run).t_r == 2.5
    with pytest.raises(VolumeError, match=r"a repetition time of 2500 s; accepted: 0\.05 to 30 s"):
        own.add(replace(run, t_r=2500.0))


@pytest.mark.parametrize(
    ("values", "found"),
    [([0, 1, 2], r"2 different values other than 0 \(1, 2\)"), ([0], "no voxel inside")],
)
def test_refuses_mask_that_is_none(tmp_path, write_mask, run, own, values, found):
    data = np.resize(np.array(values, np.uint8), BOLD_SHAPE)
    run = replace(run, mask=write_mask(tmp_path / "m.nii", data))
    with pytest.raises(VolumeError, match=rf"m\.nii: found {found}; accepted: a mask"):
        own.add(run)


def test_mask_in_micrometres_is_one_of_the_run_in_mm(tmp_path, run, own):
    expected = own.add(run)
    image = nib.load(run.mask)
    micron = nib.Nifti1Image(np.asarray(image.dataobj), np.diag([1e3, 1e3, 1e3, 1]) @ image.affine)
    micron.header.set_xyzt_units("micron")
    nib.save(micron, tmp_path / "micron.nii.gz")
    stored = own.add(replace(run, mask=tmp_path / "micron.nii.gz"))
    np.testing.assert_array_equal(stored.mapped(), expected.mapped())
    micron.header.set_xyzt_units("mm")
    nib.save(micron, tmp_path / "mm.nii.gz")
    with pytest.raises(VolumeError, match=r"mm\.nii\.gz: found voxels of 2\.1e\+04 x .*unit is mm"):
        own.add(replace(run, mask=tmp_path / "mm.nii.gz"))


@pytest.mark.parametrize("inside", [1, 255, 0.99998])
def test_mask_of_any_one_number_is_the_same(tmp_path, write_mask, run, own, inside):
    expected = own.add(run).grid.mask
    data = nib.load(run.mask).get_fdata() * inside
    image = nib.Nifti1Image(data, BOLD_AFFINE)
    image.set_data_dtype(np.int16)
    image.to_filename(tmp_path / "scaled.nii")
    np.testing.assert_array_equal(
        own.add(replace(run, mask=tmp_path / "scaled.nii")).grid.mask, expected
    )


def test_mask_of_probabilities_is_cut_at_half_of_the_largest(tmp_path, write_mask, run, own, rng):
    data = rng.uniform(0, 0.8, BOLD_SHAPE).astype(np.float32)
    data[2, 3, 4] = 0.8
    stored = own.add(replace(run, mask=write_mask(tmp_path / "p.nii", data)))
    inside = nib.as_closest_canonical(nib.Nifti1Image(data, BOLD_AFFINE)).get_fdata() > 0.4
    np.testing.assert_array_equal(stored.grid.mask, inside & (ras(run.path)[0][..., 0] != 0))


def test_scaled_background_is_no_data(tmp_path, write_bold, run, own, rng):
    inside = np.zeros(BOLD_SHAPE, bool)
    inside[1:, :-1, 1:-1] = True
    data = np.where(inside[..., None], rng.normal(900, 9, (*BOLD_SHAPE, 5)), 0)
    mask = replace(run, mask=None)
    found = {}
    for dtype in (np.float32, np.int16):
        image = nib.Nifti1Image(data.astype(np.float32) - 1e-3, BOLD_AFFINE)
        image.header.set_zooms((*image.header.get_zooms()[:3], 2.0))
        image.header.set_xyzt_units("mm", "sec")
        image.set_data_dtype(dtype)
        image.to_filename(tmp_path / f"{dtype.__name__}.nii")
        with check_run(replace(mask, path=tmp_path / f"{dtype.__name__}.nii"), False) as checked:
            found[dtype] = checked.support(next(checked.file.volumes()))
    expected = nib.as_closest_canonical(
        nib.Nifti1Image(inside.astype(int), BOLD_AFFINE, dtype="i4")
    )
    for support in found.values():
        np.testing.assert_array_equal(support, expected.get_fdata() > 0)


def test_number_that_fills_a_run_is_refused(tmp_path, write_bold, run, own, rng):
    data = np.full((*BOLD_SHAPE, 5), -1, np.float32)
    data[3:] = rng.normal(900, 9, data[3:].shape)
    filled = replace(run, path=write_bold(tmp_path / "f.nii", data), mask=None)
    expected = r"f\.nii: found the value -1 in a good part"
    with check_run(filled, False) as checked, pytest.raises(VolumeError, match=expected):
        checked.support(next(checked.file.volumes()))


def test_own_grid_needs_a_mask(run, own):
    with pytest.raises(VolumeError, match=r"found no mask; .*give one, or a template grid"):
        own.add(replace(run, mask=None))


def test_refuses_run_outside_the_template(tmp_path, write_bold, on_grid):
    affine = BOLD_AFFINE.copy()
    affine[2, 3] += 1000
    path = write_bold(tmp_path / "b.nii", affine=affine)
    with pytest.raises(VolumeError, match=r"b\.nii: found no overlap with the mask"):
        on_grid.add(BoldRun("a", "a", path, "MNI152"))


def test_refuses_run_that_covers_too_little(tmp_path, write_bold, run, own):
    data = np.asarray(nib.load(run.path).dataobj).copy()
    data[:4] = 0
    run = replace(run, path=write_bold(tmp_path / "b.nii", data))
    with pytest.raises(VolumeError, match=r"b\.nii: found values in \d+% of the mask"):
        own.add(run)
    assert not own.folder.exists()


def test_refuses_space(run, own):
    with pytest.raises(VolumeError, match="found space 'T1w'"):
        own.add(replace(run, space="T1w"))


def test_refused_run_leaves_nothing(tmp_path, write_bold, run, own):
    path = write_bold(tmp_path / "cut.nii.gz", n_volumes=20)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(VolumeError, match=r"cut\.nii\.gz: found a damaged.*one 4-D NIfTI file"):
        own.add(replace(run, path=path))
    assert list(own.folder.iterdir()) == []


# opened again ----------------------------------------------------------------------------------


def test_unchanged_runs_are_not_decoded_again(run, own, settled, decoded):
    (first,) = own.add_all([run])
    (second,) = own.add_all([run])
    assert (second.path, second.facts) == (first.path, first.facts)
    np.testing.assert_array_equal(all_of(second), all_of(first))
    np.testing.assert_array_equal(second.grid.mask, first.grid.mask)
    assert decoded == ["run-1"]


def test_touched_run_is_hashed_and_not_decoded(run, own, decoded):
    list(own.add_all([run]))
    os.utime(run.path)
    list(own.add_all([run]))
    assert decoded == ["run-1"]


@pytest.mark.parametrize("what", ["run", "mask"])
def test_changed_file_is_noticed(tmp_path, write_bold, write_mask, run, own, settled, what):
    (first,) = own.add_all([run])
    if what == "run":
        write_bold(run.path, n_volumes=9)
    else:
        data = np.asarray(nib.load(run.mask).dataobj).copy()
        data[4, 4, 4] = 0
        write_mask(run.mask, data)
    (second,) = own.add_all([run])
    assert second.path != first.path
    assert second.facts != first.facts


@pytest.mark.parametrize("suffix", [".npy", ".scale.npy", ".mask.npy", ".json"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_stored_run_that_is_not_whole_is_made_again(
    tmp_path, write_bold, run, own, settled, suffix, how
):
    data = np.asarray(nib.load(run.path).dataobj).astype(np.float32)
    run = replace(run, path=write_bold(tmp_path / "wide.nii", data))
    (first,) = own.add_all([run])
    values = all_of(first)
    path = first.path.with_suffix(suffix)
    raw = path.read_bytes()
    path.unlink()
    if how == "cut":
        path.write_bytes(raw[:-9])
    (second,) = own.add_all([run])
    assert path.read_bytes() == raw
    np.testing.assert_array_equal(all_of(second), values)


@pytest.mark.parametrize("suffix", [".npy", ".mask.npy", ".json"])
def test_altered_values_are_made_again(run, own, settled, suffix):
    """Whatever the times of the file say, and a single bit is enough."""
    (first,) = own.add_all([run])
    path = first.path.with_suffix(suffix)
    raw, times = path.read_bytes(), path.stat()
    path.write_bytes(raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    list(own.add_all([run]))
    assert path.read_bytes() == raw


def test_facts_lie_beside_the_values(run, own):
    stored = own.add(run)
    facts = json.loads(stored.path.with_suffix(".json").read_text())["facts"]
    assert facts["t_r"] == 2.0
    assert facts["file_grid"] == "6x7x8 of 21x22x23 mm, LAS, int16"
    assert facts["source_sha256"] == stored.facts.source_sha256
    assert facts["space"] == "MNI152"


def test_other_grid_mask_or_repetition_time_is_another_run(tmp_path, write_bold, run, grid):
    folder = tmp_path / "store"
    run = replace(run, path=write_bold(tmp_path / "b.nii", t_r=None), t_r=2.0)
    mask = grid.mask.copy()
    mask[3, 3, 3] = False
    stores = [ArrayStore(folder, DecodedBold()), ArrayStore(folder, DecodedBold(grid, 0.1))]
    stores.append(ArrayStore(folder, DecodedBold(Grid(mask, grid.affine, grid.space), 0.1)))
    paths = {store.add(run).path for store in stores}
    paths.add(stores[0].add(replace(run, t_r=3.0)).path)
    paths.add(stores[1].add(replace(run, mask=None)).path)
    assert len(paths) == 5


def test_jobs_change_nothing(tmp_path, write_bold, run, grid, settled):
    runs = [
        replace(run, run_id=str(number), path=write_bold(tmp_path / f"{number}.nii.gz"))
        for number in range(5)
    ]
    alone = open_runs(runs, ArrayStore(tmp_path / "one", DecodedBold(grid, 0.1)))
    together = open_runs(runs, ArrayStore(tmp_path / "two", DecodedBold(grid, 0.1)), n_jobs=2)
    for one, two in zip(alone, together, strict=True):
        assert one.path.read_bytes() == two.path.read_bytes()
        assert one.facts == two.facts
    assert (tmp_path / "two" / INDEX_NAME).is_file()


def test_real_runs_are_where_maps_would_be(tmp_path, real_data, grid):
    folder = real_data / "bold/haxby_sub001"
    path = next(folder.rglob("bold_25mm.nii.gz"))
    stored = ArrayStore(tmp_path / "store", DecodedBold(grid, 0.0)).add(
        BoldRun("a", "a", path, "MNI152")
    )
    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj[..., 7], np.float32)
    expected = place_on_grid(Volume(data[None], image.affine, "MNI152"), grid)[0]
    values = stored.volume(7)
    both = np.isfinite(values) & np.isfinite(expected)
    assert both.mean() > 0.1
    np.testing.assert_allclose(values[both], expected[both], rtol=1e-3)


def values_of(rows, known=None, slope=1.0, intercept=0.0):
    n_volumes, width = rows.shape
    header = BoldHeader(
        (width, 1, 1), n_volumes, rows.dtype, slope, intercept, 352, np.eye(4), 2.0, ""
    )
    known = np.ones(width, dtype=bool) if known is None else known
    return RunValues(Path("bold.nii"), header, Lookup(np.arange(width), known))


def write(rows, **more):
    with tempfile.TemporaryDirectory() as folder, open_draft(Path(folder)) as draft:
        scale = values_of(rows, **more).write(list(rows), draft)
        draft.seek(0)
        return np.load(io.BytesIO(draft.read())), scale


@given(
    rows=arrays(np.float32, (6, 5), elements=st.floats(-1e5, 1e5, width=32)).filter(
        lambda rows: (rows != rows[0]).any()
    )
)
def test_error_is_half_a_step_at_most(rows):
    kept, (slope, intercept) = write(rows)
    assert kept.dtype == np.int16
    restored = kept * slope + intercept
    step = (rows.max(axis=0).astype(float) - rows.min(axis=0)) / STEPS
    rounding = np.abs(rows).max(axis=0) * 2.0**-22
    assert (np.abs(restored - rows) <= 0.51 * step + rounding).all()


@given(
    rows=arrays(np.float64, (6, 5), elements=st.floats(8000, 12000)).filter(
        lambda rows: (rows != rows[0]).any()
    )
)
def test_bold_is_far_nearer_than_in_float16(rows):
    kept, (slope, intercept) = write(rows)
    assert np.abs(kept * slope + intercept - rows).max() < 0.04


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, ">i2", ">u2"])
def test_small_integers_are_kept_number_by_number(rng, dtype):
    info = np.iinfo(np.dtype(dtype))
    rows = rng.integers(info.min, info.max, size=(4, 7), endpoint=True).astype(dtype)
    kept, scale = write(rows)
    assert scale is None
    assert kept.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(kept, rows)


def test_voxels_without_data_are_nan(rng):
    known = np.array([True, False, True])
    for dtype in (np.int16, np.float32):
        rows = rng.normal(1000, 50, size=(5, 3)).astype(dtype)
        kept, (slope, intercept) = write(rows, known=known, slope=2.0, intercept=3.0)
        values = kept * slope + intercept
        assert np.isnan(values[:, 1]).all()
        np.testing.assert_allclose(values[:, [0, 2]], rows[:, [0, 2]] * 2.0 + 3, rtol=1e-5)


def test_voxel_without_change_keeps_its_value():
    rows = np.array([[7.25, 1], [7.25, 2]], np.float32)
    kept, (slope, intercept) = write(rows)
    np.testing.assert_array_equal((kept * slope + intercept)[:, 0], 7.25)


def test_names_volume_with_values_that_are_not_finite():
    rows = np.ones((4, 3), np.float32)
    rows[2, :2] = np.nan, np.inf
    with pytest.raises(VolumeError, match=r"bold\.nii: found 2 values in volume 2 that are NaN"):
        write(rows)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_refuses_one_volume_repeated(dtype):
    rows = np.repeat(np.arange(1, 4, dtype=dtype)[None], 5, axis=0)
    with pytest.raises(VolumeError, match="found no change from volume to volume"):
        write(rows)


@pytest.mark.parametrize(("dtype", "slope"), [(np.int16, 1e3), (np.float32, 1e3)])
def test_refuses_values_out_of_range(dtype, slope):
    rows = np.array([[1, 2], [3, 4000]], dtype)
    with pytest.raises(VolumeError, match=r"found values as large as 4e\+06, beyond 1e\+06"):
        write(rows, slope=slope)


def test_a_spike_is_refused_with_its_voxel(rng):
    rows = rng.normal(9000, 90, size=(6, 300)).astype(np.float32)
    rows[3, 17] = 4e5
    with pytest.raises(VolumeError, match=r"found a spike of 400000 at voxel \(17, 0, 0\), where"):
        write(rows)
    known = np.arange(300) != 17
    write(rows, known=known)
    whole = rng.integers(500, 900, size=(6, 300)).astype(np.int16)
    write(whole)
    whole[2, 250] = -32768
    with pytest.raises(VolumeError, match=r"found a spike of 32768 at voxel \(250, 0, 0\)"):
        write(whole)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_volume_far_beyond_the_others_is_refused(rng, dtype, number):
    rows = rng.normal(300, 5, (6, 70)).astype(dtype)
    rows[number] *= 30
    with pytest.raises(
        VolumeError, match=rf"on average in volume {number}, where .* of (300|299);"
    ):
        write(rows)
    rows[number] //= 10  # as before a steady state
    write(rows)
