from dataclasses import replace

import numpy as np
import pytest

from fmnet.baselines.onset import CoxCovariates
from fmnet.data.folds import Fold
from fmnet.data.outcomes import outcomes_of, with_outcomes
from fmnet.evaluation.survival import FollowUp
from fmnet.targets.onset import Onset
from fmnet.training.scan_set import MapScans

TARGET = Onset(times=(1.0, 3.0))


@pytest.fixture
def followed(build_data):
    """Thirty people whose hazard goes with age; some ages are missing."""

    def build(target=TARGET, effect=1.5) -> MapScans:
        rng = np.random.default_rng(0)
        age = rng.normal(50, 10, 30)
        time = rng.exponential(3 / np.exp(effect * (age - 50) / 10))
        cells = [f"{value:.1f}" for value in age]
        cells[4] = cells[17] = ""
        data = build_data(age=cells, sex=["f", "m", "f"] * 10)
        scans = tuple(
            replace(scan, outcome=(("time", min(own, 4.0)), ("event", float(own < 4))))
            for scan, own in zip(data.cohort.scans, time, strict=True)
        )
        cohort = replace(data.cohort, scans=scans)
        return MapScans(cohort, data.values, data.settings, target=target)

    return build


def fold_of(data):
    people = sorted(set(data.participant_ids))
    test, train = people[::5], [one for one in people if one not in people[::5]]
    inner = tuple(tuple(train[k::3]) for k in range(3))
    return Fold(0, 0, tuple(train), tuple(test), inner)


def test_age_is_learned(followed):
    data = followed()
    model, fold = CoxCovariates(columns=["age", "sex"]), fold_of(data)
    (found,) = model.score_folds([(data, fold)])
    assert found.score.shape == (6, 1)
    rows = data.rows(fold.test)
    time, event = data.outcomes["time"][rows], data.outcomes["event"][rows] > 0
    follow = FollowUp(time, event, np.zeros(6, int))
    assert follow.concordance(follow.higher(found.score[:, 0]), np.ones(6)) > 0.7
    assert set(found.outputs) == {"risk_1", "risk_3", "relative_hazard"}


def test_test_people_have_no_part_in_it(followed):
    data = followed()
    model, fold = CoxCovariates(columns=["age", "sex"]), fold_of(data)
    outcomes = outcomes_of(data.cohort)
    rows = data.rows(fold.test)
    event = outcomes["event"].copy()
    event[rows] = 1 - event[rows]
    other = replace(data, cohort=with_outcomes(data.cohort, outcomes.replace(event=event)))
    first, second = (model.score_folds([(one, fold)])[0] for one in (data, other))
    np.testing.assert_array_equal(first.score, second.score)
    np.testing.assert_array_equal(first.outputs["risk_1"], second.outputs["risk_1"])


def test_what_it_lacks_is_said(followed):
    assert "target=onset" in CoxCovariates().lacks(followed(target=None))
    assert "iq" in CoxCovariates(columns=["iq"]).lacks(followed())
    assert not CoxCovariates(columns=["age"]).lacks(followed())


def test_penalties_hold_coefficients_back(followed):
    data = followed()
    model, fold = CoxCovariates(columns=["age"]), fold_of(data)
    rows = data.rows(fold.train), data.rows(fold.test)
    weak, strong = (model.scores(data, *rows, penalty) for penalty in (0.1, 100.0))
    assert strong.std() < 0.5 * weak.std()


def test_kind_is_that_of_its_columns():
    assert CoxCovariates().describe("covariates") == ("shortcut", "covariates only (Cox)")
    assert CoxCovariates(columns=["fiqr"]).describe("questionnaires")[0] == "symptoms"
