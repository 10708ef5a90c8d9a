"""Where the linear model wins it is what users get, and it scores as it did in training."""

import json

import numpy as np
import pandas as pd
import pytest

from fmnet.baselines.base import unseen_scale
from fmnet.baselines.linear import LinearSvm
from fmnet.data.cohort import open_cohort
from fmnet.data.folds import build_inner_folds
from fmnet.data.scans import MapsOnGrid
from fmnet.data.store import ArrayStore
from fmnet.inference.calibration import read_calibration
from fmnet.inference.predict import NewScan, predict_scan
from fmnet.training.calibration import fit_calibration
from fmnet.training.scan_set import MapScans

#: Of the first four people.
SCORES = [0.19071, 0.19391, -0.18641, -0.18930]


def score_with(bundle, listing, n=6):
    return [predict_scan(bundle, NewScan(scan.scan_id, scan.files)) for scan in listing.scans[:n]]


def open_data(finished, chosen, study_root):
    """Scans, model and the choice it makes, as when it was trained."""
    preparation = chosen.bundle.preparation
    store = ArrayStore(study_root / "store", MapsOnGrid(preparation.grid, preparation.min_coverage))
    cohort = open_cohort(finished.listing, store)
    data, model = MapScans(cohort, cohort.values()), LinearSvm((0.0, 12.0), (0.1, 1.0))
    return data, model, model.choose(data, build_inner_folds(cohort, 2, 0))


def test_scores_of_files_are_those_of_training(finished, chosen, study_root):
    models = json.loads((finished.run_dir / "metrics.json").read_text())["models"]
    assert models["linear_svm"]["auc"] >= models["network"]["auc"]
    data, model, choice = open_data(finished, chosen, study_root)
    expected = model.scores(data, np.arange(24), np.arange(6), choice)
    found = score_with(chosen.bundle, finished.listing)
    assert [one.status for one in found] == ["ok"] * 6
    assert [one.score for one in found] == pytest.approx(expected, abs=1e-4)
    assert chosen.bundle.preparation.fwhm_mm == choice[0]


def test_probability_comes_from_its_own_scores_out_of_fold(finished, chosen, study_root):
    table = pd.read_csv(finished.run_dir / "predictions.tsv", sep="\t")
    own = table[table["model"] == "linear_svm"]
    data, model, choice = open_data(finished, chosen, study_root)
    scale = unseen_scale(model, data, build_inner_folds(data.cohort, 10, 0), choice)
    expected = fit_calibration(
        own["score"],
        own["label"],
        participants=own["participant_id"],
        models=own["repeat"] * 100 + own["fold"],
        scale=scale,
    )
    found = read_calibration(chosen.bundle.folder / "calibration.json")
    assert (found.slope, found.intercept) == pytest.approx((expected.slope, expected.intercept))
    assert found.base_rate == 0.5
    assert found.slope_ci == pytest.approx(expected.slope_ci)


def test_scores_stay_what_they_were(finished, chosen):
    found = [one.score for one in score_with(chosen.bundle, finished.listing, 4)]
    assert found == pytest.approx(SCORES, abs=1e-3)


def test_network_can_be_asked_for_all_the_same(finished, bundle, chosen):
    assert bundle.metadata["training"]["model"] == "network"
    one, other = (score_with(each, finished.listing, 1)[0] for each in (bundle, chosen.bundle))
    assert abs(one.score - other.score) > 1e-2
