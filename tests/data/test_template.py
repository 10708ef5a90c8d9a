import numpy as np
import pytest

from fmnet.data.template import build_grid
from fmnet.errors import VolumeError


def world(grid):
    """World coordinates of the in-mask voxels: (V, 3), in mm."""
    return np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def test_controls_share_no_voxel_with_what_is_looked_at():
    brain, grey, rest = (build_grid(8, name) for name in ("brain", "grey_matter", "non_grey"))
    assert grey.n_voxels + rest.n_voxels == brain.n_voxels
    background = build_grid(8, "background")
    centre = np.linalg.inv(background.affine) @ [0, -20, 10, 1]
    x, y, z = np.round(centre[:3]).astype(int)
    assert not background.mask[x - 3 : x + 4, y - 3 : y + 4, z - 2 : z + 3].any()
    assert background.n_voxels > 1000


@pytest.mark.parametrize("voxel_size_mm", [8, 12])
def test_builds_default_grid(voxel_size_mm):
    grid = build_grid(voxel_size_mm)
    assert grid.voxel_size_mm == (voxel_size_mm,) * 3
    litres = grid.n_voxels * voxel_size_mm**3 / 1e6
    assert 1.5 < litres < 2.3
    for axis in range(3):
        edges = np.moveaxis(grid.mask, axis, 0)[[0, -1]]
        assert edges.any(axis=(1, 2)).all()  # cropped to the mask
    assert np.abs(world(grid).mean(axis=0)[0]) < 5  # as much brain on the left as on the right


@pytest.mark.parametrize("voxel_size_mm", [4, 8, 12])
def test_grey_matter_is_part_of_the_brain_at_every_size(voxel_size_mm):
    brain, grey = build_grid(voxel_size_mm), build_grid(voxel_size_mm, "grey_matter")
    assert 0.7 < grey.n_voxels / brain.n_voxels < 0.8
    assert set(map(tuple, world(grey))) < set(map(tuple, world(brain)))


@pytest.mark.parametrize("voxel_size_mm", [0, -4, 13])
def test_refuses_voxel_size(voxel_size_mm):
    with pytest.raises(VolumeError, match=rf"preparation\.voxel_size_mm: found {voxel_size_mm};"):
        build_grid(voxel_size_mm)
