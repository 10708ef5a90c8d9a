import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import t as student

from fmnet.evaluation.metrics import count_pairs, model_metrics
from fmnet.evaluation.selection import bootstrap_corrected_auc, chosen_auc


def table_of(scores, label, fold, unit=None) -> pd.DataFrame:
    """Out-of-fold table of several models' scores, (models, N)."""
    people = [f"sub-{k:03}" for k in range(len(label))]
    rows = {"participant_id": people, "scan_id": people, "repeat": 0, "fold": fold, "label": label}
    rows |= {} if unit is None else {"unit": unit}
    models = [pd.DataFrame(rows | {"model": f"{k}", "score": s}) for k, s in enumerate(scores)]
    return pd.concat(models, ignore_index=True)


def study_of(rng, effects, n, shared=0.7) -> pd.DataFrame:
    """Scores of models that agree with each other; the groups differ by `effects` in them."""
    label = np.arange(n) % 2
    common = rng.normal(size=n)
    scores = [
        np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=n) + effect * label
        for effect in effects
    ]
    return table_of(scores, label, np.arange(n) // 2 % 5)


def auc_of(table, model) -> float:
    pairs = count_pairs(table[table["model"] == model])
    return pairs.auc(np.ones(len(pairs.units)))


@pytest.mark.parametrize(("effects", "expected"), [((0,) * 4, 0.5), ((1.0,) * 4, 0.760)])
def test_best_of_models_worth_the_same_comes_out_as_any_of_them(effects, expected):
    rng = np.random.default_rng(0)
    raw, corrected = [], []
    for _ in range(40):
        table = study_of(rng, effects, 40)
        raw.append(max(auc_of(table, name) for name in "0123"))
        corrected.append(bootstrap_corrected_auc(table, list("0123"), 0, n_draws=100))
    error = 3 * np.std(corrected) / np.sqrt(40)
    assert np.mean(corrected) == pytest.approx(expected, abs=error)
    assert np.mean(raw) > expected + 0.02


def test_model_that_is_best_by_far_keeps_its_auc():
    table = study_of(np.random.default_rng(1), (2.5, 0.0, 0.0), 60)
    raw = auc_of(table, "0")
    assert bootstrap_corrected_auc(table, list("012"), 0) == pytest.approx(raw, abs=0.01)


def test_families_are_drawn_whole():
    label = np.tile([0, 1], 8)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 16))
    unit = [f"family-{k // 2}" for k in range(16)]
    by_family = table_of(scores, label, 0, unit)
    assert bootstrap_corrected_auc(by_family, ["0", "1"], 0) != bootstrap_corrected_auc(
        table_of(scores, label, 0), ["0", "1"], 0
    )
    # one family has nobody to be judged by
    alone = table_of(scores, label, 0, ["family"] * 16)
    figures = {"auc": 0.6, "auc_ci": [0.5, 0.7], "auc_logit_se": 0.3}
    assert chosen_auc(alone, ["0", "1"], figures, 0)["auc_corrected"] == 0.6


def test_no_choice_corrects_nothing():
    table = study_of(np.random.default_rng(1), (0.5,), 20)
    figures = {"auc": 0.7, "auc_ci": [0.6, 0.8]}
    assert chosen_auc(table, ["0"], figures, 0) == {
        "auc_corrected": 0.7, "auc_corrected_ci": [0.6, 0.8],
    }  # fmt: skip


def test_correction_raises_no_end_of_an_interval():
    """That of an AUC of 1 is wide because nothing varies; a corrected one is below 1."""
    label = np.tile([0, 1], 12)
    scores = [label + 0.0, np.where(np.arange(24) < 3, 1 - label, label) + 0.0]
    table = table_of(scores, label, np.arange(24) // 2 % 3)
    figures = model_metrics(table[table["model"] == "0"].assign(probability=0.5), n_draws=20)
    found = chosen_auc(table, ["0", "1"], figures, 0)
    assert figures["auc"] == 1.0
    assert 0.98 < found["auc_corrected"] <= 1
    assert found["auc_corrected_ci"][0] <= figures["auc_ci"][0] < 0.8


@given(st.floats(0.3, 0.9), st.floats(0.1, 1.0))
@settings(max_examples=20)
def test_interval_holds_the_corrected_auc(auc, se):
    table = study_of(np.random.default_rng(1), (0.3, 0.3), 20)
    stated = {"auc": auc, "auc_ci": [1, 1], "auc_logit_se": se}
    found = chosen_auc(table, ["0", "1"], stated, 0)
    low, high = found["auc_corrected_ci"]
    assert 0 < low < found["auc_corrected"] < high < 1
    assert found["auc_corrected"] <= auc
    # as wide on the logit scale as that of an AUC that nobody chose
    half = student.ppf(0.975, 18) * se
    assert logit(high) - logit(low) == pytest.approx(2 * half)
