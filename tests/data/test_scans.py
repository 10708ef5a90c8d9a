import errno
import os
import shutil
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import fmnet.data.scans as maps_module
from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume
from fmnet.data.resample import place_on_grid
from fmnet.data.scans import FILE_SEPARATOR, MapsOnGrid, Scan, coverage_fault, place_checked
from fmnet.data.store import ArrayStore
from fmnet.data.volume import Volume
from fmnet.errors import StoreError, VolumeError

FILES = (Path("a/one.nii.gz"), Path("a/two.nii.gz"))


def test_each_channel_of_maps_comes_from_its_file():
    scan = Scan("sub-1", "sub-1", FILES, "MNI152")
    assert [scan.source(channel) for channel in (0, 1)] == list(map(str, FILES))


def test_all_channels_of_runs_come_from_all_of_them():
    scan = Scan("sub-1", "sub-1", FILES, "MNI152", is_series=True)
    expected = FILE_SEPARATOR.join(map(str, FILES))
    assert [scan.source(channel) for channel in (0, 1, 2)] == [expected] * 3


def scan_of(*paths):
    return Scan("sub-01", "sub-01", paths, "MNI152", "FM")


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded, in order."""
    names = []

    def read(path, space):
        names.append(path.name)
        return read_volume(path, space)

    monkeypatch.setattr(maps_module, "read_volume", read)
    return names


# what is stored --------------------------------------------------------------------------------


def test_stores_in_mask_values_exactly(store, grid, write_map, rng, tmp_path):
    data = rng.normal(size=(2, *grid.shape)).astype(np.float32)
    data[1, 3, 3, 3] = np.nan
    paths = [write_map(tmp_path / f"{number}.nii.gz", data[number]) for number in range(2)]
    values = store.add(scan_of(*paths)).values()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, data[:, grid.mask])


def test_stored_values_are_a_read_only_memory_map(store, write_map, tmp_path):
    values = store.add(scan_of(write_map(tmp_path / "a.nii.gz"))).values()
    assert isinstance(values, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1


def test_extensions_of_the_header_change_nothing(store, write_map, tmp_path):
    plain = write_map(tmp_path / "plain.nii.gz")
    image = nib.load(plain)
    history = nib.nifti1.Nifti1Extension("afni", b"<AFNI_atr " + b"x" * 5000)
    image.header.extensions.append(history)
    nib.save(image, tmp_path / "afni.nii.gz")
    first, second = store.add(scan_of(plain)), store.add(scan_of(tmp_path / "afni.nii.gz"))
    assert first.values_sha256 == second.values_sha256
    assert first.file_grids == second.file_grids == ("7x8x9 of 20x20x20 mm, RAS, float32",)


def test_qform_alone_may_leave_the_sign_of_z_at_0(store, write_map, grid, tmp_path):
    image = nib.load(write_map(tmp_path / "sform.nii"))
    image.set_sform(None, 0)
    image.set_qform(grid.affine, 1)
    path = tmp_path / "qform.nii"
    nib.save(image, path)
    expected = store.add(scan_of(path)).values_sha256
    raw = path.read_bytes()
    path.write_bytes(raw[:76] + bytes(4) + raw[80:])
    assert store.add(scan_of(path)).values_sha256 == expected


def test_pipe_among_maps_is_never_opened(store, write_map, tmp_path):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    with pytest.raises(VolumeError, match=r"pipe\.nii\.gz: found a pipe \(FIFO\)"):
        store.add(scan_of(write_map(tmp_path / "map.nii.gz"), tmp_path / "pipe.nii.gz"))


def test_resampled_map_is_stored_as_it_is_placed(store, grid, write_map, rng, tmp_path):
    data = rng.normal(size=(15, 17, 19)).astype(np.float32)
    affine = np.diag([-10.0, 11, 12, 1])
    affine[:3, 3] = [75, -90, -90]
    path = write_map(tmp_path / "a.nii", data, affine)
    placed = place_on_grid(read_volume(path, "MNI152"), grid)
    np.testing.assert_array_equal(store.add(scan_of(path)).values(), placed)


def test_folder_holds_whole_files_only(store, write_map, tmp_path):
    stored = store.add(scan_of(write_map(tmp_path / "a.nii.gz")))
    written = [stored.path.name, stored.path.with_suffix(".json").name, "files.json"]
    assert files_in(store.folder) == sorted(written)
    assert stored.path.suffix == ".npy"


# content addressing ----------------------------------------------------------------------------


def test_same_scan_is_decoded_once(store, write_map, tmp_path, decoded):
    scan = scan_of(write_map(tmp_path / "a.nii.gz"))
    first, second = store.add(scan), store.add(scan)
    assert first == second
    assert decoded == ["a.nii.gz"]


def test_same_content_under_another_name_is_decoded_once(store, write_map, tmp_path, decoded):
    path = write_map(tmp_path / "a.nii.gz")
    copy = shutil.copy(path, tmp_path / "b.nii.gz")
    assert store.add(scan_of(path)) == store.add(scan_of(Path(copy)))
    assert decoded == ["a.nii.gz"]


def test_changed_content_has_another_key(store, write_map, tmp_path, decoded):
    path = tmp_path / "a.nii.gz"
    first = store.add(scan_of(write_map(path)))
    second = store.add(scan_of(write_map(path)))
    assert first.path != second.path
    assert first.source_sha256 != second.source_sha256
    assert decoded == ["a.nii.gz", "a.nii.gz"]
    assert not np.array_equal(first.values(), second.values())


def test_changed_mat_of_an_analyze_file_has_another_key(store, grid, write_map, tmp_path):
    path = write_map(tmp_path / "a.img", image_class=nib.Spm99AnalyzeImage)
    first = store.add(scan_of(path))
    shifted = grid.affine.copy()
    shifted[0, 3] += 20
    data = np.asarray(nib.load(path).dataobj).copy()  # not mapped: its file is written over
    write_map(path, data, shifted, nib.Spm99AnalyzeImage)
    second = store.add(scan_of(path))
    assert first.path != second.path
    assert not np.array_equal(first.values(), second.values())


def test_other_grid_has_another_key(store, grid, write_map, tmp_path):
    path = write_map(tmp_path / "a.nii.gz")
    mask = grid.mask.copy()
    mask[3, 3, 3] = False
    other = ArrayStore(store.folder, MapsOnGrid(Grid(mask, grid.affine, grid.space)))
    first, second = store.add(scan_of(path)), other.add(scan_of(path))
    assert first.path != second.path
    assert first.values().shape[1] == second.values().shape[1] + 1


def test_order_of_channels_has_another_key(store, write_map, tmp_path):
    a, b = write_map(tmp_path / "a.nii.gz"), write_map(tmp_path / "b.nii.gz")
    first, second = store.add(scan_of(a, b)), store.add(scan_of(b, a))
    assert first.path != second.path
    np.testing.assert_array_equal(first.values(), second.values()[::-1])


def test_values_hash_sees_the_same_image_in_another_file_type(
    store, write_map, rng, grid, tmp_path
):
    data = rng.normal(size=grid.shape).astype(np.float32)
    flipped = grid.affine @ np.array([[-1.0, 0, 0, 6], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    stored = [
        store.add(scan_of(path))
        for path in (
            write_map(tmp_path / "a.nii.gz", data),
            write_map(tmp_path / "b.nii", data.astype(np.float64)),
            write_map(tmp_path / "c.img", data, image_class=nib.Spm99AnalyzeImage),
            write_map(tmp_path / "d.nii", data[::-1], flipped),
        )
    ]
    assert len({item.source_sha256 for item in stored}) == 4
    assert len({item.values_sha256 for item in stored}) == 1


# content that is refused -----------------------------------------------------------------------


def test_names_every_fault_of_a_scan(store, write_map, grid, tmp_path):
    paths = [
        write_map(tmp_path / "zeros.nii", np.zeros(grid.shape, np.float32)),
        write_map(tmp_path / "good.nii"),
        write_map(tmp_path / "series.nii", np.ones((*grid.shape, 4), np.float32)),
    ]
    with pytest.raises(VolumeError, match=r"2 faults:[\s\S]*zeros\.nii[\s\S]*series\.nii"):
        store.add(scan_of(*paths))
    assert not store.folder.exists()


@pytest.mark.parametrize("fill", [0, np.nan])
def test_refuses_map_without_values(store, write_map, grid, tmp_path, fill):
    path = write_map(tmp_path / "a.nii", np.full(grid.shape, fill, np.float32))
    with pytest.raises(VolumeError, match=r"a\.nii: found no value other than NaN and 0"):
        store.add(scan_of(path))


@pytest.mark.parametrize("background", [3.5, 0, np.nan])
def test_refuses_constant_map(store, write_map, grid, tmp_path, background):
    data = np.where(grid.mask, np.float32(3.5), np.float32(background))
    path = write_map(tmp_path / "a.nii", data)
    with pytest.raises(VolumeError, match=r"a\.nii: found the constant 3\.5 in every voxel"):
        store.add(scan_of(path))


def test_refuses_infinite_values(store, write_map, rng, grid, tmp_path):
    data = rng.normal(size=grid.shape).astype(np.float32)
    data[3, 3, 3:5] = np.inf, -np.inf
    path = write_map(tmp_path / "a.nii", data)
    with pytest.raises(VolumeError, match=r"a\.nii: found 2 infinite values"):
        store.add(scan_of(path))


@pytest.mark.parametrize("largest", [2e6, -1e30])
def test_refuses_values_out_of_range(store, write_map, rng, grid, tmp_path, largest):
    data = rng.normal(size=grid.shape).astype(np.float32)
    data[3, 3, 3] = largest
    path = write_map(tmp_path / "a.nii", data)
    with pytest.raises(VolumeError, match=r"a\.nii: found values as large as .*beyond 1e\+06"):
        store.add(scan_of(path))


@pytest.mark.parametrize("distance_mm", [1000, -1000])
def test_refuses_map_outside_the_mask(store, write_map, rng, grid, tmp_path, distance_mm):
    affine = grid.affine.copy()
    affine[2, 3] += distance_mm
    data = rng.normal(size=grid.shape).astype(np.float32)
    path = write_map(tmp_path / "a.nii", data, affine)
    with pytest.raises(VolumeError, match=r"a\.nii: found no overlap with the mask"):
        store.add(scan_of(path))


def test_refuses_map_that_covers_too_little(store, write_map, rng, grid, tmp_path):
    data = rng.normal(size=grid.shape).astype(np.float32)
    data[:4] = 0
    path = write_map(tmp_path / "a.nii", data)
    with pytest.raises(VolumeError, match=r"a\.nii: found values in 39% of .*at least 50%"):
        store.add(scan_of(path))


def test_limit_of_coverage_applies_to_what_is_stored_already(store, write_map, rng, grid, tmp_path):
    data = rng.normal(size=grid.shape).astype(np.float32)
    data[:4] = 0
    path = write_map(tmp_path / "a.nii", data)
    ArrayStore(store.folder, MapsOnGrid(grid, min_coverage=0.1)).add(scan_of(path))
    with pytest.raises(VolumeError, match=r"a\.nii: found values in 39% of the mask"):
        store.add(scan_of(path))


def test_coverage_is_the_share_of_known_voxels():
    values = np.array([1, 2, np.nan, np.nan, np.nan], dtype=np.float32)
    assert coverage_fault(values, "a.nii", 0.4) is None
    fault = coverage_fault(values, "a.nii", 0.41)
    assert fault is not None
    assert fault.found == "values in 40% of the mask"


def test_good_content_passes(grid, rng):
    data = rng.normal(size=(1, *grid.shape)).astype(np.float32)
    place_checked(Volume(data, grid.affine, "MNI152"), grid)
    with pytest.raises(VolumeError, match="found the constant 1 in every voxel"):
        place_checked(Volume(np.ones_like(data), grid.affine, "MNI152"), grid)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "a file that this account may not"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    ],
)
def test_names_file_that_can_not_be_read(store, write_map, tmp_path, monkeypatch, error, found):
    path = write_map(tmp_path / "a.nii")

    def fail(_):
        raise error

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(VolumeError, match=rf"a\.nii: found {found}"):
        store.add(scan_of(path))


# a disk that fails -----------------------------------------------------------------------------


def test_folder_that_is_a_file_is_named_on_adding(grid, write_map, tmp_path):
    (tmp_path / "store").write_text("in the way")
    store = ArrayStore(tmp_path / "store", MapsOnGrid(grid))
    expected = r"/store: found (Not a directory|File exists); .*another store_dir"
    with pytest.raises(StoreError, match=expected):
        store.add(scan_of(write_map(tmp_path / "a.nii")))


def test_killed_while_storing_leaves_nothing_that_is_trusted(
    store, grid, write_map, tmp_path, run_python
):
    path = write_map(tmp_path / "a.nii.gz")
    np.savez(tmp_path / "grid.npz", mask=grid.mask, affine=grid.affine)
    code = """
import os, signal, sys
from pathlib import Path
import numpy as np
from fmnet.data.grid import Grid
from fmnet.data.scans import MapsOnGrid
from fmnet.data.scans import Scan
from fmnet.data.store import ArrayStore
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
folder, path, grid = map(Path, sys.argv[1:])
arrays = np.load(grid)
store = ArrayStore(folder, MapsOnGrid(Grid(arrays["mask"], arrays["affine"], "MNI152")))
store.add(Scan("sub-01", "sub-01", (path,), "MNI152"))
"""
    done = run_python(code, store.folder, path, tmp_path / "grid.npz")
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = files_in(store.folder)
    assert left.endswith(".part")
    stored = store.add(scan_of(path))
    assert {left, stored.path.name} < set(files_in(store.folder))
    placed = place_on_grid(read_volume(path, "MNI152"), grid)
    np.testing.assert_array_equal(stored.values(), placed)


@pytest.mark.parametrize("keep", [0, 5, 100, -4])
def test_stored_file_that_is_not_whole_is_made_again(store, write_map, tmp_path, decoded, keep):
    scan = scan_of(write_map(tmp_path / "a.nii.gz"))
    stored = store.add(scan)
    before = np.array(stored.values())
    stored.path.write_bytes(stored.path.read_bytes()[:keep])
    assert store.add(scan) == stored
    np.testing.assert_array_equal(stored.values(), before)
    assert len(decoded) == 2
