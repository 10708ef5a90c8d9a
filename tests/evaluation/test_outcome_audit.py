import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from fmnet.evaluation.outcome_audit import (
    audit_outcomes,
    encode,
    explained,
    partial_correlation,
    person_scores,
)


def cohort(seed=0, n=60, of_age=0.0, of_outcome=0.0):
    """Scores that go with age and with the outcome, which goes with age too."""
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(50, 8, n), rng.choice(["f", "m"], n)
    outcome = 0.8 * (age - 50) / 8 + rng.normal(size=n)
    score = of_age * (age - 50) / 8 + of_outcome * outcome + rng.normal(size=n)
    return score[:, None], outcome[:, None], pd.DataFrame({"age": age, "sex": sex})


def severities(found):
    return [one["severity"] for one in found["said"]]


def test_scores_that_say_what_age_says_are_told_on():
    found = audit_outcomes(*cohort(of_age=2.0), seed=1)
    assert found["plain"]["p"] < 0.05 < found["partial"]["p"]
    assert found["score_p"] < 0.01
    assert found["score_r2"] > found["score_r2_cv"] > 0.4
    age, sex = found["confounds"]
    assert (age["confound"], sex["confound"]) == ("age", "sex")
    assert age["score_p_holm"] < 0.01 < 0.05 < sex["score_p"]
    assert severities(found) == ["none", "none", "red"]
    assert "they may say no more than these" in found["said"][-1]["text"]
    assert "age" in found["said"][0]["text"]
    json.dumps(found, allow_nan=False)


def test_scores_that_say_more_than_age_are_left_alone():
    found = audit_outcomes(*cohort(of_outcome=1.0))
    assert found["partial"]["p"] < 0.01
    assert "still go with what is predicted" in found["said"][-1]["text"]
    assert severities(found)[-1] == "none"


def test_scores_without_signal_need_no_explanation():
    found = audit_outcomes(*cohort(seed=3))
    assert found["plain"]["p"] > 0.05
    assert "nothing to explain" in found["said"][-1]["text"]
    assert severities(found) == ["none"] * 3


def test_partial_correlation_is_that_of_residuals_of_ranks():
    rng = np.random.default_rng(4)
    score, response, given = rng.normal(size=(12, 1)), rng.normal(size=(12, 1)), rng.normal(size=12)
    response[3] = np.nan
    found = partial_correlation(score, response, given[:, None], rng, 9)
    known = np.delete(np.arange(12), 3)
    design = np.column_stack([np.ones(11), given[known]])
    one, other = (
        ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
        for ranks in (rankdata(score[known, 0]), rankdata(response[known, 0]))
    )
    assert found["r"] == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert found["p"] in {k / 10 for k in range(1, 11)}


def test_p_of_what_is_left_is_exact_under_the_null():
    """Scores and outcomes both go with age, and with nothing else."""
    rng, found = np.random.default_rng(5), []
    for trial in range(300):
        score, outcome, table = cohort(seed=trial, n=30, of_age=1.0)
        design = encode(table["age"])
        found.append(partial_correlation(score, outcome, design, rng, 19)["p"])
    assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.09


def test_explained_is_the_mean_over_scores():
    rng = np.random.default_rng(6)
    x = rng.normal(size=25)
    both = np.stack([x, rng.normal(size=25)], axis=1)
    design = encode(pd.Series(rankdata(x)))
    each = [explained(both[:, [k]], design, rng, 9)[0] for k in (0, 1)]
    assert explained(both, design, rng, 9)[0] == pytest.approx(np.mean(each))
    assert each[0] == pytest.approx(1.0)
    assert explained(np.zeros((25, 1)), design, rng, 9) == (None, None)


def test_gaps_and_constants_are_known_for_what_they_are():
    column = pd.Series([1.0, np.nan, 3.0, 8.0])
    design = encode(column)
    assert design.shape == (4, 2)
    assert design[1, 0] == pytest.approx((3 - 3.75) / np.std([1, 3, 3, 8]))
    assert encode(pd.Series(["a", None, "b", "a"], dtype=object)).shape == (4, 3)
    assert encode(pd.Series([2.0] * 4)).shape == (4, 0)
    score, outcome, table = cohort()
    found = audit_outcomes(score, outcome, table.assign(scanner="one"))
    assert found["passed_over"] == ["scanner"]
    assert [row["confound"] for row in found["confounds"]] == ["age", "sex"]


def test_families_count_once():
    score, outcome, table = cohort(of_outcome=1.0)
    doubled = [np.repeat(own, 2, axis=0) for own in (score, outcome)]
    twice = table.loc[table.index.repeat(2)]
    found = audit_outcomes(*doubled, twice, units=[f"f{k // 2:02}" for k in range(120)])
    once = audit_outcomes(score, outcome, table)
    assert found["n"] == 60
    assert found["partial"]["r"] == pytest.approx(once["partial"]["r"])


def test_too_few_people_and_no_confounds_are_told():
    score, outcome, table = cohort(n=8)
    found = audit_outcomes(score, outcome, table)
    assert found["partial"] == {"r": None, "p": None}
    assert severities(found) == ["amber"]
    bare = audit_outcomes(*cohort(of_outcome=1.0)[:2], pd.DataFrame(index=range(60)))
    assert bare["plain"]["p"] < 0.05
    assert bare["score_r2"] is None
    assert severities(bare) == ["amber"]


def test_scores_of_people_are_compared_within_folds():
    rows = pd.DataFrame(
        {
            "participant_id": ["b", "a", "c", "d", "a", "b", "d", "c"],
            "repeat": [0] * 4 + [1] * 4,
            "fold": [0, 0, 1, 1] * 2,
            "score": [1.0, 3.0, 105.0, 101.0, 2.0, 2.0, 7.0, 8.0],
        }
    )
    found = person_scores(rows, ["score"])
    assert list(found.index) == ["a", "b", "c", "d"]
    half = np.sqrt(0.5)
    expected = [half / 2, -half / 2, half, -half]
    assert found["score"].to_numpy() == pytest.approx(expected)
