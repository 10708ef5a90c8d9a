import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fmnet.data.signature_map import SignatureMap
from fmnet.errors import ConfigError
from fmnet.signature.published import COLUMNS, compare_with_published, read_published


@pytest.fixture
def smooth(grid, rng):
    """Smooth volumes on the grid, (3, X, Y, Z)."""
    noise = rng.normal(size=(3, *grid.shape))
    return np.stack([gaussian_filter(one, 1.2) for one in noise]).astype(np.float32)


@pytest.fixture
def signature(grid, smooth):
    values = smooth[:2][:, grid.mask]
    about = ("weights", "score", "positive: more in FM", "ridge", "final", 40)
    return SignatureMap(values, grid, ("pain", "touch"), *about)


def test_similarities_are_what_numpy_says(grid, smooth, signature, write_map, tmp_path):
    path = write_map(tmp_path / "nps.nii.gz", smooth[1] * grid.mask)
    table = compare_with_published(signature, read_published({"NPS": path}, grid), n=99)
    assert table.columns.tolist() == COLUMNS
    one, own = smooth[0][grid.mask].astype(float), smooth[1][grid.mask].astype(float)
    other, same = table.to_dict("records")
    assert other["dot"] == pytest.approx(one @ own, rel=1e-4)
    size = np.linalg.norm(one) * np.linalg.norm(own)
    assert other["cosine"] == pytest.approx(one @ own / size, rel=1e-4)
    assert other["correlation"] == pytest.approx(np.corrcoef(one, own)[0, 1], rel=1e-4)
    assert same["correlation"] == pytest.approx(1)
    assert same["p"] == 0.01
    assert same["p_holm"] == 0.02
    assert other["p_holm"] == other["p"] > 0.02
    assert other["null_low"] < 0 < other["null_high"]
    assert table["n_voxels"].tolist() == [grid.n_voxels] * 2
    assert table["note"].tolist() == ["", ""]


def test_a_map_on_another_grid_stored_from_right_to_left_keeps_its_sides(grid, tmp_path):
    # 10 mm voxels, whose first axis runs to the left, from the far corner of the grid
    volume = np.zeros((17, 19, 21), np.float32)
    affine = np.array([[-10.0, 0, 0, 80], [0, 10, 0, -90], [0, 0, 10, -80], [0, 0, 0, 1]])
    x = (affine[:3, :3] @ np.indices(volume.shape).reshape(3, -1))[0] + affine[0, 3]
    volume[:] = 200 + x.reshape(volume.shape)
    image = nib.Nifti1Image(volume, affine)
    image.set_sform(affine, code="mni")
    nib.save(image, tmp_path / "rising.nii.gz")
    (rising,) = read_published({"rising": tmp_path / "rising.nii.gz"}, grid)
    wanted = 200 + (np.indices(grid.shape)[0] * 20 - 60)[grid.mask]
    np.testing.assert_allclose(rising.values, wanted, rtol=1e-5)


def test_voxels_that_a_weight_map_leaves_out_are_left_out(grid, smooth, signature, write_map,
                                                          tmp_path):  # fmt: skip
    part = smooth[2] * grid.mask
    part[:, :, 4:] = 0
    path = write_map(tmp_path / "part.nii", part)
    published = read_published({"part": path}, grid)
    row = compare_with_published(signature, published, n=99).iloc[0]
    known = (part != 0)[grid.mask]
    expected = np.corrcoef(signature.values[0][known], part[grid.mask][known])[0, 1]
    assert row["correlation"] == pytest.approx(expected, rel=1e-4)
    assert row["n_voxels"] == row["n_nonzero"] == known.sum()
    assert row["note"].startswith(f"values in {known.sum()} voxels, ")


def test_zeros_of_a_thresholded_map_count(grid, smooth, signature, write_map, tmp_path):
    cut = np.where(np.abs(smooth[2]) > np.quantile(np.abs(smooth[2]), 0.7), smooth[2], 0)
    path = write_map(tmp_path / "cut.nii", cut * grid.mask)
    row = compare_with_published(signature, read_published({"cut": path}, grid), n=99).iloc[0]
    expected = np.corrcoef(signature.values[0], cut[grid.mask])[0, 1]
    assert row["correlation"] == pytest.approx(expected, rel=1e-4)
    assert row["n_voxels"] == grid.n_voxels
    assert row["n_nonzero"] == np.count_nonzero(cut[grid.mask])
    assert row["note"].startswith(f"thresholded: values in {row['n_nonzero']} voxels, ")


def test_every_map_that_cannot_be_used_is_named(grid, smooth, write_map, tmp_path):
    few = np.zeros(grid.shape, np.float32)
    few[2:4, 3:5, 4] = [[1, 2], [3, 4]]
    p = write_map(tmp_path / "p.nii", np.abs(smooth[0]) * grid.mask)
    image = nib.load(p)
    image.header.set_intent("p value")
    nib.save(image, p)
    far = grid.affine.copy()
    far[:3, 3] += 1000
    paths = {
        "gone": tmp_path / "gone.nii",
        "few": write_map(tmp_path / "few.nii", few),
        "p": p,
        "own": write_map(tmp_path / "sub-1_space-T1w_stat-z.nii"),
        "far": write_map(tmp_path / "far.nii", affine=far),
        "good": write_map(tmp_path / "good.nii"),
    }
    with pytest.raises(ConfigError, match="5 faults") as raised:
        read_published(paths, grid)
    said = str(raised.value)
    for name, found in {
        "gone.nii": "no such file",
        "few.nii": "4 voxels in the mask",
        "p.nii": "a map whose header says p values",
        "sub-1_space-T1w_stat-z.nii": "space 'T1w'",
        "far.nii": "no overlap with the mask",
    }.items():
        assert f"{name}: found {found}" in said
    assert "good.nii" not in said


def test_no_maps_give_an_empty_table(grid, signature):
    table = compare_with_published(signature, read_published({}, grid))
    assert table.empty
    assert table.columns.tolist() == COLUMNS
