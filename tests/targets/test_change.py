import numpy as np
import pandas as pd
import pytest
from scipy.stats import nct

from fmnet.data.outcomes import Outcomes
from fmnet.targets.base import Target
from fmnet.targets.change import Change, interval_of_d_z, standardised

TARGET = Change()


def texts_of(scans):
    people = [scan.split("_")[0] for scan in scans]
    return pd.DataFrame({"participant_id": people, "scan_id": scans})


def outcomes_of_people(n):
    people = tuple(np.repeat([f"sub-{one:02}" for one in range(n)], 2))
    return Outcomes({"after": np.tile([0.0, 1.0], n)}, people, people, ("",) * (2 * n))


def rows_of(outcomes, score, fold):
    table = {"participant_id": outcomes.participants, "outcome_after": outcomes["after"]}
    scans = [f"scan-{n}" for n in range(len(outcomes))]
    table |= {"scan_id": scans, "repeat": 0, "fold": fold, "score": score, "log_odds": score}
    return pd.DataFrame(table)


def test_people_without_both_sessions_are_not_known():
    scans = ["a_ses-before", "a_ses-after", "b_ses-before", "c_ses-after", "c_ses-before"]
    target, values, faults = TARGET.read(texts_of(scans))
    np.testing.assert_array_equal(values["after"], [0, 1, np.nan, 1, 0])
    assert not faults
    assert target.columns == {}


def test_sessions_of_a_column():
    texts = texts_of(["a_1", "a_2", "b_1", "b_2"]).assign(visit=["t0", "t1", "t0", ""])
    target = Change(before="t0", after="t1", session="visit")
    _, values, _ = target.read(texts)
    np.testing.assert_array_equal(values["after"], [0, 1, np.nan, np.nan])
    assert target.columns == {"session": "visit"}
    _, _, (fault,) = Change(before="pre", session="visit").read(texts)
    assert fault.accepted == "scans of 'pre' and of 'after' of the same people"


def test_few_people_are_refused():
    assert TARGET.check(outcomes_of_people(7))[0].found == "7"
    assert TARGET.check(outcomes_of_people(8)) == []


def test_responses_are_within_people():
    outcomes = outcomes_of_people(9)
    null = TARGET.fit_null(outcomes, np.arange(12))
    np.testing.assert_allclose(null.responses[:, 0], np.tile([-1, 1], 9))


def test_levels_of_people_are_no_change(rng):
    """However far people lie apart, and folds from each other."""
    outcomes = outcomes_of_people(30)
    level = np.repeat(rng.normal(0, 100, 30), 2)
    change = rng.normal(0.8, 1, 30)
    score = level + np.where(outcomes["after"] == 1, np.repeat(change, 2), 0)
    found = TARGET.figures(rows_of(outcomes, score, np.repeat(np.arange(30) % 3, 2)))
    assert found["paired_accuracy"] == pytest.approx((change > 0).mean())
    assert found["d_z"] == pytest.approx(change.mean() / change.std(ddof=1))
    fold = np.zeros(60, int)
    assert TARGET.statistic(score[:, None], outcomes, fold) == found["paired_accuracy"]


def test_log_odds_are_those_of_pairs_and_0_at_chance(rng):
    outcomes = outcomes_of_people(400)
    slope = 1.5
    pairs = rng.normal(size=(400, 2))
    is_second = rng.random(400) < 1 / (1 + np.exp(-slope * (pairs[:, 1] - pairs[:, 0])))
    score = np.where(is_second[:, None], pairs, pairs[:, ::-1]).reshape(-1, 1)
    link = TARGET.fit_link(score, outcomes)
    assert link.slope == pytest.approx(slope, rel=0.25)
    assert TARGET.fit_link(-score, outcomes).slope == 0
    assert TARGET.fit_link(np.ones((800, 1)), outcomes).slope == 0


def test_interval_of_a_standardised_change_by_inverting_the_noncentral_t():
    low, high = interval_of_d_z(0.5, 20)
    t = 0.5 * np.sqrt(20)
    assert nct.sf(t, 19, low * np.sqrt(20)) == pytest.approx(0.025, abs=1e-6)
    assert nct.cdf(t, 19, high * np.sqrt(20)) == pytest.approx(0.025, abs=1e-6)
    assert np.isnan(standardised(np.ones(5)))


def test_the_null_hypothesis_exchanges_within_people():
    assert Change.exchanged is Target.exchanged
    assert Change.is_within


def test_a_change_is_not_called_an_effect():
    figures = {"paired_accuracy": 0.9, "paired_accuracy_ci": [0.8, 1.0], "d_z": 1.2}
    facts = {"studied": "network", "models": {"network": figures}, "kinds": {}}
    facts["details"] = {"network": {"d_z": 1.2, "d_z_ci": [0.7, 1.7]}}
    said = TARGET.verdict(facts)
    assert "which of a person's sessions was after" in said[0].text
    assert said[-1].severity == "amber"
    assert "no effect of a treatment" in said[-1].text
    figures["paired_accuracy_ci"] = [0.4, 1.0]
    assert TARGET.verdict(facts)[0].text.startswith("It is not shown")
