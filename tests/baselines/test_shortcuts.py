from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from fmnet.baselines.base import score_fold
from fmnet.baselines.shortcuts import (
    Coverage,
    FileGrid,
    Roughness,
    Scale,
    TemporalSnr,
    roughness,
)
from fmnet.training.scan_set import MapScans

LABELS = np.arange(30) % 2


@pytest.fixture
def noise():
    return np.random.default_rng(1).normal(size=(30, 2, 210)).astype(np.float32)


def auc(model, data, fold) -> float:
    return roc_auc_score(LABELS[20:], score_fold(model, data, fold).score)


def test_coverage_sees_missing_voxels_and_nothing_else(build_data, fold, noise):
    noise[LABELS == 1, :, 30:50] = np.nan
    noise[LABELS == 0, :, 150:160] = np.nan
    assert auc(Coverage(), build_data(noise), fold) == 1.0
    louder = np.where(np.isnan(noise), np.nan, noise + 5 * LABELS[:, None, None])
    np.testing.assert_array_equal(
        score_fold(Coverage(), build_data(louder), fold).score,
        score_fold(Coverage(), build_data(noise), fold).score,
    )


def test_equal_coverage_has_nothing_to_see(build_data, noise):
    noise[:, :, 5] = np.nan
    assert Coverage().lacks(build_data(noise)) == "scans that differ in coverage"
    noise[3, :, 6] = np.nan
    assert Coverage().lacks(build_data(noise)) == ""


def test_scale_sees_how_large_values_are(build_data, fold, noise):
    noise[LABELS == 1] *= 1.5
    assert auc(Scale(), build_data(noise), fold) == 1.0
    assert auc(Roughness(), build_data(noise), fold) < 0.9


def test_scale_sees_clipping(build_data, fold, noise):
    limit = 2.2
    noise[LABELS == 1] = np.clip(noise[LABELS == 1], -limit, limit)
    noise[:, :, 7] = np.nan
    table = Scale().table(build_data(noise))
    n_top = (noise[1, 0] >= 0.98 * limit).sum()  # a hundredth of the range of -2.2 to 2.2
    assert n_top > 1
    assert table["log_at_top_0"][1] == pytest.approx(np.log(n_top / 209))
    assert auc(Scale(), build_data(noise), fold) > 0.8


def test_roughness_sees_smoothing(build_data, fold, noise):
    data = build_data(noise)
    volumes = data.cohort.grid.unmask(noise)
    for row in np.flatnonzero(LABELS):
        volumes[row] = gaussian_filter(volumes[row], (0, 1, 1, 1))
    smooth = volumes[:, :, data.cohort.grid.mask]
    smooth /= smooth.std(axis=2, keepdims=True)
    assert auc(Roughness(), build_data(smooth), fold) == 1.0


def test_roughness_of_a_ramp_lies_along_its_axis(build_data):
    data = build_data()
    ramp = np.indices((7, 8, 9))[1][data.cohort.grid.mask].astype(np.float32)
    along = roughness(ramp[None, None], data.cohort.grid)[0, 0]
    np.testing.assert_allclose(along, [0, 1 / ramp.var(), 0], atol=1e-6)


def test_scale_does_not_change_roughness(build_data, noise):
    grid = build_data().cohort.grid
    np.testing.assert_allclose(roughness(noise, grid), roughness(7 * noise, grid), rtol=1e-4)


def test_file_grid_sees_how_files_are_written(build_data, fold, noise):
    grids = ["2 mm" if label else "3 mm" for label in LABELS]
    grids[4] = "never seen in training"
    assert auc(FileGrid(), build_data(noise, grids), fold) == 1.0
    assert FileGrid().lacks(build_data(noise)) == "files that are written differently"


def test_training_scans_of_equal_coverage_say_nothing(build_data, fold, noise):
    noise[25, :, 3] = np.nan
    assert np.ptp(score_fold(Coverage(), build_data(noise), fold).score) < 1e-6


def with_tsnr(data, tsnr):
    stored = tuple(SimpleNamespace(tsnr=one) for one in tsnr)
    cohort = replace(data.cohort, stored=stored)
    return MapScans(cohort, data.values)


def test_temporal_snr_sees_how_noisy_runs_are(build_data, fold):
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.9, 1.1, size=30)
    tsnr = [(20.0, (60.0 - 20 * y) * k, 100.0) for y, k in zip(LABELS, noise, strict=True)]
    tsnr[3] = (0.0, 60.0, float("nan"))
    data = with_tsnr(build_data(), tsnr)
    assert TemporalSnr().lacks(data) == ""
    assert auc(TemporalSnr(), data, fold) == 1.0
    flat = with_tsnr(build_data(), [(20.0, 60.0 * k, 100.0) for k in noise])
    assert auc(TemporalSnr(), flat, fold) < 0.9


def test_maps_have_no_temporal_snr(build_data):
    assert TemporalSnr().lacks(build_data()) == "time series: a cohort of BOLD runs"
