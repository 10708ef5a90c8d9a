import gzip
import hashlib
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from bold_geometry import BOLD_AFFINE, BOLD_SHAPE

from fmnet.data.bold_file import N_AHEAD, open_bold
from fmnet.errors import VolumeError


def read(path):
    with open_bold(path) as file:
        volumes = [np.array(volume) for volume in file.volumes()]
        return file.header, np.stack(volumes, axis=-1), file.stream.finish()


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz", "BOLD.NII.GZ"])
@pytest.mark.parametrize("n_volumes", [2, 3, 9])
def test_reads_volumes_as_they_lie_in_the_file(
    tmp_path, write_bold, name, image_class, endianness, n_volumes
):
    path = write_bold(
        tmp_path / name, n_volumes=n_volumes, image_class=image_class, endianness=endianness
    )
    header, volumes, digest = read(path)
    image = nib.load(path)
    expected = np.asarray(image.dataobj.get_unscaled())
    np.testing.assert_array_equal(volumes, expected.reshape(-1, n_volumes, order="F"))
    assert (header.shape, header.n_volumes, header.t_r) == (BOLD_SHAPE, n_volumes, 2.0)
    assert header.description == "6x7x8 of 21x22x23 mm, LAS, int16"
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_header_extensions_are_passed_over(tmp_path, write_bold):
    path = write_bold(tmp_path / "plain.nii.gz")
    image = nib.load(path)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 3000))
    nib.save(image, tmp_path / "extended.nii.gz")
    np.testing.assert_array_equal(read(path)[1], read(tmp_path / "extended.nii.gz")[1])


def test_order_turns_a_volume_to_ras(tmp_path, write_bold):
    path = write_bold(tmp_path / "bold.nii")
    header, volumes, _ = read(path)
    order, affine = header.ras
    ras = nib.as_closest_canonical(nib.load(path))
    np.testing.assert_array_equal(volumes[:, 1][order], np.asarray(ras.dataobj)[..., 1])
    np.testing.assert_allclose(affine, ras.affine)


@pytest.mark.parametrize(
    ("t_r", "unit", "seconds"),
    [
        (2.5, "sec", 2.5),
        (800, "msec", 0.8),
        (720_000, "usec", 0.72),
        (2.0, "unknown", 2.0),
        (1.0, "sec", 1.0),
        (1.0, "unknown", None),
        (0.0, "sec", None),
        (2000, "sec", None),
        (None, "", None),
    ],
)
def test_repetition_time_is_in_seconds(tmp_path, write_bold, t_r, unit, seconds):
    path = write_bold(tmp_path / "bold.nii", t_r=t_r, unit=unit)
    assert read(path)[0].t_r == seconds


@pytest.mark.parametrize("shape", [(6, 7, 8), (6, 7, 8, 1), (6, 7, 8, 1, 3)])
def test_refuses_what_is_no_time_series(tmp_path, write_bold, shape):
    path = write_bold(tmp_path / "bold.nii", np.ones(shape, np.int16), t_r=None)
    with pytest.raises(VolumeError, match=r"bold\.nii: found an image of shape \(6, 7, 8"):
        read(path)


def test_refuses_complex_values(tmp_path, write_bold):
    path = write_bold(tmp_path / "bold.nii", np.ones((*BOLD_SHAPE, 3), np.complex64))
    with pytest.raises(VolumeError, match=r"bold\.nii: found values of type complex64"):
        read(path)


@pytest.mark.parametrize(
    ("name", "found"), [("bold.img", "one of a pair of files"), ("bold.mgz", "a file named")]
)
def test_refuses_other_formats(tmp_path, name, found):
    with pytest.raises(VolumeError, match=rf"{name}: found {found}"):
        read(tmp_path / name)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_refuses_truncated_file(tmp_path, write_bold, name, keep):
    path = write_bold(tmp_path / name, n_volumes=20)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(VolumeError, match=rf"{name}: found (a damaged or truncated|\d+ bytes)"):
        read(path)


def test_refuses_flipped_checksum(tmp_path, write_bold):
    path = write_bold(tmp_path / "bold.nii.gz")
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(VolumeError, match=r"bold\.nii\.gz: found a damaged or truncated"):
        read(path)


@pytest.mark.parametrize("kind", ["symlink", "text"])
def test_names_datalad_pointer(tmp_path, kind):
    path = tmp_path / "bold.nii.gz"
    if kind == "symlink":
        path.symlink_to("../.git/annex/objects/2V/Qj/MD5E-s7.nii.gz")
    else:
        path.write_text("/annex/objects/MD5E-s7412588--3eab1328dd20.nii.gz\n")
    with pytest.raises(VolumeError, match=r"bold\.nii\.gz: found a DataLad .*'datalad get bold"):
        read(path)


def test_refuses_gzipped_text(tmp_path):
    path = tmp_path / "bold.nii.gz"
    path.write_bytes(gzip.compress(b"no image"))
    with pytest.raises(VolumeError, match=r"found 8 bytes that are no image header"):
        read(path)


def test_holds_a_few_volumes_only(tmp_path, write_bold):
    data = np.arange(20 * 30 * 40 * 60, dtype=np.int16).reshape(20, 30, 40, 60)
    path = write_bold(tmp_path / "bold.nii.gz", data, BOLD_AFFINE)
    with open_bold(path) as file:
        tracemalloc.start()
        for _ in file.volumes():
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < N_AHEAD * data[..., 0].nbytes + 2**20
    assert peak < data.nbytes / 2


def test_stopping_early_ends_the_thread(tmp_path, write_bold):
    path = write_bold(tmp_path / "bold.nii.gz", n_volumes=30)
    with open_bold(path) as file:
        volumes = file.volumes()
        next(volumes)
        volumes.close()


def test_reads_real_runs(real_data):
    path = next((real_data / "bold/haxby_sub001").rglob("bold_25mm.nii.gz"))
    header, volumes, _ = read(path)
    image = nib.load(path)
    assert header.t_r == 2.5
    np.testing.assert_array_equal(
        volumes, np.asarray(image.dataobj).reshape(-1, image.shape[3], order="F")
    )
