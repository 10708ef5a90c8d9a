import gzip
import hashlib
import os
import struct
import tracemalloc
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
from bold_geometry import BOLD_AFFINE, BOLD_SHAPE
from hypothesis import given
from hypothesis import strategies as st

from fmnet.bold.bold_file import N_AHEAD, open_bold
from fmnet.errors import VolumeError


def read(path):
    with open_bold(path) as file:
        volumes = [np.array(volume) for volume in file.volumes()]
        return file.header, np.stack(volumes, axis=-1), file.stream.finish(file.header.doubt)


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


def patch(path, place, form, *values):
    raw = bytearray(path.read_bytes())
    struct.pack_into(f"<{form}", raw, place, *values)
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(("unit", "per_mm"), [("micron", 1e3), ("meter", 1e-3)])
def test_geometry_is_in_mm_whatever_the_unit(tmp_path, write_bold, unit, per_mm):
    expected = read(write_bold(tmp_path / "mm.nii"))[0]
    path = write_bold(tmp_path / "bold.nii", affine=np.diag([per_mm] * 3 + [1]) @ BOLD_AFFINE)
    patch(path, 123, "B", {"micron": 3, "meter": 1}[unit] | 8)
    header = read(path)[0]
    np.testing.assert_allclose(header.ras[1], expected.ras[1], rtol=1e-6)
    assert (header.t_r, header.description) == (expected.t_r, expected.description)


@pytest.mark.parametrize("unit", [3, 1])
def test_unit_that_makes_no_head_is_named(tmp_path, write_bold, unit):
    path = write_bold(tmp_path / "bold.nii")
    patch(path, 123, "B", unit | 8)
    with pytest.raises(
        VolumeError, match=r"bold\.nii: found voxels of .* unit is (micron|metre)\)"
    ):
        read(path)


def test_unit_of_time_that_nifti_does_not_know_is_none(tmp_path, write_bold):
    path = write_bold(tmp_path / "bold.nii", unit="sec")
    patch(path, 123, "B", 2 | 56)
    assert read(path)[0].t_r is None


def test_the_more_specific_form_is_used(tmp_path, write_bold):
    path = write_bold(tmp_path / "bold.nii")
    image = nib.load(path)
    moved = BOLD_AFFINE + np.array([[0, 0, 0, 30]] + [[0] * 4] * 3)
    image.set_sform(BOLD_AFFINE, 1)
    image.set_qform(moved, 4)
    nib.save(image, tmp_path / "two.nii")
    np.testing.assert_allclose(read(tmp_path / "two.nii")[0].affine, moved, atol=1e-4)
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "two.nii")
    with pytest.raises(VolumeError, match=r"two\.nii: found sform and qform that disagree"):
        read(tmp_path / "two.nii")


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize("offset", [np.nan, np.inf, -1, 348, 352.5, 1e9, 0])
def test_offset_is_right_or_refused(tmp_path, write_bold, name, offset):
    path = write_bold(tmp_path / "bold.nii")
    expected = read(path)[1]
    patch(path, 108, "f", offset)
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    if offset == 0:
        np.testing.assert_array_equal(read(tmp_path / name)[1], expected)
    else:
        with pytest.raises(VolumeError, match=rf"{name}: found voxels said to start at byte"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize(
    ("place", "n", "found"),
    [
        (48, 32767, r"damaged .*bytes can't hold the \d+ that the header claims"),
        (46, 60, r"damaged .*bytes can't hold|damaged .*short of a volume"),
        (46, 32767, r"voxels of 21 x 22 x 23 mm, in all .*7\.54e\+05 mm"),
        (46, -7, r"an image of shape \(6, 7, -7, 5\)"),
    ],
)
def test_dimensions_that_the_file_can_not_hold_take_no_memory(
    tmp_path, write_bold, name, place, n, found
):
    path = write_bold(tmp_path / "bold.nii")
    patch(path, place, "h", n)
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    tracemalloc.start()
    with pytest.raises(VolumeError, match=rf"{name}: found .*({found})"):
        read(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_volumes_larger_than_memory_are_refused_unread(tmp_path, write_bold):
    path = write_bold(tmp_path / "bold.nii", affine=np.diag([0.5, 0.5, 0.5, 1]))
    patch(path, 42, "hhhh", 800, 800, 800, 100)
    os.truncate(path, 352 + 800**3 * 200)
    with pytest.raises(
        VolumeError, match=r"bold\.nii: found .*\(800, 800, 800, 100\), int16; .*MiB"
    ):
        read(path)


def test_file_that_goes_on_far_beyond_its_header_is_refused_unread(tmp_path, write_bold):
    path = write_bold(tmp_path / "bold.nii")
    os.truncate(path, 1 << 42)
    with pytest.raises(
        VolumeError, match=r"bold\.nii: found 4398046511104 bytes; accepted: at most"
    ):
        read(path)


def test_extension_read_as_voxels_is_refused(tmp_path, write_bold):
    image = nib.load(write_bold(tmp_path / "bold.nii"))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("afni", b"x" * 3000))
    nib.save(image, tmp_path / "afni.nii")
    patch(tmp_path / "afni.nii", 108, "f", 352)
    with pytest.raises(VolumeError, match=r"afni\.nii: found .*start inside an extension"):
        read(tmp_path / "afni.nii")


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_offset_0_before_more_than_voxels_take_is_refused(tmp_path, write_bold, name):
    raw = write_bold(tmp_path / "plain.nii").read_bytes()
    raw = raw[:108] + bytes(4) + raw[112:352] + bytes(16) + raw[352:]
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    with pytest.raises(VolumeError, match=r"none said to be the first \(vox_offset 0\)"):
        read(tmp_path / name)


def test_never_opens_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "bold.nii.gz")
    with pytest.raises(VolumeError, match=r"bold\.nii\.gz: found a pipe"):
        read(tmp_path / "bold.nii.gz")


@given(
    place=st.sampled_from(
        [40, 42, 44, 46, 48, 70, 72, 76, 80, 92, 108, 112, 116, 123, 252, 256, 280]
    ),
    value=st.one_of(
        st.binary(min_size=4, max_size=4), st.floats(width=32).map(lambda x: struct.pack("<f", x))
    ),
    is_packed=st.booleans(),
)
def test_any_header_gives_volumes_or_a_fault(tmp_path_factory, place, value, is_packed):
    path = tmp_path_factory.getbasetemp() / "any.nii"
    nib.Nifti1Image(np.ones((*BOLD_SHAPE, 3), np.int16), BOLD_AFFINE).to_filename(path)
    patch(path, place, "4s", value)
    if is_packed:
        path = path.with_suffix(".nii.gz")
        path.write_bytes(gzip.compress((path.parent / "any.nii").read_bytes(), 1))
    with suppress(VolumeError):
        header, volumes, _ = read(path)
        assert np.isfinite(header.affine).all()
        assert volumes.shape == (np.prod(header.shape), header.n_volumes)
        assert header.t_r is None or 0.05 <= header.t_r <= 30


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
