import hashlib

import nibabel as nib
import numpy as np
import pytest

from fmnet.data.image_files import image_files, read_raw, unpack_start
from fmnet.data.nifti import read_volume
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
