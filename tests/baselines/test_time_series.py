import nibabel as nib
import numpy as np
import pytest
from nilearn.image import resample_img

from fmnet.baselines.connectivity import network_courses, read_regions, region_courses
from fmnet.data.grid import Grid
from fmnet.errors import ConfigError


@pytest.fixture
def grid():
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 1:7, 1:8] = True
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -12, -14, -16
    return Grid(mask, affine, "MNI152")


@pytest.fixture
def write_atlas(tmp_path):
    def write(labels, affine):
        path = tmp_path / "atlas.nii.gz"
        nib.Nifti1Image(np.asarray(labels, dtype=np.float32), affine).to_filename(path)
        return path

    return write


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def standardised(courses):
    return (courses - courses.mean(axis=0)) / courses.std(axis=0)


def test_network_courses_are_found_beside_what_all_voxels_share(rng):
    maps = rng.normal(size=(3, 210)).astype(np.float32)
    courses = rng.normal(size=(50, 3))
    shared = 20 * rng.normal(size=(50, 1))
    values = (courses @ maps + shared).astype(np.float32)
    values[:, 30:40] = np.nan
    values[:25, 50:60] = np.nan
    maps[:, 70:80] = 0
    np.testing.assert_allclose(network_courses(values, maps), standardised(courses), atol=1e-4)


def test_region_courses_are_means_of_what_is_known(rng):
    values = rng.normal(size=(40, 12)).astype(np.float32)
    regions = np.array([0, 0, 0, -1, 1, 1, 1, -1, 2, 2, 2, 2])
    values[:, 1] = np.nan
    values[5, 4] = np.nan
    values[:, 8:] = np.nan
    found = region_courses(values, regions)
    np.testing.assert_allclose(found[:, 0], standardised(values[:, [0, 2]].mean(axis=1)), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], standardised(values[:, [5, 6]].mean(axis=1)), atol=1e-5)
    np.testing.assert_array_equal(found[:, 2], 0)


def test_atlas_is_put_on_the_grid_by_nearest_neighbour(grid, write_atlas, rng):
    """As nilearn does, from another voxel size, to the left first, with labels far apart."""
    labels = rng.choice([0, 3, 70, 2001, 2002], size=(11, 12, 10))
    affine = np.diag([-3.0, 3.0, 3.5, 1.0])
    affine[:3, 3] = 15.1, -17.2, -18.3
    path = write_atlas(labels, affine)
    expected = resample_img(
        nib.load(path), grid.affine, grid.shape, interpolation="nearest",
        force_resample=True, copy_header=True,
    ).get_fdata()[grid.mask]  # fmt: skip
    regions = read_regions(path, "MNI152", grid)
    numbered = np.searchsorted([0, 3, 70, 2001, 2002], expected) - 1
    assert set(regions) == {-1, 0, 1, 2, 3}
    np.testing.assert_array_equal(regions, numbered)


def test_regions_without_a_voxel_are_dropped(grid, write_atlas):
    labels = np.zeros((7, 8, 9))
    labels[0] = 5  # outside the mask
    labels[1:3], labels[3:5], labels[5:] = 2, 9, 7
    found = read_regions(write_atlas(labels, grid.affine), "MNI152", grid)
    assert sorted(set(found)) == [0, 1, 2]


def test_voxels_beyond_the_atlas_belong_to_no_region(grid, write_atlas):
    labels = np.arange(3 * 8 * 9).reshape(3, 8, 9) % 4 + 1
    regions = read_regions(write_atlas(labels, grid.affine), "MNI152", grid)
    assert (regions == -1).mean() == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.full((7, 8, 9), 0.5), "no whole numbers from 0 on"),
        (np.full((7, 8, 9), -1), "no whole numbers from 0 on"),
        (np.ones((7, 8, 9)), r"1 regions with a voxel in the mask; accepted: 3 or more"),
    ],
)
def test_what_is_no_atlas_is_refused(grid, write_atlas, labels, said):
    path = write_atlas(labels, grid.affine)
    with pytest.raises(ConfigError, match=said):
        read_regions(path, "MNI152", grid)
