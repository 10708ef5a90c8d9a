import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import pdist

from benchmarks.power.cortex import APART_MM, Cortex, filled_part, find_cortex
from fmnet.data.grid import Grid
from fmnet.errors import ConfigError


@pytest.fixture(scope="module")
def plates():
    """Two flat plates of 3 mm, 2 mm apart, that face each other: the banks of a sulcus."""
    x, y = np.meshgrid(np.arange(60.0), np.arange(50.0), indexing="ij")
    layers = [np.stack([x, y, np.full_like(x, z)], axis=-1).reshape(-1, 3) for z in range(8)]
    points = np.concatenate([*layers[:3], *layers[5:]])
    up = np.array([0, 0, 1], np.float32)
    normals = np.repeat([up, -up], len(points) // 2, axis=0)
    return Cortex(points, normals)


def test_patch_keeps_to_its_bank(plates):
    seed = int(np.flatnonzero((plates.points == [30, 25, 2]).all(axis=1)).item())
    patch = plates.points[plates.patch(seed, 9.0)]
    assert set(patch[:, 2]) == {0, 1, 2}
    assert np.linalg.norm(patch - [30, 25, 2], axis=1).max() <= 9
    assert len(patch) == pytest.approx(np.pi * 81 * 3, rel=0.05)


def test_patch_is_connected():
    points = np.array([[x, 0.0, 0.0] for x in (0, 1, 2, 5, 6)])
    cortex = Cortex(points, np.tile(np.float32([0, 0, 1]), (5, 1)))
    assert sorted(cortex.patch(0, 20.0)) == [0, 1, 2]
    assert sorted(cortex.patch(4, 20.0)) == [3, 4]


def test_patches_are_apart_and_come_again(plates):
    patches = plates.draw_patches(2, 7.0, np.random.default_rng(0))
    again = plates.draw_patches(2, 7.0, np.random.default_rng(0))
    assert all(np.array_equal(*both) for both in zip(patches, again, strict=True))
    assert pdist([patch.mean(axis=0) for patch in patches]).min() > APART_MM - 7
    with pytest.raises(ConfigError, match="no 30 patches of cortex of 7 mm, 24 mm apart"):
        plates.draw_patches(30, 7.0, np.random.default_rng(0))


def test_voxels_hold_the_part_that_is_filled():
    mask = np.ones((3, 4, 5), bool)
    mask[2, 3, 4] = False
    grid = Grid(mask, np.diag([4.0, 4, 4, 1]), "MNI152")
    # millimetres of two voxels: all 64 of one, 4 of the other; and one outside of the grid
    cubes = np.stack(np.meshgrid(*[np.arange(-2, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.concatenate(
        [cubes + np.array([4, 8, 12]), cubes[:4] + np.array([8, 0, 4]), [[-30, 0, 0]]]
    )
    filled = grid.unmask(filled_part(points + 0.25, grid))
    assert filled[1, 2, 3] == 1
    assert filled[2, 0, 1] == pytest.approx(4 / 64)
    assert filled.sum() == pytest.approx(1 + 4 / 64)


def test_sheets_of_the_template_are_thin_and_wide(brain):
    cortex = find_cortex()
    patches = cortex.draw_patches(5, 13.5, np.random.default_rng(3))
    for patch in patches:
        lattice = np.rint(patch - patch.min(axis=0)).astype(int) + 1
        box = np.zeros(lattice.max(axis=0) + 2, bool)
        box[tuple(lattice.T)] = True
        assert distance_transform_edt(box).max() <= 3  # no ball of more than that fits inside
        assert pdist(patch[::20]).max() > 20
    assert len({tuple(patch[0]) for patch in patches}) == 5
    sheets = cortex.sheets(3, 13.5, brain.grid, np.random.default_rng(3))
    assert sheets.shape == (3, brain.grid.n_voxels)
    assert (sheets.max(axis=1) > 0.5).all()
    # the cerebellum is left out
    behind = (brain.places[:, 1] < -45) & (brain.places[:, 2] < -25)
    assert behind.any()
    inside = (cortex.points[:, 1] < -41) & (cortex.points[:, 2] < -16)
    assert not inside.any()
