import dataclasses

import numpy as np
import pytest

from fmnet.data.volume import MNI_SPACES, OWN_SPACE, Volume, check_affine, check_space, is_ras
from fmnet.errors import VolumeError

AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])
DATA = np.ones((2, 7, 8, 9), dtype=np.float32)


def test_keeps_what_it_is_given():
    volume = Volume(DATA, AFFINE, "MNI152NLin2009cAsym", "a.nii")
    assert volume.data is DATA
    assert volume.affine is AFFINE
    assert (volume.space, volume.name) == ("MNI152NLin2009cAsym", "a.nii")


def test_is_frozen():
    volume = Volume(DATA, AFFINE, "MNI152")
    with pytest.raises(dataclasses.FrozenInstanceError, match="space"):
        volume.space = "MNI152Lin"


@pytest.mark.parametrize("shape", [(7, 8, 9), (1, 1, 7, 8, 9), (0, 7, 8, 9), (1, 7, 0, 9)])
def test_refuses_other_shapes(shape):
    with pytest.raises(VolumeError, match=rf"a\.nii: found an array of shape \({shape[0]}, "):
        Volume(np.zeros(shape, dtype=np.float32), AFFINE, "MNI152", "a.nii")


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.bool_])
def test_refuses_other_types(dtype):
    with pytest.raises(VolumeError, match=rf"a\.nii: found values of type {np.dtype(dtype)}"):
        Volume(DATA.astype(dtype), AFFINE, "MNI152", "a.nii")


@pytest.mark.parametrize("space", ["T1w", "mni152", "", "MNIPediatricAsym", "fsaverage"])
def test_refuses_other_spaces(space):
    with pytest.raises(VolumeError, match=rf"a\.nii: found space '{space}'; accepted: MNI152, "):
        Volume(DATA, AFFINE, space, "a.nii")


@pytest.mark.parametrize("space", MNI_SPACES)
def test_accepts_every_mni_space(space):
    check_space(space, "a.nii")
    assert Volume(DATA, AFFINE, space).space == space


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([2.0, 0.0, 4.0, 1.0]),
        np.full((4, 4), np.nan),
        np.diag([2.0, np.inf, 4.0, 1.0]),
        np.eye(3),
        np.array([[2.0, 2, 0, 0], [3, 3, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]]),
        np.array([[2.0, 1e30, 0, 0], [0, 3, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]]),
    ],
    ids=["zero axis", "nan", "infinite", "3 x 3", "parallel axes", "axes all but parallel"],
)
def test_refuses_unusable_affine(affine):
    with pytest.raises(VolumeError, match=r"a\.nii: found a singular affine \[\["):
        Volume(DATA, affine, "MNI152", "a.nii")


def test_accepts_one_thick_slice():
    check_affine(np.diag([0.5, 0.5, 500.0, 1.0]), "a.nii")
    with pytest.raises(VolumeError, match="singular affine"):
        check_affine(np.diag([0.5, 0.5, 0.0, 1.0]), "a.nii")


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_refuses_sizes_whose_squares_are_no_numbers(size):
    with pytest.raises(VolumeError, match=r"a\.nii: found an affine whose voxels have no size"):
        check_affine(np.diag([size, size, size, 1.0]), "a.nii")


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1)])
def test_refuses_flipped_axes(signs):
    flipped = AFFINE * np.array([*signs, 1])
    assert not is_ras(flipped)
    with pytest.raises(VolumeError, match=r"a\.nii: found axes in another order than RAS\+"):
        Volume(DATA, flipped, "MNI152", "a.nii")


def test_refuses_permuted_axes():
    with pytest.raises(VolumeError, match=r"a\.nii: found axes in another order than RAS\+"):
        Volume(DATA, AFFINE[:, [1, 2, 0, 3]], "MNI152", "a.nii")


def test_own_space_is_for_volumes_but_for_no_cohort():
    assert Volume(DATA, AFFINE, OWN_SPACE).space == OWN_SPACE
    with pytest.raises(VolumeError, match=r"a\.nii: found space 'own'; accepted: MNI152, "):
        check_space(OWN_SPACE, "a.nii")


@pytest.mark.parametrize("last", [[0, 0, 0, 0], [0, 0, 0, 2], [0.1, 0, 0, 1]])
def test_a_matrix_with_another_last_row_is_no_affine(last):
    matrix = np.diag([2.0, 3, 4, 1])
    matrix[3] = last
    with pytest.raises(VolumeError, match=r"last row is not 0, 0, 0, 1"):
        check_affine(matrix, "map")
