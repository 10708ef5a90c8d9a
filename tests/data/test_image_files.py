import gzip
import hashlib
import os
import socket
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fmnet.data.image_files import check_is_there, hash_file, image_files, open_stream, unpack_start
from fmnet.data.nifti import read_raw, read_volume
from fmnet.errors import VolumeError

AFFINE = np.array([[2.0, 0, 0, -6], [0, 3, 0, -10], [0, 0, 4, -16], [0, 0, 0, 1]])


@pytest.fixture
def data(rng):
    return rng.normal(size=(7, 8, 9)).astype(np.float32)


def test_names_all_files_of_an_image(tmp_path, write_map, data):
    write_map(tmp_path / "a.img", data, AFFINE, nib.Spm99AnalyzeImage)
    files = image_files(tmp_path / "a.hdr")
    assert {role: path.name for role, path in files.items()} == {
        "image": "a.img",
        "header": "a.hdr",
        "mat": "a.mat",
    }
    single = write_map(tmp_path / "b.nii.gz", data, AFFINE)
    assert image_files(single) == {"image": single}


@pytest.mark.parametrize("given", ["A.IMG", "A.HDR"])
def test_pairs_may_be_written_in_capitals(tmp_path, write_map, data, given):
    expected = read_volume(
        write_map(tmp_path / "a.img", data, AFFINE, nib.Spm99AnalyzeImage), "MNI152"
    )
    for name in ("a.img", "a.hdr", "a.mat"):
        (tmp_path / name).rename(tmp_path / name.upper())
    volume = read_volume(tmp_path / given, "MNI152")
    np.testing.assert_array_equal(volume.data, expected.data)
    np.testing.assert_array_equal(volume.affine, expected.affine)


def test_orientation_that_was_not_fetched_is_not_passed_over(tmp_path, write_map, data):
    path = write_map(tmp_path / "a.img", data, AFFINE, nib.Spm99AnalyzeImage)
    (tmp_path / "a.mat").unlink()
    (tmp_path / "a.mat").symlink_to("../.git/annex/objects/2V/Qj/MD5E-s7.mat")
    with pytest.raises(VolumeError, match=r"a\.mat: found a DataLad .*'datalad get a\.mat'"):
        read_volume(path, "MNI152")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img"])
def test_raw_image_is_read_once_for_all(tmp_path, write_map, data, name, monkeypatch):
    image_class = nib.Spm99AnalyzeImage if name == "a.img" else nib.Nifti1Image
    path = write_map(tmp_path / name, data, AFFINE, image_class)
    raw = read_raw(path)
    files = image_files(path).values()
    assert raw.sha256 == hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    for file in files:
        file.unlink()
    volume = read_volume(raw, "MNI152")
    np.testing.assert_array_equal(volume.data[0], data)
    assert volume.name == str(path)


def test_start_of_a_damaged_file_is_refused(tmp_path):
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: found a damaged or truncated file"):
        unpack_start(tmp_path / "a.nii.gz", b"no gzip")


# what a path leads to ----------------------------------------------------------------------------


def test_never_opens_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "map.nii")
    with pytest.raises(VolumeError, match=r"map\.nii: found a pipe \(FIFO\); .* content to a file"):
        read_raw(tmp_path / "map.nii")


def test_never_opens_a_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket has 107 bytes at most
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("map.nii.gz")
        with pytest.raises(VolumeError, match=r"map\.nii\.gz: found a socket"):
            read_raw(Path("map.nii.gz"))


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full"])
def test_never_opens_a_device(tmp_path, device):
    (tmp_path / "map.nii").symlink_to(device)
    with pytest.raises(VolumeError, match=r"map\.nii: found a device"):
        read_raw(tmp_path / "map.nii")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (
            "x" * 300 + ".nii",
            r"\.\.\.x+\.nii: found a path of \d+ bytes, 304 of them in one name",
        ),
        ("x/" * 2500 + "map.nii", r"\.\.\.(x/|/x)+/map\.nii: found a path of 5\d\d\d bytes, "),
        ("a\0b.nii", r"found no file \(embedded null byte\)"),
        ("\ud800.nii", r"found no file \(.* can't encode"),
        ("note.txt/map.nii", "found no such file"),
        ("ring.nii", r"found no file \(Too many levels of symbolic links\)"),
    ],
)
def test_names_what_no_file_can_be_called(tmp_path, name, found):
    (tmp_path / "note.txt").touch()
    (tmp_path / "ring.nii").symlink_to("ring.nii")
    with pytest.raises(VolumeError, match=found):
        check_is_there(tmp_path / name)


def test_says_what_the_caller_accepts(tmp_path):
    with pytest.raises(VolumeError, match="found a folder; accepted: a table of people;"):
        check_is_there(tmp_path, "a table of people")


def test_follows_links_to_files(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    (tmp_path / "link.nii").symlink_to(path)
    assert read_raw(tmp_path / "link.nii").sha256 == read_raw(path).sha256


@pytest.fixture
def content(rng):
    return rng.integers(0, 9, 3_000_000, dtype=np.uint8).tobytes()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_reads_skips_and_fills(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    with open_stream(path) as stream:
        assert stream.read(5) == content[:5]
        stream.skip(2_000_000)
        buffer = np.empty(50_000, np.uint16)
        stream.fill(buffer)
        assert buffer.tobytes() == content[2_000_005:2_100_005]
        digest = stream.finish()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == hash_file(path)


def test_files_of_several_gzip_members_are_one(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:2000]))
    with open_stream(path) as stream:
        assert stream.read(5000) == content[:2000]
        assert stream.finish() == hash_file(path)


def test_file_that_ends_too_early_is_damaged(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(b"x" * 600)
    with (
        pytest.raises(VolumeError, match=r"a\.nii: .*400 bytes short of a volume"),
        open_stream(path) as stream,
    ):
        stream.fill(np.empty(1000, np.uint8))


def test_names_file_that_can_not_be_hashed(tmp_path):
    with pytest.raises(VolumeError, match=r"a\.nii: found no such file"):
        hash_file(tmp_path / "a.nii")


def test_goes_no_further_than_padding(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content, 1) + gzip.compress(bytes(1 << 26)))
    with open_stream(path) as stream:
        stream.skip(len(content))
        with pytest.raises(VolumeError, match=r"a\.nii\.gz: found more than 1048576 bytes behind"):
            stream.finish()
