from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from fmnet.baselines.base import score_fold
from fmnet.baselines.shortcuts import (
    Columns,
    Coverage,
    FileGrid,
    Roughness,
    Scale,
    TemporalSnr,
    covariate_values,
    roughness,
)
from fmnet.errors import ConfigError
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


def test_number_that_gives_the_label_away_is_found(build_data, fold):
    data = build_data(age=[f"{30 + 20 * label + k % 5}" for k, label in enumerate(LABELS)])
    assert auc(Columns(columns=["age"]), data, fold) == 1.0


def test_text_that_gives_the_label_away_is_found(build_data, fold):
    data = build_data(sex=["F" if label else "M" for label in LABELS])
    assert auc(Columns(columns=["sex", "site"]), data, fold) == 1.0


def test_missing_values_are_imputed_and_tell_themselves(build_data, fold):
    ages = [str(40 + k % 7) if label else "" for k, label in enumerate(LABELS)]
    assert auc(Columns(columns=["age"]), build_data(age=ages), fold) == 1.0


def test_unseen_category_is_no_fault(build_data, fold):
    sites = ["A", "B"] * 10 + ["C", "D"] * 5
    assert np.isfinite(
        score_fold(Columns(columns=["site"]), build_data(site=sites), fold).score
    ).all()


def test_says_what_is_lacking(build_data):
    data = build_data(site=["A"] * 30)
    lack = Columns(columns=["age", "site"]).lacks(data)
    assert lack == "no column age or site that differs between people"


def test_label_column_is_refused(build_data):
    with pytest.raises(ConfigError, match="the label column 'group'"):
        Columns(columns=["age", "group"]).lacks(build_data())


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "2.5", ""], [1.0, 2.5, None]),
        (["1", "2,5", "n/a"], [1.0, 2.5, None]),
        (["12 %", "7 %", ""], [12.0, 7.0, None]),
        (["1", "x", ""], ["1", "x", None]),
    ],
)
def test_columns_are_numbers_where_the_audit_reads_numbers(build_data, texts, expected):
    values = covariate_values(build_data(score=texts * 10).cohort, "score")
    assert [None if value != value else value for value in values[:3]] == expected


@pytest.mark.parametrize(
    "name", ["mean_fd", "FD_mean", "meanFD", "fd_power", "Framewise_Displacement"]
)
def test_motion_is_found_under_any_usual_name(build_data, fold, name):
    motion = [f"{0.2 + 0.1 * label + 0.001 * (k % 5):.3f}" for k, label in enumerate(LABELS)]
    model = Columns(columns=["mean_framewise_displacement", "mean_fd", "fd_mean"])
    with_points = build_data(**{name: motion})
    assert auc(model, with_points, fold) == 1.0
    with_commas = build_data(**{name: [text.replace(".", ",") for text in motion]})
    np.testing.assert_array_equal(model.table(with_commas), model.table(with_points))


def test_label_is_no_feature_under_a_name_that_looks_like_it(build_data):
    assert "no column Group" in Columns(columns=["Group"]).lacks(build_data())


@pytest.mark.parametrize(
    ("columns", "symptoms", "kind"),
    [
        (["age", "sex"], None, "shortcut"),
        (["mean_fd"], None, "shortcut"),
        (["FIQ-R", "bdi"], None, "symptoms"),
        (["age", "bdi"], False, "shortcut"),
        (["own_scale"], True, "symptoms"),
    ],
)
def test_columns_of_the_condition_are_symptoms_and_no_shortcut(columns, symptoms, kind):
    assert Columns(columns=columns, symptoms=symptoms).describe("own_name") == (
        kind,
        "own name only",
    )
