from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from trial_fixtures import people_of_trial, scored

from fmnet.data.outcomes import Outcomes
from fmnet.targets.improvement import Improvement

TARGET = Improvement(arm="arm", arms=("placebo", "drug"))


def single_arm(n=70, seed=0, foretells=1.0):
    people, marker = people_of_trial(n, seed, 0.0, foretells=foretells)
    values = {role: people[role] for role in ("outcome", "baseline")}
    return Outcomes(values, people.participants, people.units, people.sites), marker


def predicted(target, people, score, **more):
    rows = scored(people, score, **more)
    link = target.fit_link(score[:, None], people)
    outputs = link.outputs(score[:, None])
    n_repeats = len(rows) // len(people)
    return rows.assign(**{name: np.tile(own, n_repeats) for name, own in outputs.items()})


def test_one_arm_is_enough():
    ids = ["a", "b", "c"]
    texts = pd.DataFrame({"participant_id": ids, "scan_id": ids, "outcome": ["3", "4", "x"]})
    texts = texts.assign(baseline=["5", "", "7"], group=["drug"] * 3)
    read, values, faults = Improvement(arm="group").read(texts)
    assert read.arms == ("drug",)
    assert [one.participant_id for one in faults] == ["c"]
    np.testing.assert_array_equal(values["baseline"], [5, np.nan, 7])
    assert "arm" not in Improvement().columns


def test_responses_are_what_baseline_and_arm_do_not_tell():
    people, marker = people_of_trial(200, foretells=1.0)
    train = np.arange(150)
    response = TARGET.fit_null(people, train).responses[:, 0]
    for role in ("baseline", "arm"):
        assert abs(np.corrcoef(response[train], people[role][train])[0, 1]) < 1e-5
    assert np.corrcoef(response, marker)[0, 1] > 0.5
    outcome = people["outcome"].copy()
    outcome[150:] = 0
    again = TARGET.fit_null(people.replace(outcome=outcome), train).responses[:, 0]
    np.testing.assert_array_equal(response[train], again[train])


@pytest.mark.parametrize("benefit", ["lower", "higher"])
def test_larger_scores_go_with_better_outcomes(benefit):
    people, marker = single_arm(120)
    sign = 1 if benefit == "lower" else -1
    people = people.replace(outcome=sign * people["outcome"], baseline=sign * people["baseline"])
    target = Improvement(benefit=benefit)
    found = target.figures(predicted(target, people, marker, n_repeats=2))
    assert 0.3 < found["r2"] < 0.7
    assert found["spearman"] > 0.5
    assert target.statistic(marker[:, None], people, np.zeros(120, int)) > 0.5


def test_baseline_alone_tells_nothing_beyond_itself():
    people, _ = single_arm(150, 1)
    found = Improvement().figures(predicted(Improvement(), people, people["baseline"]))
    assert found["r2"] < 0.05
    assert abs(found["spearman"]) < 0.2
    without = Improvement(baseline=None)
    bare = Outcomes({"outcome": people["outcome"]}, people.participants, people.units, people.sites)
    assert without.figures(predicted(without, bare, -people["baseline"]))["spearman"] > 0.2
    assert without.primary.title == "R²"


def test_exchanged_outcomes_keep_what_baseline_tells():
    people, marker = people_of_trial(300, foretells=1.0)
    order = np.arange(300)
    for arm in (0, 1):
        rows = np.flatnonzero(people["arm"] == arm)
        order[rows] = np.random.default_rng(0).permutation(rows)
    assert {TARGET.exchange_blocks(people)[k] for k in rows} == {"arm 1, "}
    drawn = TARGET.exchanged(people, order)
    fold = np.zeros(300, dtype=int)
    assert abs(TARGET.statistic(marker[:, None], drawn, fold)) < 0.2
    with_baseline = [np.corrcoef(one["outcome"], one["baseline"])[0, 1] for one in (people, drawn)]
    assert with_baseline[0] == pytest.approx(with_baseline[1], abs=0.1)
    same = TARGET.exchanged(people, np.arange(300))
    np.testing.assert_allclose(same["outcome"], people["outcome"])


def test_strata_hold_arm_and_quarter():
    people, _ = people_of_trial(80)
    assert len(set(TARGET.strata(people))) == 8
    assert len(set(Improvement().strata(single_arm()[0]))) == 4


def test_null_stays_as_it_is_when_people_are_drawn():
    people, marker = single_arm()
    rows = Improvement().with_null(predicted(Improvement(), people, marker, n_repeats=2))
    assert "outcome_value" not in rows
    whole = Improvement().figures(rows)
    assert whole == Improvement().figures(rows.drop(columns=["null_left", "null_mean"]))
    few = rows[rows["fold"] == rows["fold"].min()]
    error = few["null_left"] - few["value"]
    known = few["null_left"] - few["null_mean"]
    assert Improvement().figures(few)["r2"] == pytest.approx(1 - error @ error / (known @ known))


def test_cohorts_without_differences_are_refused():
    people, _ = single_arm(24)
    assert not Improvement().check(people)
    assert Improvement().check(people.take(np.arange(12)))
    assert Improvement().check_training(people.replace(outcome=np.full(24, 3.0)), "fold 2")


def test_words_say_that_it_is_a_prognosis():
    people, marker = single_arm()
    rows = predicted(Improvement(), people, marker)
    figures = Improvement().figures(rows)
    figures["r2_ci"] = [figures["r2"] - 0.1, figures["r2"] + 0.1]
    facts = {"studied": "network", "models": {"network": figures}, "kinds": {"network": "linear"}}
    said = Improvement().verdict(facts)
    assert "scans tell who improves" in said[0].text
    assert "prognosis" in said[-1].text
    assert "can't be told without a control arm" in said[-1].text
    assert "target=response" in TARGET.verdict(facts)[-1].text
    names = [one.name for one in Improvement().meanings]
    assert names == list(Improvement().fit_link(marker[:, None], people).outputs(marker[:, None]))
    assert all("without it" in one.means_not for one in Improvement().meanings)
    assert "prognos" in Improvement().title
    assert "prognostic" in Improvement().tripod(facts)[0][2]
    assert Improvement().summary(people).startswith("70 people, outcome ")
    assert replace(TARGET, covariates=["age"]).columns["covariate_age"] == "age"
    assert "people" in Improvement().details(rows)
