import struct

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.nifti import check_size, describe_grid, notes_on, read_volume
from fmnet.errors import VolumeError

SHAPE = (7, 8, 9)
# x from right to left, edges that differ, and a little oblique
AFFINE = np.eye(4)
AFFINE[:3, :3] = nib.quaternions.quat2mat((1, 0.01, 0, 0.02)) @ np.diag([-11, 12, 13])
AFFINE[:3, 3] = 40, -50, -60


@pytest.fixture
def data(rng):
    return rng.normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def write_forms(tmp_path, data):
    """Write a map with an sform, a qform, their codes, a unit, and fields that are overwritten."""

    def write(
        sform=AFFINE, qform=None, codes=(4, 4), unit="mm", image_class=nib.Nifti1Image, **fields
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
    return np.diag([factor, factor, factor, 1.0]) @ AFFINE


def turned(axis, angle):
    """Turn the world about one of its axes."""
    turn, (i, j) = np.eye(4), [k for k in range(3) if k != axis]
    turn[i, i] = turn[j, j] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    return turn @ AFFINE


def moved(*by):
    affine = AFFINE.copy()
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
        (AFFINE, moved(0.4, 0, 0)),
        (AFFINE, turned(1, np.radians(0.2))),
        (AFFINE + np.array([[0, 0.5, 0, 0]] + [[0] * 4] * 3), None),
        (AFFINE + np.array([[0, 3, 0, 0]] + [[0] * 4] * 3), None),
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
    mirrored = np.diag([-1.0, 1, 1, 1]) @ AFFINE
    path = write_forms(qform=mirrored, codes=tuple(map(int, code.split(" and "))))
    with pytest.raises(VolumeError, match=rf"swap left and right .*codes: {code}.* one handedness"):
        read_volume(path, "MNI152")


SPECIFIC = [1, 2, 3, 5, 4]


@given(codes=st.permutations(SPECIFIC).map(lambda order: order[:2]), axis=st.integers(0, 2))
def test_the_more_specific_space_is_used_and_said(tmp_path_factory, codes, axis):
    other = turned(axis, np.pi)
    image = nib.Nifti1Image(np.arange(1, 505, dtype=np.float32).reshape(SHAPE), AFFINE)
    image.set_sform(AFFINE, codes[0])
    image.set_qform(other, codes[1])
    path = tmp_path_factory.getbasetemp() / "two_forms.nii"
    image.to_filename(path)
    used = "sform" if SPECIFIC.index(codes[0]) > SPECIFIC.index(codes[1]) else "qform"
    alone = nib.Nifti1Image(image.dataobj, AFFINE if used == "sform" else other)
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
    image = nib.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE)
    image.set_sform(None, 0)
    image.set_qform(AFFINE, 1)
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
    ras = AFFINE * np.array([-1, 1, 1, 1])
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
