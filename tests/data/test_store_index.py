import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fmnet.data.store as store_module
from fmnet.data.scans import Scan
from fmnet.data.store import ScanStore
from fmnet.data.store_index import (
    INDEX_NAME,
    Source,
    StoreIndex,
    read_index,
    take_stamp,
    write_index,
)
from fmnet.errors import VolumeError


@pytest.fixture
def age():
    """Make files look as if nobody had touched them for an hour, as far as a test can."""

    def change(*paths):
        for path in paths:
            os.utime(path, (time.time() - 3600, time.time() - 3600))

    return change


@pytest.fixture
def settled(monkeypatch):
    """Trust files at once: times of change (ctime) can't be set."""
    monkeypatch.setattr("fmnet.data.store_index.SETTLING_NS", -(10**12))


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read, in order."""
    names = []
    read_raw = store_module.read_raw

    def read(path):
        names.append(path.name)
        return read_raw(path)

    monkeypatch.setattr(store_module, "read_raw", read)
    return names


@pytest.fixture
def scans(write_map, tmp_path):
    paths = [write_map(tmp_path / f"{number}.nii.gz") for number in range(3)]
    return [Scan(path.name, path.name, (path,), "MNI152") for path in paths]


def add_all(store, scans, n_jobs=1):
    return list(store.add_all(scans, n_jobs))


def test_unchanged_files_are_not_read_again(store, scans, settled, reads):
    first = add_all(store, scans)
    assert add_all(store, scans) == first
    assert reads == ["0.nii.gz", "1.nii.gz", "2.nii.gz"]


def test_indexed_scans_are_those_that_are_added_one_by_one(store, scans, settled):
    add_all(store, scans)
    assert add_all(store, scans) == [store.add(scan) for scan in scans]


def test_fresh_files_are_read_until_they_have_settled(store, scans, age, reads):
    age(*(scan.files[0] for scan in scans))  # their ctime stays fresh
    first = add_all(store, scans)
    assert add_all(store, scans) == first
    assert len(reads) == 6


@pytest.mark.parametrize("how", ["written over", "same size and time", "moved in place"])
def test_edited_file_is_noticed(store, scans, write_map, settled, tmp_path, reads, how):
    path = scans[1].files[0]
    before = path.stat()
    first = add_all(store, scans)
    if how == "moved in place":
        write_map(tmp_path / "other.nii.gz").rename(path)
    else:
        write_map(path)
    if how == "same size and time":
        raw = path.read_bytes()
        path.write_bytes(raw[:4] + b"\1\1\1\1" + raw[8:])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = add_all(store, scans)
    assert [one == two for one, two in zip(first, second, strict=True)] == [True, False, True]
    assert reads[3:] == ["1.nii.gz"]


@pytest.mark.parametrize("is_index_lost", [False, True])
@pytest.mark.parametrize("how", ["missing", "cut", "altered", "altered at the same time", "double"])
def test_stored_file_that_is_not_as_written_is_made_again(
    store, scans, settled, how, is_index_lost
):
    first = add_all(store, scans)
    values = [np.array(one.values()) for one in first]
    path = first[1].path
    raw, before = path.read_bytes(), path.stat()
    if is_index_lost:
        (store.folder / INDEX_NAME).unlink()
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(raw[:-8])
    elif how == "double":
        np.save(path, values[1].astype(np.float64))
    else:
        path.write_bytes(raw[:-80] + bytes([raw[-80] ^ 64]) + raw[-79:])
        old = (before.st_atime_ns, before.st_mtime_ns)
        os.utime(path, ns=old if how == "altered at the same time" else (10**18, 10**18))
    assert add_all(store, scans) == first
    np.testing.assert_array_equal(first[1].values(), values[1])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": "0"}',
        '{"format": "1", "sources": 3, "stored": {}}',
        '{"format": "1", "sources": {}, "stored": {"a.npy": {"size": 3}}}',
        '{"format": "1", "sources": {"/a": {"stamp": {}, "sha256": ""}}, "stored": {}}',
    ],
)
def test_damaged_index_is_made_anew(store, scans, settled, content, reads):
    first = add_all(store, scans)
    (store.folder / INDEX_NAME).write_text(content)
    assert add_all(store, scans) == first
    assert add_all(store, scans) == first
    assert len(reads) == 6


def test_lost_index_is_made_anew(store, scans, settled, reads):
    first = add_all(store, scans)
    (store.folder / INDEX_NAME).unlink()
    assert add_all(store, scans) == first
    assert set(read_index(store.folder).stored) == {one.path.name for one in first}


def test_several_writers_keep_what_the_others_found(store, scans, settled):
    a, b = StoreIndex(), StoreIndex()
    store._add(scans[0], a)
    store._add(scans[1], b)
    write_index(a, store.folder)
    write_index(b, store.folder)
    assert len(read_index(store.folder).sources) == 2


def test_index_is_written_only_where_something_is_new(store, scans, settled):
    add_all(store, scans)
    index = store.folder / INDEX_NAME
    before = index.stat().st_ino
    add_all(store, scans)
    assert index.stat().st_ino == before


def test_store_that_can_not_be_written_is_opened_all_the_same(store, scans, settled, monkeypatch):
    first = add_all(store, scans)
    (store.folder / INDEX_NAME).unlink()

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", deny)
    assert add_all(store, scans) == first


def test_limit_of_coverage_applies_to_what_is_indexed(store, grid, write_map, rng, tmp_path):
    data = rng.normal(size=grid.shape).astype(np.float32)
    data[:4] = 0
    scan = Scan("a", "a", (write_map(tmp_path / "a.nii", data),), "MNI152")
    add_all(ScanStore(store.folder, grid, min_coverage=0.1), [scan])
    (error,) = add_all(store, [scan])
    with pytest.raises(VolumeError, match=r"a\.nii: found values in 39% of the mask"):
        raise error


def test_file_that_changes_while_it_is_read_is_not_remembered(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(b"a")
    stamp = take_stamp([path])
    path.write_bytes(b"ab")
    index = StoreIndex()
    index.add_source(path, Source(stamp, "hash"))
    assert not index.sources


def test_what_is_missing_is_never_settled(tmp_path):
    assert not take_stamp([tmp_path / "a.nii"]).is_settled


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_jobs_change_neither_results_nor_the_order_of_faults(
    store, scans, write_map, grid, tmp_path, n_jobs
):
    bad = [write_map(tmp_path / f"bad{k}.nii", np.full(grid.shape, k, np.float32)) for k in (1, 2)]
    people = [
        Scan(path.name, path.name, (path,), "MNI152")
        for path in (bad[1], *(scan.files[0] for scan in scans), bad[0])
    ]
    alone = add_all(ScanStore(tmp_path / "other", grid), people)
    together = add_all(store, people, n_jobs)
    assert [str(one) for one in (together[0], together[-1])] == [
        str(one) for one in (alone[0], alone[-1])
    ]
    for one, two in zip(alone[1:-1], together[1:-1], strict=True):
        np.testing.assert_array_equal(one.values(), two.values())
        assert one.values_sha256 == two.values_sha256


def test_index_names_files_by_absolute_path(store, scans, settled, monkeypatch):
    scan = scans[0]
    monkeypatch.chdir(scan.files[0].parent)
    add_all(store, [Scan("a", "a", (Path(scan.files[0].name),), "MNI152")])
    content = json.loads((store.folder / INDEX_NAME).read_text())
    assert list(content["sources"]) == [str(scan.files[0])]


def test_stores_that_share_a_folder_do_not_disturb_each_other(store, scans, grid, settled):
    def open_again(_):
        return add_all(ScanStore(store.folder, grid), scans, 2)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(open_again, range(12)))
    assert all(one == found[0] for one in found)
    assert len(read_index(store.folder).sources) == len(scans)
    assert not list(store.folder.glob("*.part"))


def test_index_that_was_altered_is_made_anew(store, scans, settled, reads):
    first = add_all(store, scans)
    path = store.folder / INDEX_NAME
    one, other = (found.source_sha256[0] for found in first[:2])
    path.write_text(path.read_text().replace(one, other))
    assert add_all(store, scans) == first
    assert len(reads) == 6
