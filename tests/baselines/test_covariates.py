import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fmnet.baselines.base import score_fold
from fmnet.baselines.shortcuts import Columns, covariate_values
from fmnet.errors import ConfigError

LABELS = np.arange(30) % 2


def auc(model, data, fold) -> float:
    return roc_auc_score(LABELS[20:], score_fold(model, data, fold).score)


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
