import numpy as np
import pandas as pd
import pytest

from benchmarks.validity.probabilities import Calibrated, new_people, pooled_slope


def calibration_rows(slope, base_rate=0.5, intercept=0.0, call_above=0.0):
    """Groups 1 apart with SD 1: the true log odds are the score itself."""
    return pd.DataFrame(
        {
            "slope": [slope] * 3,
            "intercept": intercept,
            "base_rate": base_rate,
            "call_above": call_above,
            "low": -0.5,
            "high": 0.5,
            "sd": 1.0,
            "true_auc": 0.76,
        }
    )


def test_slope_is_that_of_the_truth_on_what_is_stated():
    assert pooled_slope(new_people(calibration_rows(1.0))) == pytest.approx(1.0, abs=0.05)
    assert pooled_slope(new_people(calibration_rows(2.0))) == pytest.approx(0.5, abs=0.03)
    assert np.isnan(pooled_slope(new_people(calibration_rows(0.0))))


def test_calls_that_the_probability_contradicts_are_counted():
    keys = {"n_positive": 20, "n_negative": 50, "auc": 0.7, "n_repeats": 1}
    rows = calibration_rows(1.0, 2 / 7, np.log(2 / 5)).assign(**keys)
    (found,) = Calibrated().summarise(rows).to_dict("records")
    # called above a score of 0, likely above 0.92
    assert 0.2 < found["contradicted"] < 0.4
    assert found["of_positive"] > 0.5
    rows["call_above"] = np.log(5 / 2)
    (found,) = Calibrated().summarise(rows).to_dict("records")
    assert found["contradicted"] == found["of_positive"] == 0
