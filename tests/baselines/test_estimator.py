import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from fmnet.baselines.base import score_fold
from fmnet.baselines.estimator import Estimator, Frem, SpaceNet
from fmnet.errors import ConfigError

LABELS = np.arange(30) % 2


@pytest.mark.parametrize(
    "model",
    [
        Estimator(RandomForestClassifier(30, random_state=0), 0.0),
        Estimator(LinearDiscriminantAnalysis(), 0.0, n_components=5),
        Estimator(LinearDiscriminantAnalysis(), 0.0, n_components=500),
    ],
)
def test_any_classifier_finds_a_plain_effect(build_data, fold, model):
    values = np.random.default_rng(0).normal(size=(30, 1, 210))
    values[LABELS == 1, :, :60] += 1.2
    scores = score_fold(model, build_data(values), fold)
    assert roc_auc_score(LABELS[20:], scores.score) > 0.8
    assert np.isfinite(scores.score).all()


def test_the_estimator_given_is_never_fitted(build_data, fold):
    forest = RandomForestClassifier(5, random_state=0)
    score_fold(Estimator(forest), build_data(), fold)
    assert not hasattr(forest, "classes_")


def test_estimator_without_scores_is_refused():
    with pytest.raises(ConfigError, match="KMeans, which gives no scores"):
        Estimator(KMeans())


@pytest.mark.slow
@pytest.mark.parametrize("model", [Frem(cv=3), SpaceNet()])
def test_decoders_find_a_plain_effect_in_the_right_direction(build_data, fold, model):
    values = np.random.default_rng(0).normal(size=(30, 1, 210))
    values[LABELS == 1, :, :60] += 1.5
    scores = score_fold(model, build_data(values), fold).score
    assert roc_auc_score(LABELS[20:], scores) > 0.8


@pytest.mark.parametrize("model", [Frem(cv=3), SpaceNet()])
@pytest.mark.parametrize("train", [[0, 1, 2, 3], [0, 1, 2, 3, 5], [0, 2, 4, 6, 8, 1, 3]])
def test_decoders_learn_from_two_scans_of_each_class(build_data, model, train):
    values = np.random.default_rng(0).normal(size=(30, 1, 210))
    values[LABELS == 1, :, :60] += 1.5
    scores = model.scores(build_data(values), np.array(train), np.arange(20, 30), None)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("model", [Frem(), SpaceNet()])
def test_few_people_are_not_enough(build_data, model):
    family = [f"f{row % 14}" for row in range(30)]
    enough = [f"f{row % 16}" for row in range(30)]
    assert model.lacks(build_data(family=family)) == "8 people or families of each class"
    assert model.lacks(build_data(family=enough)) == ""


def test_several_contrasts_are_not_taken(build_data):
    assert Frem().lacks(build_data(np.ones((30, 2, 210)))) == "a cohort of one contrast"
