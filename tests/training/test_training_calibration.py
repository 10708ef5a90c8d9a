import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fmnet.training.calibration import fit_calibration, score_scale


def draw(rng, n_positive, n_negative, difference):
    labels = np.repeat([1, 0], [n_positive, n_negative])
    return rng.normal(size=len(labels)) + difference * labels, labels


def test_recovers_a_known_logistic_relation_at_equal_base_rates():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, 20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * scores - 0.4)))
    fitted = fit_calibration(scores, labels)
    odds = labels.sum() / (~labels).sum()
    assert fitted.slope == pytest.approx(0.7, abs=0.03)
    assert fitted.intercept == pytest.approx(-0.4 - np.log(odds), abs=0.05)
    assert fitted.base_rate == 0.5


def test_separable_scores_give_a_finite_slope():
    fitted = fit_calibration([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1])
    assert 0 < fitted.slope < 100
    assert 0.5 < fitted.probability(2.0) < 1
    assert np.isfinite(fitted.slope_ci).all()
    labels = np.repeat([0, 1], [11, 13])
    assert 0.9 < fit_calibration(1.0 * labels, labels).probability(1.0) < 1


@pytest.mark.parametrize("n_negative", [3, 9])
def test_scores_that_point_the_wrong_way_say_nothing(n_negative):
    scores = [*np.linspace(1, 2, n_negative), -1.0, -2.0, -2.5]
    fitted = fit_calibration(scores, [0] * n_negative + [1, 1, 1])
    assert fitted.slope == 0
    assert fitted.probability([-5.0, 5.0]).tolist() == [0.5, 0.5]
    assert fitted.slope_ci[0] == 0


@pytest.mark.parametrize("labels", [[0, 1, 0, 1, 1], [1, 1, 1, 1, 1]])
def test_nothing_to_learn_from_gives_one_half(labels):
    scores = np.zeros(5) if len(set(labels)) == 2 else np.arange(5.0)
    fitted = fit_calibration(scores, labels)
    assert (fitted.slope, fitted.intercept, fitted.slope_ci) == (0, 0, None)


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.integers(0, 1)), min_size=4, max_size=40),
    st.floats(0.01, 100),
)
@settings(max_examples=20, deadline=None)
def test_probability_rises_with_score_whatever_the_unit(pairs, unit):
    scores, labels = np.array(pairs).T
    fitted = fit_calibration(scores * unit, labels)
    probabilities = fitted.probability(np.linspace(-60, 60, 25) * unit)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (np.diff(probabilities) >= 0).all()
    if fitted.slope_ci is not None:
        assert 0 <= fitted.slope_ci[0] <= fitted.slope <= fitted.slope_ci[1] < np.inf


def test_groups_count_alike_whatever_their_sizes():
    scores, labels = draw(np.random.default_rng(2), 20, 50, 1.2)
    probability = fit_calibration(scores, labels).probability(scores)
    means = [probability[labels == label].mean() for label in (0, 1)]
    assert np.mean(means) == pytest.approx(0.5, abs=1e-6)
    called = probability > 0.5
    assert called[labels == 1].mean() > 0.5
    assert called[labels == 0].mean() < 0.5


def test_people_count_once_however_often_they_are_scored():
    scores, labels = draw(np.random.default_rng(1), 12, 17, 1.0)
    once = fit_calibration(scores, labels)
    again = fit_calibration(np.tile(scores, 4), np.tile(labels, 4), np.tile(np.arange(29), 4))
    # but for the degrees of freedom of the spread
    assert again.slope == pytest.approx(once.slope, rel=0.05)
    assert again.slope_ci == pytest.approx(once.slope_ci, rel=0.05)
    assert fit_calibration(np.tile(scores, 4), np.tile(labels, 4)).slope > 1.1 * once.slope


def test_scores_of_models_of_other_scales_are_comparable():
    scores, labels = draw(np.random.default_rng(3), 40, 45, 1.0)
    models = np.arange(85) % 5
    moved = scores * 10.0**models + 7 * models
    scale = score_scale(scores, labels)
    one, other = (
        fit_calibration(values, labels, models=models, scale=scale) for values in (scores, moved)
    )
    assert other.slope == pytest.approx(one.slope)
    assert other.intercept == pytest.approx(one.intercept)
    doubled = fit_calibration(scores * 2 + 3, labels)
    plain = fit_calibration(scores, labels)
    assert doubled.probability(scores * 2 + 3) == pytest.approx(plain.probability(scores))


def test_the_less_is_known_the_more_a_slope_is_shrunken():
    scores, labels = draw(np.random.default_rng(4), 30, 33, 0.5)
    best = LogisticRegression(C=np.inf, class_weight="balanced").fit(scores[:, None], labels)
    known = fit_calibration(scores, labels)
    many = fit_calibration(np.tile(scores, 50), np.tile(labels, 50))
    assert 0 < known.slope < 0.8 * best.coef_[0, 0]
    assert many.slope == pytest.approx(best.coef_[0, 0], rel=0.05)
    assert np.ptp(many.slope_ci) < 0.3 * np.ptp(known.slope_ci)


def test_probabilities_of_a_weak_effect_hold_on_new_people():
    """Slope of new labels on log odds, all cohorts together: 1 if probabilities are right.

    Models of the folds score in units of their own, as with settings chosen on inner folds.
    """
    rng, odds, truth = np.random.default_rng(0), [], []
    for _ in range(60):
        labels, folds = np.repeat([1, 0], [20, 50]), np.arange(70) % 5
        centres = 0.15 * rng.choice([-1, 1], 40)
        values = rng.normal(size=(70, 40)) + np.outer(labels - 0.5, centres)

        def fit(rows, values=values, labels=labels):
            one, other = (values[rows & (labels == label)].mean(axis=0) for label in (1, 0))
            return one - other, (one + other) @ (one - other) / 2

        scores = np.zeros(70)
        for fold in range(5):
            weight, middle = fit(folds != fold)
            unit = 10.0 ** rng.uniform(-1, 0)
            scores[folds == fold] = unit * (values[folds == fold] @ weight - middle)
        weight, middle = fit(folds >= 0)
        new = rng.normal(size=(100, 40)) + np.outer(np.repeat([1, 0], 50) - 0.5, centres)
        final = new @ weight - middle
        scale = score_scale(final, np.repeat([1, 0], 50))
        fitted = fit_calibration(scores, labels, models=folds, scale=scale)
        odds.append(fitted.slope * final + fitted.intercept)
        truth.append(np.repeat([1, 0], 50))
    model = LogisticRegression(C=np.inf).fit(np.concatenate(odds)[:, None], np.concatenate(truth))
    assert 0.7 < model.coef_[0, 0] < 1.3
    assert abs(model.intercept_[0]) < 0.2
