from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm
from fmnet.crossval.fold_loop import Pipeline
from fmnet.crossval.reruns import SensitivityPlan, plan_reruns, run_once, run_reruns
from fmnet.data.folds import build_folds
from fmnet.data.maps import Series
from fmnet.networks.backbones import build_small_cnn
from fmnet.training.fit import Trainable

EVERYTHING = SensitivityPlan(True, True, ["fd"], ["linear_svm"])
SITES = [f"site-{row // 2 % 2}" for row in range(30)]
MOTION = [f"{0.2 + 0.001 * (row // 2):.3f}" for row in range(30)]


@pytest.fixture
def pipeline(tmp_path):
    trainable = Trainable(
        partial(build_small_cnn, channels=[3]),
        max_epochs=1,
        log_dir=tmp_path,
    )
    baselines = {"dummy": Dummy(), "linear_svm": LinearSvm(fwhm_mm=(0.0,), c=(0.1,))}
    folds = partial(build_folds, n_splits=3, n_repeats=2, inner_splits=2)
    return Pipeline(trainable, baselines, folds, 0)


def test_every_rerun_is_run_and_described(build_study, pipeline, tmp_path):
    pytest.importorskip("combatlearn", reason="combatlearn is not installed")
    found = run_reruns(EVERYTHING, pipeline, build_study(site=SITES, fd=MOTION), tmp_path)
    assert list(found) == ["leave_site_out", "harmonised", "matched_fd"]
    for rerun in found.values():
        assert rerun["lacking"] == ""
        assert list(rerun["models"]) == ["network", "linear_svm"]
        assert rerun["n_subjects"] == 30
    assert len(list(tmp_path.glob("*.tsv"))) == 3


def test_each_site_is_tested_by_the_others(build_study, pipeline):
    site_of = dict(zip(build_study().cohort.participant_ids, SITES, strict=True))
    (rerun,) = plan_reruns(SensitivityPlan(True), pipeline, build_study(site=SITES))
    assert [{site_of[person] for person in fold.test} for fold in rerun.folds] == [
        {"site-0"},
        {"site-1"},
    ]
    assert all(set(fold.train) | set(fold.test) == set(site_of) for fold in rerun.folds)


def test_matched_groups_are_alike(build_study, pipeline):
    rng = np.random.default_rng(0)
    motion = 0.2 + 0.015 * (np.arange(30) % 2) + 0.03 * rng.random(30)
    data = build_study(fd=[f"{value:.4f}" for value in motion])
    (rerun,) = plan_reruns(SensitivityPlan(match=["fd", "absent"]), pipeline, data)
    kept = rerun.data.cohort
    value = pd.Series([float(text) for text in kept.covariate("fd")])
    assert 6 < len(kept.scans) < 30
    assert kept.labels.sum() * 2 == len(kept.scans)
    assert value.groupby(kept.labels).mean().diff().abs().iloc[1] < 0.005
    assert len(rerun.data.values) == len(value)


def test_groups_are_matched_on_motion_under_any_usual_name(build_study, pipeline):
    data = build_study(**{"Mean FD (mm)": [text.replace(".", ",") for text in MOTION]})
    (rerun,) = plan_reruns(SensitivityPlan(match=["mean_fd"]), pipeline, data)
    assert rerun.name == "matched_Mean_FD_mm_"
    (same,) = plan_reruns(SensitivityPlan(match=["fd"]), pipeline, build_study(fd=MOTION))
    assert rerun.data.cohort.participant_ids == same.data.cohort.participant_ids


def test_says_what_is_lacking_instead_of_stopping(build_study, pipeline, tmp_path):
    found = run_reruns(EVERYTHING, pipeline, build_study(), tmp_path)
    assert "two or more sites" in found["leave_site_out"]["lacking"]
    assert "two or more sites" in found["harmonised"]["lacking"]
    assert "column fd" in found["matched"]["lacking"]
    assert not list(tmp_path.iterdir())


def test_groups_that_hardly_overlap_are_not_matched(build_study, pipeline):
    apart = [f"{row % 2 + 0.01 * row:.3f}" for row in range(30)]
    (rerun,) = plan_reruns(SensitivityPlan(match=["fd"]), pipeline, build_study(fd=apart))
    assert not rerun.folds
    assert "pairs only" in rerun.lacking or "alike" in rerun.lacking


def test_what_was_run_is_not_run_again_unless_folds_differ(build_study, pipeline, tmp_path):
    data = build_study()
    folds = pipeline.build_folds(data.cohort)[:3]
    first = run_once(pipeline, data, folds, "", tmp_path, "name")
    (path,) = tmp_path.glob("*.tsv")
    written = path.stat().st_mtime_ns
    again = run_once(pipeline, data, folds, "", tmp_path, "name")
    assert path.stat().st_mtime_ns == written
    assert len(again) == len(first) == 90
    run_once(pipeline, data, folds[:2], "", tmp_path, "name")
    assert len(list(tmp_path.glob("*.tsv"))) == 2


def test_damaged_scores_are_made_again(build_study, pipeline, tmp_path):
    data = build_study()
    folds = pipeline.build_folds(data.cohort)[:2]
    first = run_once(pipeline, data, folds, "", tmp_path, "name")
    (path,) = tmp_path.glob("*.tsv")
    path.write_text(path.read_text().replace("network", "other"))
    pd.testing.assert_frame_equal(run_once(pipeline, data, folds, "", tmp_path, "name"), first)


def test_time_series_are_not_harmonised(build_study, pipeline):
    data = build_study(site=SITES)
    data = replace(data, series=(Series((), (60,), 2.0),) * 30)
    reading = data.reading_series(60)
    (rerun,) = plan_reruns(SensitivityPlan(harmonise_sites=True), pipeline, reading)
    assert (rerun.folds, rerun.lacking) == (
        [],
        "a network that reads maps; time series are not harmonised",
    )
