import gzip
import itertools
import os
import struct
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.nifti import (
    ANALYZE_NOTE,
    check_size,
    describe_grid,
    load_image,
    notes_on,
    read_volume,
    to_image,
    volume_from_image,
    write_series,
    write_volume,
)
from fmnet.data.volume import Volume, is_ras
from fmnet.errors import VolumeError

SHAPE = (7, 8, 9)
AFFINE = np.array([[2.0, 0, 0, -6], [0, 3, 0, -10], [0, 0, 4, -16], [0, 0, 0, 1]])
POINTER = "../.git/annex/objects/2V/Qj/MD5E-s7412588--3eab.nii.gz/MD5E-s7412588--3eab.nii.gz"


@pytest.fixture
def data(rng):
    return rng.normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def map_gz(tmp_path, write_map, data):
    return write_map(tmp_path / "map.nii.gz", data, AFFINE)


def damage(path, position, value):
    """Overwrite one stretch of bytes."""
    raw = bytearray(path.read_bytes())
    raw[position : position + len(value)] = value
    path.write_bytes(bytes(raw))


# reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_class", "name"),
    [
        (nib.Nifti1Image, "map.nii"),
        (nib.Nifti1Image, "map.nii.gz"),
        (nib.Nifti1Image, "MAP.NII.GZ"),
        (nib.Nifti2Image, "map.nii"),
        (nib.Nifti2Image, "map.nii.gz"),
        (nib.Nifti1Pair, "map.img"),
        (nib.Nifti1Pair, "map.hdr"),
        (nib.Nifti1Pair, "map.img.gz"),
        (nib.Nifti1Pair, "map.hdr.gz"),
        (nib.Nifti2Pair, "map.img"),
        (nib.Nifti2Pair, "map.img.gz"),
        (nib.Spm99AnalyzeImage, "map.img"),
        (nib.Spm99AnalyzeImage, "map.hdr"),
    ],
)
def test_reads_format(tmp_path, write_map, data, image_class, name):
    path = write_map(tmp_path / name, data, AFFINE, image_class)
    volume = read_volume(path, "MNI152Lin")
    np.testing.assert_array_equal(volume.data, data[None])
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert (volume.space, volume.name) == ("MNI152Lin", str(path))
    assert volume.data.dtype == np.float32
    assert volume.data.flags.c_contiguous


def test_reads_analyze_without_mat_as_spm_does(tmp_path, write_map, data):
    path = write_map(tmp_path / "con_0001.img", data, np.diag([2.0, 3, 4, 1]), nib.AnalyzeImage)
    assert not (tmp_path / "con_0001.mat").exists()
    volume = read_volume(path, "MNI152")
    np.testing.assert_array_equal(volume.data[0], data[::-1])
    np.testing.assert_allclose(np.diag(volume.affine), [2, 3, 4, 1])


def test_notes_analyze_without_mat_only(tmp_path, write_map, data):
    analyze = write_map(tmp_path / "a.img", data, np.diag([2.0, 3, 4, 1]), nib.AnalyzeImage)
    with_mat = write_map(tmp_path / "b.img", data, AFFINE, nib.Spm99AnalyzeImage)
    pair = write_map(tmp_path / "c.img", data, AFFINE, nib.Nifti1Pair)
    single = write_map(tmp_path / "d.nii.gz", data, AFFINE)
    assert notes_on(analyze) == ANALYZE_NOTE
    assert [notes_on(path) for path in (with_mat, pair, single)] == ["", "", ""]


def test_mat_of_spm_beats_the_header(tmp_path, write_map, data):
    path = write_map(tmp_path / "a.img", data, AFFINE, nib.Spm99AnalyzeImage)
    from_mat = read_volume(path, "MNI152")
    (tmp_path / "a.mat").unlink()
    from_header = read_volume(path, "MNI152")
    np.testing.assert_array_equal(from_mat.data[0], data)
    np.testing.assert_array_equal(from_header.data[0], data[::-1])


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize(
    ("image_class", "suffix"),
    [
        (nib.Nifti1Image, ".nii.gz"),
        (nib.Nifti2Image, ".nii"),
        (nib.Nifti1Pair, ".img"),
        (nib.Spm99AnalyzeImage, ".img"),
    ],
)
def test_reads_both_byte_orders(tmp_path, data, image_class, suffix, endianness):
    header = image_class.header_class(endianness=endianness)
    header.set_data_dtype(np.float32)
    path = tmp_path / f"map{suffix}"
    image_class(data, AFFINE, header).to_filename(path)
    header_file = path.with_suffix(".hdr") if suffix == ".img" else path
    raw = header_file.read_bytes()
    raw = gzip.decompress(raw) if suffix.endswith(".gz") else raw
    assert struct.unpack(f"{endianness}i", raw[:4])[0] in {348, 540}
    np.testing.assert_array_equal(read_volume(path, "MNI152").data[0], data)


def test_applies_slope_and_intercept(tmp_path, rng):
    stored = rng.integers(-300, 300, SHAPE).astype(np.int16)
    path = tmp_path / "map.nii.gz"
    nib.Nifti1Image(stored, AFFINE).to_filename(tmp_path / "plain.nii")
    raw = bytearray((tmp_path / "plain.nii").read_bytes())
    raw[112:120] = struct.pack("<ff", 0.25, -7.0)
    path.write_bytes(gzip.compress(bytes(raw)))
    expected = stored * 0.25 - 7
    expected[expected == 0] = np.nan
    np.testing.assert_array_equal(read_volume(path, "MNI152").data[0], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16, np.float64])
def test_reads_type(tmp_path, write_map, rng, dtype):
    data = rng.integers(1, 200, SHAPE).astype(dtype)
    path = write_map(tmp_path / "map.nii.gz", data, AFFINE)
    np.testing.assert_array_equal(read_volume(path, "MNI152").data[0], data.astype(np.float32))


def test_keeps_nan(tmp_path, write_map, data):
    data[0, 1, 2] = np.nan
    volume = read_volume(write_map(tmp_path / "map.nii", data, AFFINE), "MNI152")
    np.testing.assert_array_equal(np.argwhere(np.isnan(volume.data)), [[0, 0, 1, 2]])


def test_accepts_a_trailing_axis_of_one(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.nii.gz", data[..., None], AFFINE)
    np.testing.assert_array_equal(read_volume(path, "MNI152").data, data[None])


@pytest.mark.parametrize("shape", [(7, 8, 9, 2), (7, 8), (7, 8, 9, 1, 3)])
def test_refuses_other_axes(tmp_path, write_map, shape):
    path = write_map(tmp_path / "map.nii.gz", np.ones(shape, np.float32), AFFINE)
    with pytest.raises(VolumeError, match=rf"map\.nii\.gz: found an image of shape \({shape[0]}, "):
        read_volume(path, "MNI152")


def test_refuses_complex_values(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.nii.gz", data.astype(np.complex64), AFFINE)
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found values of type complex64"):
        read_volume(path, "MNI152")


def test_refuses_rgb(tmp_path, write_map):
    data = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = write_map(tmp_path / "map.nii.gz", data, AFFINE)
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found values of type \[\('R'"):
        read_volume(path, "MNI152")


def test_refuses_space(map_gz):
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found space 'T1w'"):
        read_volume(map_gz, "T1w")


# orientation ---------------------------------------------------------------------------------


def reorder(data, affine, order, flips):
    """Store the same image with other axes: data and affine turned together, by hand."""
    turned = np.transpose(data, order)
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for new, old in enumerate(order):
        to_old[old, new] = -1 if flips[new] else 1
        to_old[old, 3] = data.shape[old] - 1 if flips[new] else 0
    return np.flip(turned, [axis for axis in range(3) if flips[axis]]), affine @ to_old


ORIENTATIONS = [
    (order, flips)
    for order in itertools.permutations(range(3))
    for flips in itertools.product([False, True], repeat=3)
]


@given(orientation=st.sampled_from(ORIENTATIONS), seed=st.integers(0, 2**31))
def test_axes_turned_with_the_affine_give_the_same_volume(orientation, seed):
    data = np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)
    turned, affine = reorder(data, AFFINE, *orientation)
    volume = volume_from_image(nib.Nifti1Image(turned, affine), "MNI152", "turned")
    np.testing.assert_array_equal(volume.data[0], data)
    np.testing.assert_allclose(volume.affine, AFFINE)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_data_flipped_alone_give_another_volume(tmp_path, write_map, data, axis):
    flipped = np.flip(data, axis)
    volume = read_volume(write_map(tmp_path / "flipped.nii.gz", flipped, AFFINE), "MNI152")
    np.testing.assert_array_equal(volume.data[0], flipped)
    assert not np.array_equal(volume.data[0], data)


@pytest.mark.parametrize(
    ("signs", "name"), [((1, 1, 1), "RAS"), ((-1, 1, 1), "LAS"), ((-1, -1, 1), "LPS")]
)
def test_reads_orientation_from_disk(tmp_path, write_map, data, signs, name):
    turned, affine = reorder(data, AFFINE, (0, 1, 2), [sign < 0 for sign in signs])
    assert "".join(nib.aff2axcodes(affine)) == name
    volume = read_volume(write_map(tmp_path / f"{name}.nii.gz", turned, affine), "MNI152")
    np.testing.assert_array_equal(volume.data[0], data)


unit = st.floats(-1, 1).filter(lambda value: abs(value) > 0.01)


@given(quaternion=st.tuples(unit, unit, unit, unit), peak=st.tuples(*map(st.integers, (0,) * 3)))
def test_oblique_voxels_keep_their_place_in_the_world(quaternion, peak):
    peak = tuple(index % length for index, length in zip(peak, SHAPE, strict=True))
    affine = np.eye(4)
    rotation = nib.quaternions.quat2mat(np.array(quaternion))
    affine[:3, :3] = rotation @ np.diag([2.0, 3, 4])
    affine[:3, 3] = [-6, 5, 4]
    data = np.zeros(SHAPE, dtype=np.float32)
    data[peak] = 1
    volume = volume_from_image(nib.Nifti1Image(data, affine), "MNI152", "oblique")
    found = np.argwhere(np.isfinite(volume.data[0]))[0]
    assert is_ras(volume.affine)
    np.testing.assert_allclose(volume.affine @ [*found, 1], affine @ [*peak, 1], atol=1e-4)


def test_refuses_no_stated_orientation(tmp_path, data):
    image = nib.Nifti1Image(data, None)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    image.to_filename(tmp_path / "map.nii.gz")
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found no stated orientation \(qform"):
        read_volume(tmp_path / "map.nii.gz", "MNI152")


@pytest.mark.parametrize(("sform", "qform"), [(0, 1), (4, 0)])
def test_one_stated_orientation_is_enough(tmp_path, data, sform, qform):
    image = nib.Nifti1Image(data, AFFINE)
    image.set_sform(AFFINE, sform)
    image.set_qform(AFFINE, qform)
    image.to_filename(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "map.nii.gz", "MNI152").affine, AFFINE)


def test_refuses_sform_and_qform_of_opposite_handedness(tmp_path, data):
    image = nib.Nifti1Image(data, AFFINE)
    image.set_sform(AFFINE, 4)
    image.set_qform(AFFINE * np.array([-1, 1, 1, 1]), 4)
    image.to_filename(tmp_path / "map.nii.gz")
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found sform and qform that swap left"):
        read_volume(tmp_path / "map.nii.gz", "MNI152")


def test_refuses_a_quaternion_that_is_none(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    damage(path, 252, struct.pack("<h", 1))  # qform_code
    damage(path, 256, struct.pack("<ff", 3, 3))  # quatern_b, quatern_c
    with pytest.raises(VolumeError, match=r"map\.nii: found a qform whose quaternion is none"):
        read_volume(path, "MNI152")


@pytest.mark.parametrize(
    ("row", "found"),
    [((0.0, 0, 0, 0), r"\[\[0\.0, 0\.0"), ((np.nan, 0, 0, 0), r"\[\[nan"), ((0, 1e38, 0, 0), "")],
    ids=["singular", "nan", "huge"],
)
def test_refuses_unusable_affine(tmp_path, write_map, data, row, found):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    damage(path, 280, struct.pack("<ffff", *row))  # srow_x
    with pytest.raises(VolumeError, match=rf"map\.nii: found a singular affine {found}"):
        read_volume(path, "MNI152")


# files that are not what they should be --------------------------------------------------------


def test_refuses_missing_file(tmp_path):
    with pytest.raises(VolumeError, match=r"gone\.nii\.gz: found no such file"):
        read_volume(tmp_path / "gone.nii.gz", "MNI152")


def test_refuses_folder(tmp_path):
    (tmp_path / "map.nii").mkdir()
    with pytest.raises(VolumeError, match=r"map\.nii: found a folder"):
        read_volume(tmp_path / "map.nii", "MNI152")


@pytest.mark.parametrize("name", ["map.mgz", "map.PAR", "map+tlrc.BRIK", "map", "map.nii.bz2"])
def test_refuses_other_suffix(tmp_path, name):
    with pytest.raises(VolumeError, match=rf"found a file named '{name.replace('+', '.')}'"):
        read_volume(tmp_path / name, "MNI152")


@pytest.mark.parametrize(("kept", "gone"), [(".img", ".hdr"), (".hdr", ".img")])
def test_refuses_half_a_pair(tmp_path, write_map, data, kept, gone):
    write_map(tmp_path / "map.img", data, AFFINE, nib.Nifti1Pair)
    (tmp_path / f"map{gone}").unlink()
    with pytest.raises(VolumeError, match=rf"map\{gone}: found no such file"):
        read_volume(tmp_path / f"map{kept}", "MNI152")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".img"])
@pytest.mark.parametrize(
    "content",
    [b"", b"participant_id\tgroup\n" * 40, b"\x89PNG\r\n\x1a\n" + bytes(500)],
    ids=["empty", "text", "png"],
)
def test_refuses_what_is_no_image(tmp_path, content, suffix):
    (tmp_path / "map.hdr").write_bytes(content)
    (tmp_path / f"map{suffix}").write_bytes(content)
    with pytest.raises(VolumeError, match=r"map\.\w+(\.gz)?: found (\d+ bytes|a damaged|an empty)"):
        read_volume(tmp_path / f"map{suffix}", "MNI152")


def test_refuses_gzipped_text(tmp_path):
    (tmp_path / "map.nii.gz").write_bytes(gzip.compress(b"participant_id\tgroup\n" * 40))
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found 552 bytes that are no image"):
        read_volume(tmp_path / "map.nii.gz", "MNI152")


def test_refuses_truncated_gzip_at_every_tenth(map_gz):
    raw = map_gz.read_bytes()
    for cut in range(1, len(raw), len(raw) // 10):
        map_gz.write_bytes(raw[:cut])
        with pytest.raises(VolumeError, match=r"map\.nii\.gz: found (a damaged|\d+ bytes)"):
            read_volume(map_gz, "MNI152")


@pytest.mark.parametrize("missing", range(1, 10))
def test_refuses_gzip_cut_inside_its_trailer(map_gz, missing):
    map_gz.write_bytes(map_gz.read_bytes()[:-missing])
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found a damaged or truncated file"):
        read_volume(map_gz, "MNI152")


def test_refuses_flipped_crc(map_gz):
    size = len(map_gz.read_bytes())
    damage(map_gz, size - 8, bytes([map_gz.read_bytes()[size - 8] ^ 1]))
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found a damaged .*CRC"):
        read_volume(map_gz, "MNI152")


def test_a_flipped_byte_in_gzip_never_changes_values(map_gz, data):
    raw = map_gz.read_bytes()
    positions = [*range(24), *range(24, len(raw) - 8, 7), *range(len(raw) - 8, len(raw))]
    messages = []
    for position in positions:
        changed = bytearray(raw)
        changed[position] ^= 0xFF
        map_gz.write_bytes(bytes(changed))
        try:
            volume = read_volume(map_gz, "MNI152")
        except VolumeError as error:
            messages.append(str(error))
        else:  # some bytes of the gzip header say nothing about the content
            np.testing.assert_array_equal(volume.data[0], data)
    assert len(messages) > len(positions) - 12
    assert all("map.nii.gz: found" in message for message in messages)


def test_damaged_header_is_refused_or_read_but_never_crashes(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    raw = path.read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for position in range(352):
        changed = bytearray(raw)
        changed[position] ^= 0xFF
        path.write_bytes(bytes(changed))
        try:
            volume = read_volume(path, "MNI152")
        except VolumeError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            assert is_ras(volume.affine)
    assert outcomes["refused"] > 20
    assert outcomes["read"] > 200


@pytest.mark.parametrize("missing", [1, 400, 2000])
def test_refuses_truncated_plain_file(tmp_path, write_map, data, missing):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(VolumeError, match=r"map\.nii: found a damaged or truncated file"):
        read_volume(path, "MNI152")


def test_refuses_truncated_image_of_a_pair(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.img", data, AFFINE, nib.Spm99AnalyzeImage)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(VolumeError, match=r"map\.img: found a damaged or truncated file"):
        read_volume(path, "MNI152")


def test_refuses_broken_mat(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.img", data, AFFINE, nib.Spm99AnalyzeImage)
    (tmp_path / "map.mat").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    with pytest.raises(VolumeError, match=r"map\.mat: found a damaged or truncated file"):
        read_volume(path, "MNI152")


def test_names_datalad_pointer_of_a_broken_symlink(tmp_path):
    (tmp_path / "map.nii.gz").symlink_to(POINTER)
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found a DataLad .*'datalad get map\."):
        read_volume(tmp_path / "map.nii.gz", "MNI152")


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz"])
def test_names_datalad_pointer_of_an_unlocked_file(tmp_path, name):
    (tmp_path / name).write_text("/annex/objects/MD5E-s7412588--3eab1328dd20.nii.gz\n")
    with pytest.raises(VolumeError, match=rf"{name}: found a DataLad .*'datalad get {name}'"):
        read_volume(tmp_path / name, "MNI152")


def test_broken_symlink_outside_annex_is_a_missing_file(tmp_path):
    (tmp_path / "map.nii.gz").symlink_to(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found no such file"):
        read_volume(tmp_path / "map.nii.gz", "MNI152")


@pytest.mark.parametrize("method", ["read_bytes", "stat"])
def test_names_file_without_permission(map_gz, monkeypatch, method):
    def deny(path: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, deny)
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found a file that this account may not"):
        read_volume(map_gz, "MNI152")


def test_names_failing_disk(map_gz, monkeypatch):
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found Input/output error;"):
        read_volume(map_gz, "MNI152")


# where voxels start, and how many there are -------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("image_class", "place", "form"), [(nib.Nifti1Image, 108, "f"), (nib.Nifti2Image, 168, "q")]
)
def test_offset_0_is_the_first_place_behind_the_header(
    tmp_path, write_map, data, image_class, place, form, packed
):
    path = write_map(tmp_path / "map.nii", data, AFFINE, image_class)
    damage(path, place, struct.pack(f"<{form}", 0))
    if packed:
        (tmp_path / "map.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "map.nii.gz"
    np.testing.assert_array_equal(read_volume(path, "MNI152").data[0], data)


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz"])
def test_more_bytes_than_voxels_take_are_noted_or_refused(tmp_path, write_map, data, name):
    plain = write_map(tmp_path / "plain.nii", data, AFFINE)
    damage(plain, 108, struct.pack("<f", 368))
    raw = plain.read_bytes()
    path = tmp_path / name
    pack = gzip.compress if name.endswith("gz") else bytes

    def write(offset, room, rest):
        start = raw[:108] + struct.pack("<f", offset) + raw[112:352]
        path.write_bytes(pack(start + bytes(room) + raw[352:] + bytes(rest)))

    write(368, 16, 0)
    volume = read_volume(path, "MNI152")
    np.testing.assert_array_equal(volume.data[0], data)
    assert volume.note == ""
    write(368, 16, 5)
    volume = read_volume(path, "MNI152")
    np.testing.assert_array_equal(volume.data[0], data)
    assert volume.note == "the file holds 5 bytes more than its header says"
    write(0, 16, 0)
    with pytest.raises(VolumeError, match=r"none said to be the first \(vox_offset 0\)"):
        read_volume(path, "MNI152")


@pytest.mark.parametrize("offset", [1, 100, 348, 351, 352.5, -352, 1e9, np.nan, np.inf, -np.inf])
def test_refuses_offset_where_no_voxel_can_start(tmp_path, write_map, data, offset):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    damage(path, 108, struct.pack("<f", offset))
    with pytest.raises(
        VolumeError, match=r"map\.nii: found voxels said to start at byte \S+ \(vox"
    ):
        read_volume(path, "MNI152")


@pytest.mark.parametrize("offset", [353, 360, 400, 16_000_000])
def test_refuses_offset_behind_the_first_voxel(tmp_path, write_map, data, offset):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    damage(path, 108, struct.pack("<f", offset))
    with pytest.raises(
        VolumeError, match=rf"map\.nii: found a damaged .*\({offset - 352} bytes sho"
    ):
        read_volume(path, "MNI152")


def test_refuses_voxels_written_before_the_first_place(tmp_path, write_map, data):
    raw = write_map(tmp_path / "map.nii", data, AFFINE).read_bytes()
    (tmp_path / "map.nii").write_bytes(raw[:108] + bytes(4) + raw[112:348] + raw[352:])
    with pytest.raises(VolumeError, match=r"(\(4 bytes short|said to start at byte 0 )"):
        read_volume(tmp_path / "map.nii", "MNI152")


@pytest.fixture
def afni(tmp_path, data):
    """Write a map as AFNI does, with its history in an extension of the header."""
    image = nib.Nifti1Image(data, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("afni", b"<AFNI_atr " + b"x" * 5000))
    image.to_filename(tmp_path / "afni.nii")
    return tmp_path / "afni.nii"


def test_header_extensions_are_passed_over(afni, data):
    np.testing.assert_array_equal(read_volume(afni, "MNI152").data[0], data)
    assert describe_grid(afni) == "7x8x9 of 2x3x4 mm, RAS, float32"
    assert notes_on(afni) == ""


@pytest.mark.parametrize("size", [2**31 - 1, -16, 0, 10_000])
def test_extension_may_claim_any_size_where_voxels_are_found(afni, data, size):
    damage(afni, 352, struct.pack("<i", size))
    np.testing.assert_array_equal(read_volume(afni, "MNI152").data[0], data)


@pytest.mark.parametrize(
    ("offset", "found"), [(352, "start inside an extension"), (0, "said to start at byte 0")]
)
def test_refuses_an_extension_read_as_voxels(afni, offset, found):
    damage(afni, 108, struct.pack("<f", offset))
    with pytest.raises(VolumeError, match=rf"afni\.nii: found .*{found}"):
        read_volume(afni, "MNI152")


@pytest.mark.parametrize("n", [0, -5])
def test_refuses_axes_without_voxels(tmp_path, write_map, data, n):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    damage(path, 44, struct.pack("<h", n))
    with pytest.raises(VolumeError, match=rf"map\.nii: found an image of shape \(7, {n}, 9\)"):
        read_volume(path, "MNI152")


@pytest.mark.parametrize("n", [0, -1, 8, 7000])
def test_refuses_numbers_of_axes_that_nifti_does_not_know(tmp_path, write_map, data, n):
    path = write_map(tmp_path / "map.nii", data, AFFINE)
    damage(path, 40, struct.pack("<h", n))
    with pytest.raises(VolumeError, match=r"map\.nii: found an image of shape \("):
        read_volume(path, "MNI152")


def test_refuses_a_map_larger_than_memory_unread(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.nii", data, AFFINE / 4 + np.diag([0, 0, 0, 0.75]))
    damage(path, 42, struct.pack("<hhh", 1000, 1000, 1000))
    with pytest.raises(
        VolumeError, match=r"map\.nii: found .*\(1000, 1000, 1000\), 3,815 MiB; accepted"
    ):
        read_volume(path, "MNI152")


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz", "map.img"])
def test_refuses_files_that_go_on_far_beyond_their_header_unread(
    tmp_path, write_map, data, name, monkeypatch
):
    image_class = nib.Nifti1Pair if name == "map.img" else nib.Nifti1Image
    path = write_map(tmp_path / name, data, AFFINE, image_class)
    os.truncate(path, 1 << 42)  # 4 TiB, of which the disk keeps nothing
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(VolumeError, match=rf"{name}: found 4398046511104 bytes; accepted: at most"):
        read_volume(path, "MNI152")


@pytest.mark.parametrize("members", [1, 2])
def test_unpacks_no_more_than_the_header_claims(tmp_path, write_map, data, members):
    raw = write_map(tmp_path / "map.nii", data, AFFINE).read_bytes()
    bomb = gzip.compress(bytes(1 << 26))
    path = tmp_path / "map.nii.gz"
    path.write_bytes(
        gzip.compress(raw) + bomb if members == 2 else gzip.compress(raw + bytes(2**26))
    )
    tracemalloc.start()
    with pytest.raises(VolumeError, match=r"map\.nii\.gz: found more than \d+ bytes, unpacked"):
        read_volume(path, "MNI152")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_padding_behind_the_voxels_is_none_of_them(tmp_path, write_map, data):
    raw = write_map(tmp_path / "map.nii", data, AFFINE).read_bytes()
    (tmp_path / "map.nii").write_bytes(raw + bytes(512))
    (tmp_path / "map.nii.gz").write_bytes(gzip.compress(raw[:999]) + gzip.compress(raw[999:]))
    for name in ("map.nii", "map.nii.gz"):
        np.testing.assert_array_equal(read_volume(tmp_path / name, "MNI152").data[0], data)


def test_refuses_a_large_mat(tmp_path, write_map, data):
    path = write_map(tmp_path / "a.img", data, AFFINE, nib.Spm99AnalyzeImage)
    os.truncate(tmp_path / "a.mat", 1 << 40)
    with pytest.raises(VolumeError, match=r"a\.mat: found 1099511627776 bytes"):
        read_volume(path, "MNI152")


@pytest.mark.parametrize(
    "content", [b"", b"hello" * 20, bytes(200)], ids=["empty", "text", "zeros"]
)
def test_refuses_a_damaged_mat(tmp_path, write_map, data, content):
    path = write_map(tmp_path / "a.img", data, AFFINE, nib.Spm99AnalyzeImage)
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(
        VolumeError, match=r"a\.(mat|img): found (a damaged or truncated|an empty) file"
    ):
        read_volume(path, "MNI152")


# anything at all in a header ----------------------------------------------------------------------

values = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.integers(-(2**15), 2**15 - 1).map(lambda n: struct.pack("<h", n)),
    st.floats(width=32).map(lambda x: struct.pack("<f", x)),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: struct.pack("<q", n)),
    st.sampled_from([bytes(8), b"\xff" * 8, struct.pack("<f", 1e38)]),
)
#: Where fields start: of NIfTI-1, which Analyze shares in part, and of NIfTI-2.
PLACES = (
    0,
    40,
    42,
    44,
    46,
    48,
    68,
    70,
    72,
    76,
    80,
    84,
    88,
    92,
    108,
    112,
    116,
    123,
    252,
    254,
    256,
    260,
)
PLACES += (264, 268, 280, 296, 312, 328, 344, 348, 352, 4, 12, 14, 16, 24, 104, 168, 176, 500, 540)
KINDS = [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair, nib.Spm99AnalyzeImage]


@given(
    kind=st.sampled_from(KINDS),
    is_packed=st.booleans(),
    changes=st.lists(
        st.tuples(st.one_of(st.sampled_from(PLACES), st.integers(0, 555)), values), max_size=3
    ),
)
def test_any_header_gives_a_volume_or_a_fault(tmp_path_factory, kind, is_packed, changes):
    is_pair = kind in {nib.Nifti1Pair, nib.Spm99AnalyzeImage}
    path = tmp_path_factory.getbasetemp() / f"any{'.img' if is_pair else '.nii'}"
    kind(np.arange(504, dtype=np.int16).reshape(SHAPE), AFFINE).to_filename(path)
    header = path.with_suffix(".hdr") if is_pair else path
    for place, value in changes:
        damage(header, min(place, len(header.read_bytes()) - 8), value)
    if is_packed:
        for file in {path, header}:
            Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes(), 1))
        path = Path(f"{path}.gz")
    with np.errstate(all="ignore"), suppress(VolumeError):
        volume = read_volume(path, "MNI152")
        assert np.isfinite(volume.affine).all()
        assert is_ras(volume.affine)
        sides = np.linalg.norm(volume.affine[:3, :3], axis=0) * volume.data.shape[1:]
        assert 25 <= sides.max() <= 1500
        assert " mm, " in describe_grid(path)
        assert notes_on(path) == volume.note


# files and writing -----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_written_volume_reads_back(tmp_path, rng, channels):
    data = rng.normal(size=(channels, *SHAPE)).astype(np.float32)
    path = tmp_path / "signature.nii.gz"
    write_volume(Volume(data, AFFINE, "MNI152"), path)
    image = load_image(path)
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 4
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.affine, AFFINE)
    stored = np.asarray(image.dataobj).reshape(*SHAPE, channels)
    np.testing.assert_array_equal(np.moveaxis(stored, -1, 0), data)


def test_written_series_keeps_values_place_and_repetition_time(tmp_path, rng):
    data = rng.integers(0, 9000, size=(*SHAPE, 5)).astype(np.int16)
    write_series(data, AFFINE, 0.8, tmp_path / "bold.nii.gz")
    image = nib.load(tmp_path / "bold.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)
    np.testing.assert_allclose(image.affine, AFFINE)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert image.header["pixdim"][4] == pytest.approx(0.8)


def test_to_image_wraps_array(data):
    image = to_image(data, AFFINE)
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)
    np.testing.assert_allclose(image.affine, AFFINE)


# how a file is written --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img", "b.hdr"])
def test_describes_the_grid_from_the_header(tmp_path, name):
    affine = np.diag([-2.0, 3.0, 3.3, 1.0])
    image_class = nib.Nifti1Pair if name.endswith(("img", "hdr")) else nib.Nifti1Image
    image_class(np.zeros((7, 8, 9), np.int16), affine).to_filename(tmp_path / name)
    assert describe_grid(tmp_path / name) == "7x8x9 of 2x3x3.3 mm, LAS, int16"


def test_describes_what_the_volume_is_read_from(tmp_path):
    nib.Nifti2Image(np.ones((5, 6, 7), np.float64), np.diag([4.0, 4, 4, 1])).to_filename(
        tmp_path / "n2.nii.gz"
    )
    assert describe_grid(tmp_path / "n2.nii.gz") == "5x6x7 of 4x4x4 mm, RAS, float64"


# real data -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "count"), [("maps_4mm", 368), ("maps_native", 22), ("templates", 4)]
)
def test_reads_every_real_map(real_data, folder, count):
    paths = sorted((real_data / folder).rglob("*.nii.gz"))
    assert len(paths) == count
    for path in paths:
        volume = read_volume(path, "MNI152")
        assert len(volume.data) == 1
        assert np.isfinite(volume.data).any()
        assert is_ras(volume.affine)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("functional.nii", r"an image of shape \(17, 21, 3, 20\)"),
        ("example4d.nii.gz", r"an image of shape \(128, 96, 24, 2\)"),
        ("example_nifti2.nii.gz", r"an image of shape \(32, 20, 12, 2\)"),
        ("phantom_EPI_asc_CLEAR_2_1.PAR", "a file named"),
        ("phantom_EPI_asc_CLEAR_2_1.REC", "a file named"),
        ("scaled+tlrc.BRIK", "a file named"),
        ("scaled+tlrc.HEAD", "a file named"),
        ("test.mgz", "a file named"),
    ],
)
def test_refuses_other_real_formats(real_data, name, found):
    with pytest.raises(VolumeError, match=found):
        read_volume(real_data / "bold" / "formats" / name, "MNI152")


def test_reads_real_image_of_the_other_byte_order(real_data):
    path = real_data / "bold" / "formats" / "anatomical.nii"
    raw = path.read_bytes()
    assert raw[:4] == struct.pack(">i", 348)
    offset, slope, intercept = (int(value) for value in struct.unpack(">fff", raw[108:120]))
    assert (slope, intercept) == (1, 0)
    stored = np.frombuffer(raw, ">i2", offset=offset).reshape((33, 41, 25), order="F")
    volume = read_volume(path, "MNI152")
    np.testing.assert_array_equal(np.sort(volume.data, axis=None), np.sort(stored, axis=None))
    flips = [int(sign) for sign in np.sign(np.diag(nib.load(path).affine)[:3])]
    np.testing.assert_array_equal(volume.data[0], stored[:: flips[0], :: flips[1], :: flips[2]])


# x from right to left, edges that differ, and a little oblique
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = nib.quaternions.quat2mat((1, 0.01, 0, 0.02)) @ np.diag([-11, 12, 13])
OBLIQUE[:3, 3] = 40, -50, -60


@pytest.fixture
def write_forms(tmp_path, data):
    """Write a map with an sform, a qform, their codes, a unit, and fields that are overwritten."""

    def write(
        sform=OBLIQUE, qform=None, codes=(4, 4), unit="mm", image_class=nib.Nifti1Image, **fields
    ):
        image = image_class(data, sform)
        image.set_sform(sform, codes[0])
        image.set_qform(sform if qform is None else qform, codes[1], strip_shears=True)
        image.header.set_xyzt_units(unit)
        path = tmp_path / "map.nii"
        image.to_filename(path)
        raw = bytearray(path.read_bytes())
        places = {
            "qfac": (76, "f"),
            "pixdim": (80, "f"),
            "unit_code": (123, "B"),
            "both_codes": (252, "hh"),
        }
        places |= {"quaternion": (256, "fff"), "srow_x": (280, "ffff")}
        for name, value in fields.items():
            offset, form = places[name]
            struct.pack_into(f"<{form}", raw, offset, *np.atleast_1d(value))
        path.write_bytes(bytes(raw))
        return path

    return write


def scaled(factor):
    return np.diag([factor, factor, factor, 1.0]) @ OBLIQUE


def turned(axis, angle):
    """Turn the world about one of its axes."""
    turn, (i, j) = np.eye(4), [k for k in range(3) if k != axis]
    turn[i, i] = turn[j, j] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    return turn @ OBLIQUE


def moved(*by):
    affine = OBLIQUE.copy()
    affine[:3, 3] += by
    return affine


# units -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_class", "codes"),
    [
        (nib.Nifti1Image, (4, 4)),
        (nib.Nifti1Image, (2, 0)),
        (nib.Nifti1Image, (0, 1)),
        (nib.Nifti2Image, (4, 0)),
    ],
)
@pytest.mark.parametrize(("unit", "per_mm"), [("micron", 1e3), ("meter", 1e-3), ("mm", 1)])
def test_geometry_is_in_mm_whatever_the_unit(write_forms, unit, per_mm, codes, image_class):
    expected = read_volume(write_forms(codes=codes, image_class=image_class), "MNI152")
    path = write_forms(scaled(per_mm), codes=codes, unit=unit, image_class=image_class)
    volume = read_volume(path, "MNI152")
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.data, expected.data)
    assert describe_grid(path) == "7x8x9 of 11x12x13 mm, LAS, float32"


@pytest.mark.parametrize("code", [0, 5, 8, 0xC0])
def test_no_unit_is_mm(write_forms, code):
    expected = read_volume(write_forms(), "MNI152")
    found = read_volume(write_forms(unit_code=code), "MNI152")
    np.testing.assert_array_equal(found.affine, expected.affine)


@pytest.mark.parametrize("codes", [(4, 4), (2, 0), (0, 1)])
@pytest.mark.parametrize(
    ("factor", "unit", "found"),
    [
        (1, "micron", r"voxels of 0\.011 x 0\.012 x 0\.013 mm, .* \(the header's unit is micron\)"),
        (1, "meter", r"voxels of 1\.1e\+04 x .* \(the header's unit is metre\)"),
        (1e3, "mm", r"\(the header's unit is mm\)"),
        (1e-3, "mm", r"\(the header's unit is mm\)"),
        (1e3, "unknown", r"\(the header states no unit: mm\)"),
        (0.1, "mm", r"in all 7\.7 x 9\.6 x 11\.7 mm \(the header's unit is mm\)"),
    ],
)
def test_size_that_no_head_has_names_the_unit(write_forms, factor, unit, found, codes):
    path = write_forms(scaled(factor), unit=unit, codes=codes)
    with pytest.raises(VolumeError, match=rf"map\.nii: found .*{found}.*xyzt_units"):
        read_volume(path, "MNI152")


@pytest.mark.parametrize(
    ("edges", "shape"),
    [
        ((25, 25, 25), (6, 10, 10)),  # coarse
        ((0.5, 0.5, 0.5), (364, 436, 364)),  # fine
        ((3.1, 3.75, 3.8), (40, 20, 1)),  # one slice
        ((1, 1, 1000), (200, 200, 1)),  # one thick slice
        ((2, 3, 4), (7, 8, 9)),  # a corner of a brain
    ],
)
def test_sizes_of_real_images_pass(edges, shape):
    check_size(np.diag([*edges, 1.0]), shape, "map.nii")


def test_analyze_is_in_mm(tmp_path, write_map, data):
    path = write_map(tmp_path / "a.img", data, np.diag([2e3, 3e3, 4e3, 1]), nib.AnalyzeImage)
    with pytest.raises(VolumeError, match=r"a\.img: found voxels of 2e\+03 x 3e\+03 x 4e\+03 mm"):
        read_volume(path, "MNI152")


# two forms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_axes_turned_between_forms_of_one_code_are_refused(write_forms, axis, code):
    path = write_forms(qform=turned(axis, np.pi), codes=(code, code))
    swapped = "swap left and right between them" if axis else "disagree"
    with pytest.raises(VolumeError, match=rf"map\.nii: found sform and qform that {swapped} \(cod"):
        read_volume(path, "MNI152")


@pytest.mark.parametrize(
    "qform",
    [moved(500, 0, 0), moved(0, 8, 0), turned(2, np.radians(10)), scaled(1.2)],
    ids=["far", "near", "a little turned", "larger"],
)
def test_forms_of_one_code_that_lie_apart_are_refused(write_forms, qform):
    found = r"sform and qform that disagree \(codes: 1 and 1; corners .* up to \d+(\.\d+)? mm apart"
    with pytest.raises(VolumeError, match=rf"map\.nii: found {found}"):
        read_volume(write_forms(qform=qform, codes=(1, 1)), "MNI152")


@pytest.mark.parametrize(
    ("sform", "qform"),
    [
        (OBLIQUE, moved(0.4, 0, 0)),
        (OBLIQUE, turned(1, np.radians(0.2))),
        (OBLIQUE + np.array([[0, 0.5, 0, 0]] + [[0] * 4] * 3), None),
        (OBLIQUE + np.array([[0, 3, 0, 0]] + [[0] * 4] * 3), None),
    ],
    ids=["moved", "turned", "sheared", "sheared a lot"],
)
def test_rounding_and_small_shears_are_no_disagreement(write_forms, sform, qform):
    path = write_forms(sform, qform, codes=(1, 1))
    expected = nib.as_closest_canonical(nib.load(path)).affine
    np.testing.assert_allclose(read_volume(path, "MNI152").affine, expected)
    assert notes_on(path) == ""


@pytest.mark.parametrize("code", ["4 and 4", "4 and 1", "1 and 4"])
def test_opposite_handedness_is_refused_whatever_the_codes(write_forms, code):
    mirrored = np.diag([-1.0, 1, 1, 1]) @ OBLIQUE
    path = write_forms(qform=mirrored, codes=tuple(map(int, code.split(" and "))))
    with pytest.raises(VolumeError, match=rf"swap left and right .*codes: {code}.* one handedness"):
        read_volume(path, "MNI152")


SPECIFIC = [1, 2, 3, 5, 4]


@given(codes=st.permutations(SPECIFIC).map(lambda order: order[:2]), axis=st.integers(0, 2))
def test_the_more_specific_space_is_used_and_said(tmp_path_factory, codes, axis):
    other = turned(axis, np.pi)
    image = nib.Nifti1Image(np.arange(1, 505, dtype=np.float32).reshape(SHAPE), OBLIQUE)
    image.set_sform(OBLIQUE, codes[0])
    image.set_qform(other, codes[1])
    path = tmp_path_factory.getbasetemp() / "two_forms.nii"
    image.to_filename(path)
    used = "sform" if SPECIFIC.index(codes[0]) > SPECIFIC.index(codes[1]) else "qform"
    alone = nib.Nifti1Image(image.dataobj, OBLIQUE if used == "sform" else other)
    expected = nib.as_closest_canonical(alone)
    volume = read_volume(path, "MNI152")
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-3)
    np.testing.assert_array_equal(volume.data[0], expected.dataobj)
    assert notes_on(path).startswith(f"{used} (")
    assert notes_on(path).endswith("disagree about left and right" if axis else "differ")


def test_says_which_form_is_used(write_forms):
    path = write_forms(qform=moved(30, 0, 0), codes=(4, 1))
    assert notes_on(path) == "sform (MNI) is used; it and qform (scanner) differ"
    assert notes_on(write_forms(codes=(4, 1))) == ""


@pytest.mark.parametrize("codes", [(9, 0), (0, -1), (4, 300)])
def test_codes_that_nifti_does_not_know_are_refused(write_forms, codes):
    with pytest.raises(VolumeError, match=r"map\.nii: found [sq]form_code (9|-1|300); accepted: a"):
        read_volume(write_forms(codes=(1, 1), both_codes=codes[::-1]), "MNI152")


# quaternions and the sign of z -------------------------------------------------------------------


@pytest.mark.parametrize("codes", [(4, 1), (0, 1)])
@pytest.mark.parametrize("quaternion", [(0.6, 0.8, 0.001), (0.6, 0.8, 0.02), (0, 1.0005, 0)])
def test_quaternion_rounded_to_just_over_one_is_usable(write_forms, codes, quaternion):
    volume = read_volume(write_forms(codes=codes, quaternion=quaternion), "MNI152")
    if codes[0]:
        np.testing.assert_allclose(volume.affine, read_volume(write_forms(), "MNI152").affine)
    else:
        exact = np.array(quaternion) / np.linalg.norm(quaternion)
        rounded_down = write_forms(codes=codes, quaternion=exact * (1 - 1e-7))
        expected = read_volume(rounded_down, "MNI152").affine
        np.testing.assert_allclose(volume.affine, expected, atol=0.1)


@pytest.mark.parametrize("codes", [(4, 1), (0, 1)])
@pytest.mark.parametrize("b", [1.1, 3, np.nan, np.inf])
def test_quaternion_that_is_none_is_refused(write_forms, codes, b):
    with pytest.raises(VolumeError, match=r"map\.nii: found a qform whose quaternion is none \(b,"):
        read_volume(write_forms(codes=codes, quaternion=(b, 0, 0)), "MNI152")


@given(parts=st.tuples(*[st.floats(-0.5, 0.5, width=32)] * 3), qfac=st.sampled_from([-1.0, 1.0]))
def test_qform_is_read_as_nibabel_does(tmp_path_factory, parts, qfac):
    image = nib.Nifti1Image(np.ones(SHAPE, np.float32), OBLIQUE)
    image.set_sform(None, 0)
    image.set_qform(OBLIQUE, 1)
    for name, value in zip("bcd", parts, strict=True):
        image.header[f"quatern_{name}"] = value
    image.header["pixdim"][0] = qfac
    expected = nib.as_closest_canonical(nib.Nifti1Image(image.dataobj, image.header.get_qform()))
    path = tmp_path_factory.getbasetemp() / "qform.nii"
    path.write_bytes(image.header.binaryblock + bytes(4) + bytes(7 * 8 * 9 * 4))
    np.testing.assert_array_equal(read_volume(path, "MNI152").affine, expected.affine)


@pytest.mark.parametrize("qfac", [5, np.nan, 2, -3])
def test_sign_of_z_that_is_none_matters_where_the_qform_is_used(write_forms, qfac):
    expected = read_volume(write_forms(), "MNI152")
    for codes in [(4, 1), (4, 4)]:
        volume = read_volume(write_forms(codes=codes, qfac=qfac), "MNI152")
        np.testing.assert_array_equal(volume.affine, expected.affine)
    for codes in [(0, 1), (1, 4)]:
        with pytest.raises(VolumeError, match=r"found a qform that reverses z or not by pixdim\[0"):
            read_volume(write_forms(codes=codes, qfac=qfac), "MNI152")


def test_sign_of_z_that_is_none_does_not_hide_turned_axes(write_forms):
    path = write_forms(qform=turned(1, np.pi), codes=(1, 1), qfac=5)
    with pytest.raises(VolumeError, match="sform and qform that swap left and right"):
        read_volume(path, "MNI152")


def test_sign_0_of_z_is_read_as_1(write_forms):
    ras = OBLIQUE * np.array([-1, 1, 1, 1])
    expected = read_volume(write_forms(ras, codes=(0, 1), qfac=1), "MNI152")
    path = write_forms(ras, codes=(0, 1), qfac=0)
    np.testing.assert_array_equal(read_volume(path, "MNI152").affine, expected.affine)
    assert describe_grid(path) == "7x8x9 of 11x12x13 mm, RAS, float32"


@pytest.mark.parametrize("edge", [0, np.nan, np.inf])
def test_qform_without_edges_is_refused(write_forms, edge):
    with pytest.raises(
        VolumeError, match=r"map\.nii: found a qform with voxels of \[(0.0|nan|inf)"
    ):
        read_volume(write_forms(codes=(0, 1), pixdim=edge), "MNI152")
    assert read_volume(write_forms(codes=(4, 0), pixdim=edge), "MNI152").name


def test_sform_that_is_none_is_refused_though_the_qform_is_used(write_forms):
    path = write_forms(codes=(1, 4), srow_x=(np.nan, 0, 0, 0))
    with pytest.raises(VolumeError, match=r"map\.nii: found a singular affine \[\[nan"):
        read_volume(path, "MNI152")


# real data -------------------------------------------------------------------------------------


def test_no_real_image_has_a_note_but_what_nibabel_reads(real_data):
    paths = [
        *(real_data / "maps_native").rglob("*.nii.gz"),
        *(real_data / "templates").rglob("*.nii.gz"),
    ]
    for path in paths:
        expected = nib.as_closest_canonical(nib.load(path)).affine
        np.testing.assert_array_equal(read_volume(path, "MNI152").affine, expected)
        assert notes_on(path) == ""


def test_analyze_of_two_dimensions_is_refused(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.img", data, AFFINE, nib.AnalyzeImage)
    damage(path.with_suffix(".hdr"), 40, struct.pack("<8h", 2, 21, 24, 1, 1, 1, 1, 1))
    with pytest.raises(VolumeError, match=r"an image of shape \(21, 24\)"):
        read_volume(path, "MNI152")


def test_doubtful_headers_write_nothing_to_the_terminal(tmp_path, write_map, data):
    path = write_map(tmp_path / "map.img", data, AFFINE, nib.Spm99AnalyzeImage)
    damage(path.with_suffix(".hdr"), 80, struct.pack("<f", -2.0))  # pixdim[1]
    code = "import sys, pathlib; from fmnet.data.nifti import read_volume; "
    code += "read_volume(pathlib.Path(sys.argv[1]), 'MNI152')"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert done.stderr == b""
