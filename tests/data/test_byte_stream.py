import gzip
import hashlib

import numpy as np
import pytest

from fmnet.data.byte_stream import hash_file, open_stream
from fmnet.errors import VolumeError


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
