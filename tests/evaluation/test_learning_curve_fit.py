import numpy as np
import pytest

from fmnet.evaluation.learning_curve_fit import Curve, Precision, fit_curve, people_needed


def test_known_curve_is_found_again():
    truth = Curve(0.85, 1.2, 0.6)
    sizes = np.array([15.0, 25, 40, 56])
    found = fit_curve(sizes, truth.auc(sizes))
    np.testing.assert_allclose(found.auc([56, 112, 224]), truth.auc([56, 112, 224]), atol=0.005)


def test_flat_curve_promises_nothing():
    found = fit_curve(np.array([15.0, 25, 40, 56]), np.full(4, 0.5))
    assert found.auc(10_000) == pytest.approx(0.5, abs=0.01)


def test_more_is_asked_of_a_small_difference_than_of_a_large_effect():
    curves = {"network": Curve(0.85, 0.5, 0.5), "linear_svm": Curve(0.80, 0.5, 0.5)}
    needed = people_needed(curves, list(curves), 0.5, Precision(70, 1.0, 0.15))
    # 0.05 is a third of what 70 people show: nine times as many.
    assert needed["above_rival"] == pytest.approx(630, rel=0.02)
    assert needed["above_chance"] < 60


def test_no_study_shows_a_difference_that_is_not_there():
    curves = {"network": Curve(0.5, 0.0, 0.5), "linear_svm": Curve(0.7, 0.1, 0.5)}
    needed = people_needed(curves, list(curves), 0.5, Precision(70, 1.0, 0.15))
    assert needed == {"above_chance": None, "above_rival": None}


def test_untested_rival_is_left_out_of_the_look_ahead():
    curves = {"network": Curve(0.8, 0.5, 0.5), "linear_svm": Curve(0.7, 0.1, 0.5)}
    assert set(people_needed(curves, list(curves), 0.5, Precision(70))) == {"above_chance"}
