import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fmnet.evaluation.association import label_auc, predicted_share, score_association

LABEL = np.repeat([0, 1], 20)


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "label": LABEL,
            "low": -2.0 * LABEL + rng.normal(size=40),
            "noise": rng.normal(size=40),
            "site": np.where(LABEL + (rng.random(40) < 0.1) == 1, "A", "B"),
            "random": rng.choice(list("abcdefgh"), 40),
        }
    )


def test_direction_of_a_number_is_free(people):
    found = label_auc(people, "low", 200, 0)
    assert found["auc"] == pytest.approx(1 - roc_auc_score(LABEL, people["low"]))
    low, high = found["auc_ci"]
    assert low <= found["auc"] <= high


def test_category_that_gives_the_label_away_is_found(people):
    assert label_auc(people, "site", 100, 0)["auc"] > 0.8


def test_two_levels_are_judged_alike_as_text_and_as_number():
    rng = np.random.default_rng(3)
    level = (rng.random(40) < np.where(LABEL == 1, 0.8, 0.4)).astype(int)
    number = pd.DataFrame({"label": LABEL, "sex": level.astype(float)})
    text = pd.DataFrame({"label": LABEL, "sex": np.array(["F", "M"])[level]})
    assert label_auc(number, "sex", 200, 0) == label_auc(text, "sex", 200, 0)


def test_nothing_is_said_of_what_does_not_vary_within_groups(people):
    scores = pd.Series(np.random.default_rng(0).normal(size=40), people.index)
    same = people.assign(group=2.0 * LABEL)
    found = score_association(same, scores, "group")
    assert found["rho"] is found["p"] is None


def test_small_random_categories_do_not_tell_on_themselves():
    aucs = []
    for seed in range(20):
        random = np.random.default_rng(seed).choice(list("abcdefgh"), 40)
        aucs.append(label_auc(pd.DataFrame({"label": LABEL, "x": random}), "x", 20, 0)["auc"])
    assert 0.4 < np.mean(aucs) < 0.6


def test_correlation_within_groups_ignores_what_the_label_explains(people):
    scores = pd.Series(LABEL + 0.1 * np.random.default_rng(1).normal(size=40), people.index)
    assert abs(score_association(people, scores, "low")["rho"]) < 0.35
    direct = scores + people["low"]
    assert score_association(people, direct, "low")["rho"] > 0.8
    assert score_association(people, direct, "low")["p"] < 0.001


def test_noise_predicts_nothing_and_itself_all(people):
    score = people["noise"].to_numpy()
    assert predicted_share(people[["noise"]], score) > 0.95
    other = np.random.default_rng(9).normal(size=40)
    assert predicted_share(people[["noise"]], other) < 0.2
