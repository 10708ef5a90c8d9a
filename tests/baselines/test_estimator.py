import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from fmnet.baselines.base import score_fold
from fmnet.baselines.estimator import Estimator
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
