"""Where the linear model wins it is what users get, and it scores as it did in training."""

import json

import numpy as np
import pandas as pd
import pytest

from fmnet.data.cohort import open_cohort
from fmnet.data.folds import build_inner_folds
from fmnet.data.store import ScanStore
from fmnet.deploy.calibration import read_calibration
from fmnet.deploy.predict import NewScan, predict_scan
from fmnet.study.baselines.base import BaselineData
from fmnet.study.baselines.linear import LinearSvm
from fmnet.training.platt import fit_calibration

#: Of the first four people.
SCORES = [0.17245, 0.17763, -0.17155, -0.17341]


def score_with(bundle, listing, n=6):
    return [predict_scan(bundle, NewScan(scan.scan_id, scan.files)) for scan in listing.scans[:n]]


def test_scores_of_files_are_those_of_training(finished, chosen, study_root):
    models = json.loads((finished.run_dir / "metrics.json").read_text())["models"]
    assert models["linear_svm"]["auc"] >= models["network"]["auc"]
    preparation = chosen.bundle.preparation
    store = ScanStore(study_root / "store", preparation.grid, preparation.min_coverage)
    cohort = open_cohort(finished.listing, store)
    data, model = BaselineData(cohort, cohort.values()), LinearSvm((0.0, 12.0), (0.1, 1.0))
    choice = model.choose(data, build_inner_folds(cohort, 2, 0))
    expected = model.scores(data, np.arange(24), np.arange(6), choice)
    found = score_with(chosen.bundle, finished.listing)
    assert [one.status for one in found] == ["ok"] * 6
    assert [one.score for one in found] == pytest.approx(expected, abs=1e-4)
    assert preparation.fwhm_mm == choice[0]


def test_probability_comes_from_its_own_scores_out_of_fold(finished, chosen):
    table = pd.read_csv(finished.run_dir / "predictions.tsv", sep="\t")
    own = table[table["model"] == "linear_svm"]
    expected = fit_calibration(own["score"], own["label"], 2)
    found = read_calibration(chosen.bundle.folder / "calibration.json")
    assert (found.slope, found.intercept) == pytest.approx((expected.slope, expected.intercept))


def test_scores_stay_what_they_were(finished, chosen):
    found = [one.score for one in score_with(chosen.bundle, finished.listing, 4)]
    assert found == pytest.approx(SCORES, abs=1e-3)


def test_network_can_be_asked_for_all_the_same(finished, bundle, chosen):
    assert bundle.metadata["training"]["model"] == "network"
    one, other = (score_with(each, finished.listing, 1)[0] for each in (bundle, chosen.bundle))
    assert abs(one.score - other.score) > 1e-2
