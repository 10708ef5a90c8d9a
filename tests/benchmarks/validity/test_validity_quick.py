"""Seeded simulations that fail where intervals, t-test or probabilities lose what they promise.

Margins are such that a change of random numbers alone doesn't cross them: of the figures before
these promises were kept (coverage .81, type I .09 to .13, slope 1.6, calls contradicted .04 to
.10) each does.
"""

import pandas as pd

from benchmarks.validity.measures import Coverage, TypeOne
from benchmarks.validity.probabilities import Calibrated


def measured(measure, n_cohorts):
    rows = [
        dict(zip(measure.names, cell, strict=True)) | row
        for k, cell in enumerate(measure.cells())
        for number in range(n_cohorts)
        for row in measure.measure(cell, (20, k, number))
    ]
    return measure.summarise(pd.DataFrame(rows))


def test_intervals_over_ten_repeats_hold_the_truth():
    found = measured(Coverage(n=[24], aucs=[0.5, 0.8], n_repeats=[10]), 50)
    assert found["share"].mean() >= 0.90


def test_models_worth_the_same_are_hardly_told_apart_over_ten_repeats():
    found = measured(TypeOne(n=[24, 40], aucs=[0.5], n_repeats=[10]), 250)
    assert found["share"].iloc[-1] <= 0.07  # of all 500


def test_probabilities_are_as_sure_as_they_may_be_and_calls_say_the_same():
    strong = Calibrated(aucs=[0.9], groups=[[12, 12]], n_repeats=[1])
    uneven = Calibrated(aucs=[0.8], groups=[[20, 50]], n_repeats=[1])
    found = pd.concat([measured(one, 60) for one in (strong, uneven)])
    assert found["contradicted"].max() == 0
    assert found["pooled_slope"].between(0.75, 1.4).all()
