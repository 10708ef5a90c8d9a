from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from cohort_fixtures import list_cohort, with_labels

from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.errors import TrainingError
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.training.fit import ADAMW, FoldTask, Trainable, train_on_folds
from fmnet.training.scan_set import MapScans

SUBJECTS = [f"sub-{number:02}" for number in range(12)]
FOLD = Fold(
    0, 0, tuple(SUBJECTS[:8]), tuple(SUBJECTS[8:]), (tuple(SUBJECTS[:4]), tuple(SUBJECTS[4:8]))
)


@pytest.fixture
def cohort():
    rng = np.random.default_rng(0)
    mask = np.zeros((8, 9, 10), dtype=bool)
    mask[1:7, 1:8, 1:9] = True
    grid = Grid(mask, np.diag([4.0, 5.0, 6.0, 1.0]), "MNI152")
    labels = np.arange(12) % 2
    values = rng.normal(size=(12, 1, grid.n_voxels)).astype(np.float32)
    values[labels == 1, :, :60] += 3
    return MapScans(list_cohort(labels, grid), values, PreparationSettings(fwhm_mm=0.0))


@pytest.fixture
def trainable(tmp_path):
    return Trainable(
        partial(build_small_cnn, channels=[4, 6]),
        max_epochs=5,
        batch_size=4,
        log_dir=tmp_path,
    )


def train_on_fold(trainable, cohort, fold, seed, name, *on_epoch):
    return train_on_folds(trainable, [FoldTask(cohort, fold, seed, name)], *on_epoch)[0]


def test_nothing_of_the_test_fold_reaches_network_or_preparation(cohort, trainable):
    test = cohort.rows(FOLD.test)
    spoilt = cohort.values.copy()
    spoilt[test] = 1e6
    labels = cohort.labels.copy()
    labels[test] = 1 - labels[test]
    one = train_on_fold(trainable, cohort, FOLD, 0, "a")
    other = train_on_fold(trainable, with_labels(cohort, labels, values=spoilt), FOLD, 0, "a")
    rows = cohort.rows(FOLD.train)
    np.testing.assert_array_equal(one.scores(rows), other.scores(rows))
    np.testing.assert_array_equal(one.preparation.mean, other.preparation.mean)
    assert one.n_epochs == other.n_epochs


def test_budget_is_the_minimum_of_the_mean_inner_loss(cohort, trainable):
    trained = train_on_fold(trainable, cohort, FOLD, 0, "a")
    assert trained.inner_loss.shape == (5,)
    assert trained.inner_loss[trained.n_epochs - 1] == trained.inner_loss.min()


def test_preparation_is_fitted_on_the_training_fold(cohort, trainable):
    trained = train_on_fold(trainable, cohort, FOLD, 0, "a")
    expected = cohort.values[cohort.rows(FOLD.train)].mean(axis=0)
    np.testing.assert_allclose(trained.preparation.mean, expected, atol=1e-5)


def test_inner_preparation_does_not_see_the_inner_validation_fold(cohort, trainable):
    spoilt = cohort.values.copy()
    spoilt[cohort.rows(FOLD.validation[0])] += 100
    plain = train_on_fold(trainable, cohort, replace(FOLD, validation=FOLD.validation), 0, "a")
    shifted = train_on_fold(trainable, replace(cohort, values=spoilt), FOLD, 0, "a")
    assert not np.allclose(plain.inner_loss, shifted.inner_loss)


def test_progress_covers_every_inner_training(cohort, trainable):
    seen = []
    trained = train_on_fold(trainable, cohort, FOLD, 0, "a", seen.append)
    assert sum(seen) == 2 * 5 + trained.n_epochs


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_training_that_diverges_is_named(cohort, trainable):
    fast = replace(trainable, build_optimizer=partial(ADAMW, lr=1e30))
    expected = r"the training failed: training a_inner-0: found .* not finite.*optimizer\.lr"
    with pytest.raises(TrainingError, match=expected):
        train_on_fold(fast, cohort, FOLD, 0, "a")


def test_scores_that_are_not_finite_are_refused(cohort, trainable):
    trained = train_on_fold(trainable, cohort, FOLD, 0, "a")
    for weights in trained.network.parameters():
        weights.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"training a: found .* diverged"):
        trained.scores(cohort.rows(FOLD.test))


def test_network_that_starts_from_scans_may_need_no_epoch(cohort, trainable):
    build = partial(build_scale_space, bands_mm=[[0.0, 12.0]])
    still = replace(trainable, build_network=build, max_epochs=0)
    trained = train_on_fold(still, cohort, FOLD, 0, "a")
    assert (trained.n_epochs, trained.inner_loss.shape) == (0, (1,))
    wild = partial(ADAMW, lr=10.0)
    trained = train_on_fold(
        replace(still, build_optimizer=wild, max_epochs=2), cohort, FOLD, 0, "a"
    )
    assert trained.inner_loss.shape == (3,)
    assert trained.n_epochs == trained.inner_loss.argmin()
