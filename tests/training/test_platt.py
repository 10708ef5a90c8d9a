import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.training.platt import fit_calibration


def test_recovers_a_known_logistic_relation():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, 20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * scores - 0.4)))
    fitted = fit_calibration(scores, labels)
    assert fitted.slope == pytest.approx(0.7, abs=0.03)
    assert fitted.intercept == pytest.approx(-0.4, abs=0.05)


def test_separable_scores_give_a_finite_slope():
    fitted = fit_calibration([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1])
    assert 0 < fitted.slope < 100
    assert 0.5 < fitted.probability(2.0) < 1


def test_scores_that_point_the_wrong_way_say_nothing():
    fitted = fit_calibration([2.0, 1.5, 1.0, -1.0, -2.0, -2.5], [0, 0, 0, 1, 1, 1])
    assert fitted.slope == 0
    assert fitted.probability([-5.0, 5.0]) == pytest.approx([0.5, 0.5])


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.integers(0, 1)), min_size=4, max_size=40),
    st.floats(0.01, 100),
)
def test_probability_rises_with_score_whatever_the_unit(pairs, unit):
    scores, labels = np.array(pairs).T
    fitted = fit_calibration(scores * unit, labels)
    probabilities = fitted.probability(np.linspace(-60, 60, 25) * unit)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (np.diff(probabilities) >= 0).all()
