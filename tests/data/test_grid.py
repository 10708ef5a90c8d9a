import numpy as np
import pytest

from fmnet.data.grid import Grid
from fmnet.data.resample import place_on_grid
from fmnet.data.volume import Volume
from fmnet.errors import VolumeError

# the grid --------------------------------------------------------------------------------------


def test_describes_itself(grid):
    assert grid.shape == (7, 8, 9)
    assert grid.voxel_size_mm == (20, 20, 20)
    assert 0 < grid.n_voxels == grid.mask.sum() < 7 * 8 * 9


def test_fixture_tells_left_from_right(grid):
    assert not np.array_equal(grid.mask, grid.mask[::-1])


def test_unmask_puts_values_back(grid, rng):
    values = rng.normal(size=(2, 3, grid.n_voxels)).astype(np.float32)
    volume = grid.unmask(values, fill=-1)
    assert volume.shape == (2, 3, 7, 8, 9)
    np.testing.assert_array_equal(volume[..., grid.mask], values)
    assert (volume[..., ~grid.mask] == -1).all()


def test_digest_depends_on_mask_affine_and_shape(grid):
    other_mask = grid.mask.copy()
    other_mask[3, 3, 3] = False
    other_affine = grid.affine.copy()
    other_affine[0, 3] += 1
    everything = np.ones((2, 3, 4), dtype=bool)
    digests = [
        grid.digest,
        Grid(other_mask, grid.affine, "MNI152").digest,
        Grid(grid.mask, other_affine, "MNI152").digest,
        Grid(everything, grid.affine, "MNI152").digest,
        Grid(everything.reshape(4, 3, 2), grid.affine, "MNI152").digest,
    ]
    assert len(set(digests)) == len(digests)
    assert Grid(grid.mask.copy(), grid.affine.copy(), "MNI152").digest == grid.digest


def test_refuses_unusable_affine(grid):
    with pytest.raises(VolumeError, match="template grid: found a singular affine"):
        Grid(grid.mask, np.zeros((4, 4)), "MNI152")


def test_refuses_unknown_space(grid):
    with pytest.raises(VolumeError, match="template grid: found space 'Talairach'"):
        Grid(grid.mask, grid.affine, "Talairach")


def test_own_space_and_template_do_not_mix(grid):
    values = grid.unmask(np.ones((1, grid.n_voxels), np.float32))
    own = Grid(grid.mask, grid.affine, "own")
    assert place_on_grid(Volume(values, grid.affine, "own"), own).all()
    with pytest.raises(VolumeError, match=r"a: found space 'own'; accepted: MNI152"):
        place_on_grid(Volume(values, grid.affine, "own", "a"), grid)
    with pytest.raises(VolumeError, match=r"a: found space 'MNI152'; accepted: own"):
        place_on_grid(Volume(values, grid.affine, "MNI152", "a"), own)
