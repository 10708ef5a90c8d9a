from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from outcome_fixtures import severity_with_signal
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from fmnet.baselines import connectivity
from fmnet.baselines.base import Baseline, Dummy
from fmnet.baselines.connectivity import Connectivity
from fmnet.baselines.estimator import Estimator, Frem, SpaceNet
from fmnet.baselines.linear import LinearSvm, LogisticRidge, ShrinkageLda
from fmnet.baselines.outcomes import OutcomeColumns, OutcomeDummy, OutcomeShortcut, VoxelRidge
from fmnet.baselines.shortcuts import Columns, Coverage, Roughness, Scale
from fmnet.crossval.leaks import check_leaks
from fmnet.crossval.reruns import SiteHarmoniser
from fmnet.data.folds import build_folds
from fmnet.data.scans import Series
from fmnet.errors import LeakError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.targets.severity import Severity
from fmnet.training import fit
from fmnet.training.fit import Trainable, fit_closed_form
from fmnet.training.scan_set import MapScans

SITES = [f"site-{row // 2 % 2}" for row in range(30)]


@dataclass(frozen=True, eq=False)
class FittedOnEverybody(MapScans):
    """Standardises by all scans, as many published pipelines do."""

    def fit(self, train):
        return super().fit(np.arange(len(self.values)))


def harmonised_on_everybody(values, train):
    return values - values.mean(axis=0)


@dataclass(frozen=True)
class BestVoxels(Baseline):
    """Sums the voxels that tell the groups of all scans apart, test scans included."""

    def scores(self, data, train, test, choice):
        values = np.nan_to_num(data.values[:, 0])
        gap = values[data.labels == 1].mean(axis=0) - values[data.labels == 0].mean(axis=0)
        return values[test] @ np.sign(gap)


@dataclass(frozen=True)
class ScaledByTest(Baseline):
    """Needs no label to leak: divides by the spread of the scans that it scores."""

    def scores(self, data, train, test, choice):
        sums = np.nansum(data.values[test, 0], axis=1)
        return sums / sums.std()


def test_honest_pipeline_passes(build_study, fold):
    values = np.random.default_rng(1).normal(size=(30, 2, 210))
    values[4, :, :20] = np.nan
    data = build_study(values, age=[str(30 + row) for row in range(30)], site=SITES)
    baselines = {
        "dummy": Dummy(),
        "svm": LinearSvm(fwhm_mm=(0.0, 8.0), c=(0.1,)),
        "ridge": LogisticRidge(fwhm_mm=(0.0,), c=(0.1,)),
        "lda": ShrinkageLda(fwhm_mm=(0.0, 8.0), fraction=(0.1, 1.0)),
        "columns": Columns(columns=["age", "site"]),
        "coverage": Coverage(),
        "scale": Scale(),
        "roughness": Roughness(),
        "any": Estimator(LogisticRegression(), n_components=3),
    }
    check_leaks(baselines, data, fold, seed=0)
    check_leaks({}, data.harmonised(SiteHarmoniser(tuple(SITES))), fold, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", [Frem(cv=3), SpaceNet(cv=3)])
def test_decoders_of_nilearn_see_no_test_scans(build_study, fold, decoder):
    check_leaks({"decoder": decoder}, build_study(), fold, seed=0)


def test_preparation_fitted_on_all_scans_is_refused(build_study, fold):
    data = build_study()
    leaking = FittedOnEverybody(data.cohort, data.values, data.settings)
    with pytest.raises(LeakError, match="the preparation: found something that changes"):
        check_leaks({}, leaking, fold, seed=0)


def test_harmonisation_of_all_scans_is_refused(build_study, fold):
    data = build_study().harmonised(harmonised_on_everybody)
    with pytest.raises(LeakError, match="the preparation"):
        check_leaks({}, data, fold, seed=0)


@pytest.mark.parametrize("baseline", [BestVoxels(), ScaledByTest()])
def test_baseline_that_looks_at_test_scans_is_named(build_study, fold, baseline):
    with pytest.raises(LeakError, match="baseline 'leaky'") as caught:
        check_leaks({"dummy": Dummy(), "leaky": baseline}, build_study(), fold, seed=0)
    assert len(caught.value.faults) == 1


def test_baseline_that_draws_anew_each_time_is_told_apart(build_study, fold):
    forest = {"forest": Estimator(RandomForestClassifier(5))}
    with pytest.raises(LeakError, match=r"other scores each time.*random_state=0"):
        check_leaks(forest, build_study(), fold, seed=0)


@dataclass(frozen=True)
class SpreadOfSeries(Baseline):
    """Compares the spread of each scan's series with that of training scans, or of all scans."""

    is_leaky: bool

    def scores(self, data, train, test, choice):
        spread = np.array([np.nanstd(one.values()) for one in data.series])
        return spread[test] - (spread if self.is_leaky else spread[train]).mean()


@pytest.fixture
def bold_study(build_study, tmp_path):
    data, rng, series = build_study(), np.random.default_rng(0), []
    for row in range(30):
        values = rng.normal(size=(8 + row % 3, 210)).astype(np.float32)
        values[:, row] = np.nan
        np.save(path := tmp_path / f"{row}.npy", values)
        series.append(Series((path,), (len(values),), 2.0))
    return data.replace(data.cohort, data.values, tuple(series))


def test_baseline_that_looks_at_the_series_of_test_scans_is_named(bold_study, fold):
    check_leaks({"honest": SpreadOfSeries(is_leaky=False)}, bold_study, fold, seed=0)
    with pytest.raises(LeakError, match="baseline 'leaky'"):
        check_leaks({"leaky": SpreadOfSeries(is_leaky=True)}, bold_study, fold, seed=0)


def test_connectivity_passes(bold_study, fold, monkeypatch):
    monkeypatch.setattr(
        connectivity, "find_networks", lambda series, n, seed: np.nan_to_num(series[0][:n])
    )
    check_leaks({"tangent": Connectivity(n_networks=3)}, bold_study, fold, seed=0)


FOCAL = partial(build_scale_space, paths=["focal"])


@pytest.mark.parametrize("build", [partial(build_small_cnn, channels=[2]), FOCAL])
def test_networks_pass(build_study, fold, build):
    longest = 0 if build is FOCAL else 3
    trainable = Trainable(build, max_epochs=longest, batch_size=8)
    check_leaks({}, build_study(), fold, 0, trainable)


def test_network_that_learns_from_test_scans_is_refused(build_study, fold, monkeypatch):
    def fit_on_everybody(network, training):
        everybody = np.arange(len(training.scans.values))
        return fit_closed_form(network, replace(training, train=everybody, folds=None))

    monkeypatch.setattr(fit, "fit_closed_form", fit_on_everybody)
    trainable = Trainable(FOCAL, max_epochs=0, batch_size=8)
    with pytest.raises(LeakError, match="the network: found something that changes"):
        check_leaks({}, build_study(), fold, 0, trainable)


@dataclass(frozen=True)
class NullOfEverybody(OutcomeDummy):
    """Scores all alike, by the mean outcome of all scans, test scans included."""

    def scores(self, data, train, test, choice):
        return np.full((len(test), 1), data.outcomes["value"].mean())


@dataclass(frozen=True)
class BestVoxelsOfOutcomes(OutcomeDummy):
    """Sums the voxels that go with the outcomes of all scans, test scans included."""

    def scores(self, data, train, test, choice):
        values = np.nan_to_num(data.values[:, 0])
        outcome = data.outcomes["value"] - data.outcomes["value"].mean()
        return (values[test] @ np.sign(outcome @ values))[:, None]


def test_honest_models_of_outcomes_pass():
    data = severity_with_signal(age=[str(30 + row) for row in range(30)], site=SITES)
    baselines = {
        "dummy": OutcomeDummy(),
        "columns": OutcomeColumns(columns=["age", "site"]),
        "ridge": VoxelRidge(fwhm_mm=(0.0, 8.0)),
        "scale": OutcomeShortcut(shortcut=Scale()),
    }
    build = partial(build_scale_space, paths=["distributed"], head=data.target.head())
    fold = build_folds(data.cohort, n_repeats=1)[0]
    check_leaks(baselines, data, fold, seed=0, trainable=Trainable(build, max_epochs=0))


@pytest.mark.parametrize("leaking", [NullOfEverybody(), BestVoxelsOfOutcomes()])
def test_models_that_see_outcomes_of_test_people_are_named(leaking):
    data = severity_with_signal()
    fold = build_folds(data.cohort, n_repeats=1)[0]
    with pytest.raises(LeakError, match="baseline 'leaking'"):
        check_leaks({"leaking": leaking, "dummy": OutcomeDummy()}, data, fold, seed=0)


def test_a_null_model_of_everybody_is_found():
    @dataclass(frozen=True)
    class Careless(Severity):
        def fit_null(self, outcomes, train):
            return super().fit_null(outcomes, np.arange(len(outcomes)))

    data = severity_with_signal(target=Careless(column="fiqr"))
    fold = build_folds(data.cohort, n_repeats=1)[0]
    with pytest.raises(LeakError, match="baseline 'ridge'"):
        check_leaks({"ridge": VoxelRidge(fwhm_mm=(0.0,))}, data, fold, seed=0)
