import errno
import os
from pathlib import Path

import numpy as np
import pytest

from fmnet.data.store_files import read_stored, write_array
from fmnet.errors import StoreError


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_names_folder_and_room_needed(tmp_path, monkeypatch, code):
    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    folder = tmp_path / "store"
    values = np.zeros((2, 250_000), dtype=np.float32)
    expected = r"/store: found a full disk: 2\.0 MB to write, \d+\.\d MB free"
    with pytest.raises(StoreError, match=expected):
        write_array(values, folder / "a.npy")
    assert files_in(folder) == []


def test_disk_that_takes_a_part_leaves_no_file_and_says_why(tmp_path, run_python):
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from fmnet.data.store_files import write_array
from fmnet.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_array(np.zeros((1, 50_000), np.float32), Path(sys.argv[1]) / "a.npy")
except StoreError as error:
    print(error)
"""
    done = run_python(code, tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/store: found File too large" in done.stdout
    assert files_in(tmp_path / "store") == []


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(StoreError, match=r"/store: found File exists; .*another store_dir"):
        write_array(np.zeros((1, 5), np.float32), tmp_path / "store" / "a.npy")


def test_folder_without_permission_is_named(tmp_path, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", deny)
    with pytest.raises(StoreError, match=r"/store: found Permission denied; .*store_dir"):
        write_array(np.zeros((1, 5), np.float32), tmp_path / "store" / "a.npy")


def test_stored_file_that_can_not_be_read_is_named(tmp_path, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    write_array(np.zeros((1, 5), np.float32), tmp_path / "store" / "a.npy")
    monkeypatch.setattr(np, "load", deny)
    with pytest.raises(StoreError, match=r"/store: found Permission denied; .*store_dir"):
        read_stored(tmp_path / "store" / "a.npy")


def test_nothing_stored_is_none(tmp_path):
    assert read_stored(tmp_path / "a.npy") is None
    write_array(np.ones((1, 3), np.float32), tmp_path / "a.npy")
    np.testing.assert_array_equal(read_stored(tmp_path / "a.npy"), [[1, 1, 1]])


def write_plainly(values, path):
    """As numpy does: without a hash, as files of another program or an older version are."""
    with path.open("wb") as file:
        np.save(file, values)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:200] + bytes([raw[200] ^ 1]) + raw[201:],
        lambda raw: raw[:-33] + b"\0" + raw[-32:],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw.replace(b"<f4", b"<i4"),
        lambda raw: raw.replace(b"(2, 300)", b"(300, 2)"),
        lambda raw: raw.replace(b"(2, 300)", b"(2, 299)"),
        lambda raw: raw.replace(b"(2, 300)", b"(9, 300)"),
        lambda raw: raw[:-32],
        lambda raw: raw + b"\0",
        lambda raw: raw[:90],
        lambda _: b"",
        lambda _: b"PK\x03\x04" + b"\0" * 90,
    ],
)
def test_values_that_are_not_as_they_were_written_are_none(tmp_path, rng, change):
    path = tmp_path / "a.npy"
    write_array(rng.normal(size=(2, 300)).astype(np.float32), path)
    assert read_stored(path, (2, 300)) is not None
    path.write_bytes(change(path.read_bytes()))
    assert read_stored(path, (2, 300)) is None


def test_values_of_another_type_or_shape_are_none(tmp_path):
    path = tmp_path / "a.npy"
    write_array(np.ones((2, 3)), path)
    assert read_stored(path) is None
    write_array(np.ones((2, 3), np.float32), path)
    assert read_stored(path, (3, 2)) is None
    assert read_stored(path, (2, 3)) is not None
    write_plainly(np.ones((2, 3), np.float32), path)
    assert read_stored(path) is None
