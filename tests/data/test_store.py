import errno
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fmnet.data.scans as maps_module
import fmnet.data.store as store_module
from fmnet.data.files import seal
from fmnet.data.scans import MapsOnGrid, Scan
from fmnet.data.store import (
    INDEX_NAME,
    ArrayStore,
    Entry,
    FileIndex,
    Job,
    read_index,
    take_stamp,
    write_index,
)
from fmnet.errors import Fault, StoreError, VolumeError


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
    monkeypatch.setattr("fmnet.data.store.SETTLING_NS", -(10**12))


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read, in order."""
    names = []

    def watch(module, name):
        read = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path: names.append(path.name) or read(path))

    watch(maps_module, "read_raw")
    watch(store_module, "hash_file")
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
    assert set(reads[3:]) == {"1.nii.gz"}


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
        json.dumps(seal({"format": "3", "sources": 3})),
        json.dumps(seal({"format": "3", "sources": {"/a": [3, True, ""]}})),
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
    assert len(read_index(store.folder).sources) == 3


def test_several_writers_keep_what_the_others_found(store, scans, settled):
    a, b = FileIndex(), FileIndex()
    store.recipe.store(scans[0], Job(store.folder, a))
    store.recipe.store(scans[1], Job(store.folder, b))
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
    add_all(ArrayStore(store.folder, MapsOnGrid(grid, min_coverage=0.1)), [scan])
    (error,) = add_all(store, [scan])
    with pytest.raises(VolumeError, match=r"a\.nii: found values in 39% of the mask"):
        raise error


def test_file_that_changes_while_it_is_read_is_not_remembered(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(b"a")
    before = take_stamp(path)
    path.write_bytes(b"ab")
    index = FileIndex()
    index.add(path, replace(before, sha256="hash"))
    assert not index.sources


def test_what_is_missing_is_never_settled(tmp_path):
    assert not take_stamp(tmp_path / "a.nii").is_settled


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_jobs_change_neither_results_nor_the_order_of_faults(
    store, scans, write_map, grid, tmp_path, n_jobs
):
    bad = [write_map(tmp_path / f"bad{k}.nii", np.full(grid.shape, k, np.float32)) for k in (1, 2)]
    people = [
        Scan(path.name, path.name, (path,), "MNI152")
        for path in (bad[1], *(scan.files[0] for scan in scans), bad[0])
    ]
    alone = add_all(ArrayStore(tmp_path / "other", MapsOnGrid(grid)), people)
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
        return add_all(ArrayStore(store.folder, MapsOnGrid(grid)), scans, 2)

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


# entries -----------------------------------------------------------------------------------------


@pytest.fixture
def entry(tmp_path):
    return Entry(tmp_path / "store", ("recipe 1", "grid"))


def write(entry, rng):
    values = rng.normal(size=(2, 300)).astype(np.float32)
    return entry.write(["a", ""], {".npy": values, ".more.npy": values[:1]}, {"n": 2, "t_r": 0.1})


def test_entry_is_found_as_it_was_written(entry, rng):
    assert entry.find(["a", ""]) is None
    stored = write(entry, rng)
    found = entry.find(["a", ""])
    assert (found.path, found.sources, found.facts) == (
        stored.path,
        ("a", ""),
        {"n": 2, "t_r": 0.1},
    )
    np.testing.assert_array_equal(found.values(), stored.values())
    assert entry.find(["a", "b"]) is None
    assert replace(entry, settings=("recipe 2", "grid")).find(["a", ""]) is None


@pytest.mark.parametrize("suffix", [".npy", ".more.npy", ".json"])
@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:200] + bytes([raw[200] ^ 1]) + raw[201:],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw[:-32],
        lambda raw: raw + b"\0",
        lambda _: b"",
        lambda _: b"[]",
        lambda _: None,
    ],
)
def test_entry_that_is_not_as_it_was_written_is_none(entry, rng, suffix, change):
    path = write(entry, rng).path.with_suffix(suffix)
    changed = change(path.read_bytes())
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    assert entry.find(["a", ""]) is None


def test_array_of_another_type_is_none_though_it_has_the_right_name(entry, rng):
    stored = write(entry, rng)
    np.save(stored.path, stored.values().astype(np.int32))
    assert entry.find(["a", ""]) is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_names_folder_and_room_needed(entry, monkeypatch, code):
    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    expected = r"/store: found a full disk: 2\.0 MB to write, \d+\.\d MB free"
    with pytest.raises(StoreError, match=expected):
        entry.write([], {".npy": np.zeros((2, 250_000), np.float32)}, {})
    assert list(entry.folder.iterdir()) == []


def test_disk_that_takes_a_part_leaves_no_file_and_says_why(tmp_path, run_python):
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from fmnet.data.store import Entry
from fmnet.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    Entry(Path(sys.argv[1]), ()).write([], {".npy": np.zeros((1, 50_000), np.float32)}, {})
except StoreError as error:
    print(error)
"""
    done = run_python(code, tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/store: found File too large" in done.stdout
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("where", ["mkdir", "read_bytes"])
def test_store_without_permission_is_named(entry, rng, monkeypatch, where):
    def deny(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, where, deny)
    work = {"mkdir": lambda: write(entry, rng), "read_bytes": lambda: entry.find([])}[where]
    with pytest.raises(StoreError, match=r"/store: found Permission denied; .*store_dir"):
        work()


# threads -----------------------------------------------------------------------------------------


class Squares:
    """Recipe: square numbers, and refuse 13."""

    grid = None

    def __init__(self):
        self.lock, self.now, self.most, self.done = threading.Lock(), 0, 0, []

    def store(self, number, _):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.done.append(number)
        time.sleep(0.001 * (number % 3))
        with self.lock:
            self.now -= 1
        if number == 13:
            raise StoreError(Fault("disk", "full", "room", "make some"))
        return number * number


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_results_come_in_order_and_no_more_are_made_at_a_time(tmp_path, n_jobs):
    recipe = Squares()
    found = list(ArrayStore(tmp_path, recipe).add_all(range(12), n_jobs))
    assert found == [n * n for n in range(12)]
    assert recipe.most <= n_jobs


def test_a_failure_ends_the_work(tmp_path):
    recipe = Squares()
    with pytest.raises(StoreError, match="found full"):
        list(ArrayStore(tmp_path, recipe).add_all(range(500), 2))
    assert len(recipe.done) < 100


def test_values_on_grids_of_their_own_have_no_common_grid(tmp_path):
    with pytest.raises(ValueError, match="no common one"):
        _ = ArrayStore(tmp_path, Squares()).grid


def test_folder_of_an_older_version_is_left_as_it_is(store, scans):
    store.folder.mkdir()
    old = {"index.json": '{"format": "2"}', f"{'0' * 64}.npy": "old", f"{'0' * 64}.json": "{}"}
    for name, content in old.items():
        (store.folder / name).write_text(content)
    first = add_all(store, scans)
    assert add_all(store, scans) == first
    assert {name: (store.folder / name).read_text() for name in old} == old
