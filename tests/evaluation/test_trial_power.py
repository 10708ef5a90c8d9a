import numpy as np
import pytest

from fmnet.evaluation.trial_power import (
    people_for_correlations,
    smallest_correlation,
    smallest_interaction,
    smallest_slope,
    standardised_difference,
)


def test_correlations_of_0_4_and_0_need_91_people_in_each_arm():
    assert people_for_correlations(0.4) == 91
    assert smallest_correlation(91, 91) == pytest.approx(0.4, abs=0.002)
    assert smallest_correlation(3, 50) == 1


def test_smallest_interaction_is_found_in_80_of_100():
    rng, n = np.random.default_rng(0), (36, 27)
    effect, found = smallest_interaction(*n), []
    arm = np.repeat([0.0, 1.0], n)
    for _ in range(600):
        z = rng.normal(size=63)
        gain = effect * arm * z + rng.normal(size=63)
        design = np.column_stack([np.ones(63), arm, z, arm * z])
        beta, squares = np.linalg.lstsq(design, gain, rcond=None)[:2]
        variance = squares[0] / 59 * np.linalg.inv(design.T @ design)[3, 3]
        found.append(beta[3] / variance**0.5 > 2)
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_crossover_needs_fewer_people():
    assert smallest_slope(63) < smallest_interaction(36, 27) / 1.8


def test_difference_between_arms_is_that_of_welch():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    values, arm = rng.normal(size=41), np.arange(41) % 3 == 0
    values[arm] *= 3
    gap, p = standardised_difference(values, arm.astype(float))
    assert p == pytest.approx(stats.ttest_ind(values[arm], values[~arm], equal_var=False).pvalue)
    assert np.sign(gap) == np.sign(values[arm].mean() - values[~arm].mean())
    assert standardised_difference(np.ones(41), arm.astype(float)) == (0.0, 1.0)
