import re
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm
from fmnet.crossval.fold_loop import Pipeline
from fmnet.crossval.reruns import (
    CALIPER,
    LearningCurvePlan,
    SensitivityPlan,
    SiteHarmoniser,
    folds_lack_sites,
    harmonisation_lacks,
    match_pairs,
    plan_reruns,
    run_once,
    run_reruns,
    thin_fold,
)
from fmnet.data.folds import Fold, build_folds
from fmnet.data.scans import Series
from fmnet.errors import ConfigError
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


pytest.importorskip("combatlearn", reason="combatlearn is not installed")

#: Both groups at both sites; labels alternate from row to row.
TWO_SITES = tuple(f"site-{row // 2 % 2}" for row in range(30))
AT_SECOND = np.array([site == "site-1" for site in TWO_SITES])
TRAIN = np.arange(20)


@pytest.fixture
def values():
    """Two channels; the second site is shifted and louder."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 2, 210)) + rng.normal(size=(1, 2, 210))
    values[AT_SECOND] = 3 * values[AT_SECOND] + 2
    return values.astype(np.float32)


def test_shift_and_scale_between_sites_are_taken_out(values):
    changed = SiteHarmoniser(TWO_SITES)(values, TRAIN)
    assert changed.shape == values.shape
    assert changed.dtype == np.float32
    test = np.arange(30) >= 20
    gap = changed[test & AT_SECOND].mean() - changed[test & ~AT_SECOND].mean()
    assert abs(gap) < 0.3 < abs(values[test & AT_SECOND].mean() - values[test & ~AT_SECOND].mean())
    ratio = (
        changed[test & AT_SECOND].std(axis=0).mean() / changed[test & ~AT_SECOND].std(axis=0).mean()
    )
    assert 0.7 < ratio < 1.4


def test_nothing_is_learned_from_other_scans(values):
    spoilt = values.copy()
    spoilt[25:] = 1e3
    one, other = (SiteHarmoniser(TWO_SITES)(v, TRAIN)[:25] for v in (values, spoilt))
    np.testing.assert_array_equal(one, other)


def test_missing_voxels_stay_missing_and_change_no_others(values):
    holed = values.copy()
    holed[3, 0, 7] = holed[25, 1, 9] = np.nan
    holed[:, 0, 20] = np.nan
    changed = SiteHarmoniser(TWO_SITES)(holed, TRAIN)
    np.testing.assert_array_equal(np.isnan(changed), np.isnan(holed))


def test_every_training_needs_two_people_of_each_site():
    people = tuple(f"sub-{k}" for k in range(12))
    fold = Fold(0, 0, people[:10], people[10:], (people[:5], people[5:10]))
    alternating = {person: "AB"[k % 2] for k, person in enumerate(people)}
    assert folds_lack_sites([fold], alternating) == ""
    rare = {person: "B" if k in {4, 5, 6} else "A" for k, person in enumerate(people)}
    found = folds_lack_sites([fold], rare)
    assert found == "2 people of each site in every training (fewer of B)"


@pytest.mark.parametrize(
    ("sites", "lacking"),
    [
        (TWO_SITES, ""),
        (("a",) * 30, "two or more sites"),
        (("", *TWO_SITES[1:]), "known for everybody"),
        (("c", "c", *TWO_SITES[2:]), "6 scans at each site .fewer at c"),
        (("c", "b") * 6 + ("b", "b") * 9, "both groups at each site .one only at c"),
        ((*"bbbb", *"ab" * 8, *"aabb" * 2, "a", "a"), r"chi-squared test, p = 0\.0"),
    ],
)
def test_says_why_sites_can_not_be_harmonised(build_study, sites, lacking):
    found = harmonisation_lacks(build_study(site=list(sites)).cohort)
    assert re.fullmatch(lacking and f".*{lacking}.*", found)


def people_of(values, labels):
    index = [f"sub-{k}" for k in range(len(values))]
    return pd.DataFrame({"label": labels, "fd": values}, index=index)


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=12),
    st.lists(st.floats(0, 1), min_size=3, max_size=12),
)
def test_pairs_are_close_and_nobody_is_in_two(negative, positive):
    people = people_of([*negative, *positive], [0] * len(negative) + [1] * len(positive))
    pairs = match_pairs(people, "fd")
    members = [person for pair in pairs for person in pair]
    assert len(set(members)) == len(members)
    spread = np.sqrt(np.mean([np.var(group, ddof=1) for group in (negative, positive)]))
    for one, other in pairs:
        assert people.at[one, "label"] == 0
        assert people.at[other, "label"] == 1
        assert abs(people.at[one, "fd"] - people.at[other, "fd"]) <= CALIPER * spread + 1e-12


def test_more_pairs_are_better_than_closer_ones():
    # The closest pair, 0.20 with 0.21, would leave the two others without anybody.
    people = people_of([0.10, 0.20, 3.0, 0.21, 0.31, 3.0], [0, 0, 0, 1, 1, 1])
    assert len(match_pairs(people, "fd")) == 3


def test_groups_that_differ_have_few_pairs():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    people = people_of(rng.normal(size=40) + 2 * labels, labels)
    pairs = match_pairs(people, "fd")
    assert 0 < len(pairs) < 15
    one, other = (people.loc[[pair[k] for pair in pairs], "fd"].mean() for k in (0, 1))
    assert abs(one - other) < 0.2


def test_people_without_a_value_are_in_no_pair():
    people = people_of([0.1, np.nan, 0.2, 0.1, 0.2, np.nan], [0, 0, 0, 1, 1, 1])
    members = {person for pair in match_pairs(people, "fd") for person in pair}
    assert members == {"sub-0", "sub-2", "sub-3", "sub-4"}


PEOPLE = tuple(f"sub-{k:02}" for k in range(48))
LABEL_OF = {person: k % 2 for k, person in enumerate(PEOPLE)}
FOLD = Fold(1, 2, PEOPLE[:36], PEOPLE[36:], (PEOPLE[:12], PEOPLE[12:24], PEOPLE[24:36]))


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(0, 50))
def test_smaller_shares_are_parts_of_larger_ones(one, other, seed):
    small, large = (thin_fold(FOLD, LABEL_OF, share, seed) for share in sorted([one, other]))
    assert set(small.train) <= set(large.train) <= set(FOLD.train)
    assert small.test == large.test == FOLD.test
    for part in small.validation:
        assert sum(LABEL_OF[person] for person in part) * 2 == len(part) >= 4


def test_half_of_the_people_are_half_of_each_class_in_each_inner_fold():
    thin = thin_fold(FOLD, LABEL_OF, 0.5, 0)
    assert [len(part) for part in thin.validation] == [6, 6, 6]
    assert sum(LABEL_OF[person] for person in thin.train) == 9


def test_shares_that_rounding_in_each_inner_fold_would_make_equal_stay_apart():
    people = tuple(f"sub-{k:02}" for k in range(24))
    labels = {person: k % 2 for k, person in enumerate(people)}
    fold = Fold(0, 0, people, ("x",), (people[:8], people[8:16], people[16:]))
    sizes = [len(thin_fold(fold, labels, share, 0).train) for share in (0.4, 0.6, 0.8)]
    assert sizes == [12, 14, 20]


def test_other_repeats_leave_out_others():
    other = Fold(2, 2, FOLD.train, FOLD.test, FOLD.validation)
    assert thin_fold(FOLD, LABEL_OF, 0.5, 0).train != thin_fold(other, LABEL_OF, 0.5, 0).train


@pytest.mark.parametrize("shares", [[0.5], [0.5, 0.5], [0.0, 0.5]])
def test_a_curve_needs_different_shares(shares):
    with pytest.raises(ConfigError, match=r"learning_curve\.fractions: found"):
        LearningCurvePlan(shares)
