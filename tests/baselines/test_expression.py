import numpy as np
import pytest

from fmnet.baselines.base import score_fold
from fmnet.baselines.expression import Expression
from fmnet.data.nifti import write_volume
from fmnet.data.volume import Volume
from fmnet.errors import ConfigError, VolumeError


@pytest.fixture
def weights(build_data, tmp_path):
    """A weight map on the cohort's grid, and its values in the mask."""
    grid = build_data().cohort.grid
    values = np.random.default_rng(4).normal(size=grid.n_voxels).astype(np.float32)
    volume = Volume(grid.unmask(values[None]), grid.affine, "MNI152", "weights")
    write_volume(volume, tmp_path / "weights.nii.gz")
    return str(tmp_path / "weights.nii.gz"), values.astype(float)


def test_measures_are_what_numpy_says(build_data, fold, weights):
    path, values = weights
    data = build_data(np.random.default_rng(2).normal(size=(30, 2, 210)))
    rows = data.values[20:, 1].astype(float)
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(values)
    expected = {
        "dot": rows @ values,
        "cosine": rows @ values / norms,
        "correlation": [np.corrcoef(row, values)[0, 1] for row in rows],
    }
    for measure, wanted in expected.items():
        model = Expression(path, measure, contrast="b")
        np.testing.assert_allclose(score_fold(model, data, fold).score, wanted, rtol=1e-4)


def test_missing_voxels_are_passed_over(build_data, fold, weights):
    path, values = weights
    maps = np.random.default_rng(2).normal(size=(30, 1, 210))
    maps[:, :, 50:] = np.nan
    scores = score_fold(Expression(path), build_data(maps), fold).score
    np.testing.assert_allclose(scores, maps[20:, 0, :50] @ values[:50], rtol=1e-4)


def test_bad_weights_and_contrasts_are_named(build_data, weights, tmp_path):
    data = build_data()
    with pytest.raises(ConfigError, match=r"contrast 'z'; accepted: a;"):
        Expression(weights[0], contrast="z").lacks(data)
    with pytest.raises(VolumeError, match=r"gone\.nii: found no such file"):
        Expression(str(tmp_path / "gone.nii")).lacks(data)
    far = data.cohort.grid.affine.copy()
    far[:3, 3] = 500
    volume = Volume(np.ones((1, 7, 8, 9), np.float32), far, "MNI152", "far")
    write_volume(volume, tmp_path / "far.nii")
    with pytest.raises(ConfigError, match="no weight in the mask"):
        Expression(str(tmp_path / "far.nii")).lacks(data)
