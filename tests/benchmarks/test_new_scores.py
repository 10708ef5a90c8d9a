import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from benchmarks.new_scores import (
    RULES,
    ScoredCohort,
    measure_probabilities,
    measure_sets,
    summarise_probabilities,
    summarise_sets,
    venn_abers,
)
from fmnet.inference.sets import promised_level
from fmnet.inference.unseen_scores import UnseenScores


def cohort(rng, apart=2.0, shift=0.0, n_positive=20, n_negative=31, n_new=400):
    labels = np.repeat([1, 0], [n_positive, n_negative])
    return ScoredCohort(
        labels=labels,
        scores=apart * (labels - 0.5) + rng.standard_normal(len(labels)),
        folds=np.arange(len(labels)) % 5,
        new_positive=apart / 2 + shift + rng.standard_normal(n_new),
        new_negative=-apart / 2 + shift + rng.standard_normal(n_new),
    )


def by(rows, key, name):
    return next(row for row in rows if row[key] == name)


def test_every_rule_is_measured_at_the_same_level(rng):
    rows = measure_sets(cohort(rng), 1.0)
    assert [row["rule"] for row in rows] == list(RULES)
    assert {row["level"] for row in rows} == {promised_level(20)}
    for row in rows:
        assert row["right"] + row["wrong"] + row["both"] + row["neither"] == pytest.approx(1)
        # of the positive group all but those called the other group alone, or none
        assert (row["positive"] + row["negative"]) / 2 == pytest.approx(row["right"] + row["both"])


def test_one_side_tells_more_people_apart_than_two(rng):
    rows = measure_sets(cohort(rng, n_positive=60, n_negative=60), 0.8)
    one, two = (by(rows, "rule", name) for name in ("fmnet", "two sides"))
    assert one["right"] > two["right"]
    assert one["neither"] < 0.02 < two["neither"]
    assert one["far_out"] > 0.5
    assert by(rows, "rule", "no correction")["far_out"] == 0


def test_cohorts_that_fall_short_are_counted(rng):
    rows = []
    for number, shift in enumerate((0.0, -3.0)):  # new people of the second score lower
        told = {"n_positive": 20, "n_negative": 31, "effect_size": 1.0, "cohort": number}
        one = measure_sets(cohort(rng, shift=shift), 0.8)
        rows += [told | {"asked": 0.8} | row for row in one]
    row = by(summarise_sets(pd.DataFrame(rows)).to_dict("records"), "rule", "fmnet")
    assert row["n_cohorts"] == 2
    assert row["short_positive"] == 0.5
    assert row["short_either"] >= 0.5
    assert row["positive"] < 0.8


def test_truth_follows_from_new_people(rng):
    slope, offset, sd = cohort(rng, apart=2.0, shift=1.0, n_new=4000).truth
    assert sd == pytest.approx(1, abs=0.05)
    assert slope == pytest.approx(2, abs=0.2)
    assert expit(slope * 1.0 + offset) == pytest.approx(0.5, abs=0.03)


def test_probabilities_and_their_intervals_are_compared_with_the_truth(rng):
    made = [measure_probabilities(cohort(rng), prevalence) for prevalence in (0.5, 0.1)]
    for rows in made:
        assert {row["interval"] for row in rows} == {
            "bootstrap of people", "Venn-Abers", "PPV of sets", "NPV of sets",
        }  # fmt: skip
        for row in rows:
            assert 0 <= row["within"] <= 1 + 1e-9
            assert 0 < row["width"] < 1
    usual, narrow = (
        by(made[0], "interval", name) for name in ("bootstrap of people", "Venn-Abers")
    )
    assert usual["within"] > narrow["within"]
    assert usual["calibration_error"] > 0 < usual["of_a_perfect_model"]
    told = {"n_positive": 20, "n_negative": 31, "effect_size": 1.0, "cohort": 0, "prevalence": 0.5}
    table = summarise_probabilities(pd.DataFrame([told | row for row in made[0]]))
    assert table["n_cohorts"].tolist() == [1, 1, 1, 1]


def test_venn_abers_encloses_the_fraction_among_equal_scores():
    unseen = UnseenScores(np.zeros(9), np.zeros(9))
    low, high = venn_abers(unseen, 0.0, 0.5)
    assert low == pytest.approx(0.5)
    assert high == pytest.approx(0.5)
    low, high = venn_abers(UnseenScores(np.ones(9), -np.ones(9)), 2.0, 0.5)
    assert high == 1
    assert low < 1
