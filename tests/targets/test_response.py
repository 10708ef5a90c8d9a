from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from trial_fixtures import people_of_crossover, people_of_trial, scored

from fmnet.evaluation.outcome_study import evaluate_outcomes
from fmnet.targets.response import Response

PARALLEL = Response(arms=("placebo", "drug"))
CROSSOVER = Response(arms=("placebo", "drug"), design="crossover", order="order")


def table(n=6, **columns):
    ids = [f"sub-{k}" for k in range(n)]
    plain = {
        "outcome": [str(20 + k) for k in range(n)],
        "baseline": [str(40 + k) for k in range(n)],
        "arm": ["drug", "placebo"] * (n // 2),
    }
    return pd.DataFrame({"participant_id": ids, "scan_id": ids} | plain | columns)


def test_texts_become_numbers():
    target = Response(stratum="site", covariates=["age"])
    texts = table(site=[*list("BABAB"), ""], age=["50", "", "31", "44", "52", "60"])
    read, values, faults = target.read(texts)
    assert not faults
    assert read.arms == ("placebo", "drug")
    assert read.strata_names == ("A", "B")
    assert read.lacking == (2, 0)
    np.testing.assert_array_equal(values["arm"], [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(values["stratum"], [1, 0, 1, 0, 1, np.nan])
    assert np.isnan(values["covariate_age"]).tolist() == [False, True, *[False] * 4]
    assert list(read.columns) == list(values) or set(read.columns) == set(values)


def test_people_of_a_third_arm_are_passed_over():
    target = Response(arms=["placebo", "drug"])
    _, values, faults = target.read(table(arm=["drug", "placebo", "exercise"] * 2))
    assert not faults
    assert np.isnan(values["arm"]).tolist() == [False, False, True] * 2


def test_a_cell_that_is_no_number_is_a_fault_of_the_person():
    _, _, faults = PARALLEL.read(table(outcome=["20", "many", "22", "23", "24", "n/a"]))
    assert [one.participant_id for one in faults] == ["sub-1"]


@pytest.mark.parametrize(
    ("target", "texts"),
    [
        (Response(arm=None), table()),
        (Response(), table(arm=["drug"] * 6)),
        (Response(arms=["placebo", "drug"]), table(arm=["drug"] * 6)),
    ],
)
def test_who_responds_is_refused_without_a_control_arm(target, texts):
    _, _, faults = target.read(texts)
    assert len(faults) == 1
    assert not faults[0].participant_id
    assert "can't be told without a control arm" in str(faults[0])
    assert "target=improvement" in str(faults[0])


def test_crossovers_are_read_from_rows_and_from_columns():
    rows = table(8, arm=["drug", "placebo"] * 4, order=list("12211221"))
    rows["participant_id"] = list("aabbccdd")
    read, values, faults = replace(CROSSOVER, arms=None).read(rows)
    assert not faults
    np.testing.assert_array_equal(values["outcome"], [-1] * 8)
    np.testing.assert_array_equal(values["order"], [1, 1, 0, 0, 1, 1, 0, 0])
    assert "arm" not in values
    columns = table(under_drug=["1", "2", "3", "4", "5", ""], order=["drug", "placebo"] * 3)
    target = replace(CROSSOVER, outcome_active="under_drug")
    assert "arm" not in target.columns
    _, values, faults = target.read(columns)
    assert not faults
    np.testing.assert_array_equal(values["outcome"], [-19, -19, -19, -19, -19, np.nan])
    np.testing.assert_array_equal(values["order"], [1, 0] * 3)
    assert read.is_crossover


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"arm": np.zeros(60)}, "nobody in arm 'drug'"),
        ({"arm": (np.arange(60) < 9).astype(float)}, "9 people in arm 'drug'"),
        ({"stratum": (np.arange(60) % 2).astype(float)}, "one arm only in stratum 'old'"),
    ],
)
def test_cohorts_that_lack_an_arm_are_refused(changed, words):
    people, _ = people_of_trial()
    if "stratum" in changed:
        changed["arm"] = np.where(changed["stratum"] == 1, 1, np.arange(60) % 4 == 0).astype(float)
    target = replace(PARALLEL, strata_names=("young", "old") if "stratum" in changed else ())
    faults = target.check(people.replace(**changed))
    assert any(words in str(one) for one in faults)
    assert not target.check(people_of_trial()[0].replace(stratum=np.arange(60) % 3.0))


def test_people_in_both_arms_are_a_crossover():
    people, _ = people_of_trial()
    twice = replace(people, participants=("sub-000", *people.participants[:-1]))
    twice = twice.replace(arm=np.arange(60) % 2.0)
    assert "target.design=crossover" in str(PARALLEL.check(twice)[0])


def test_training_folds_need_people_of_both_arms():
    people, _ = people_of_trial(40, share=0.2)
    faults = PARALLEL.check_training(people.take(people["arm"] + np.arange(40) % 9 < 8), "fold 1")
    assert [str(one).startswith("fold 1") for one in faults] in ([], [True])
    few = people.take(np.flatnonzero(people["arm"] == 0))
    assert "0 people in arm 'drug'" in str(PARALLEL.check_training(few, "fold 1")[0])
    assert not PARALLEL.check_training(people_of_trial()[0], "fold 1")


def test_strata_balance_arm_stratum_and_baseline():
    people, _ = people_of_trial(80, strata=2)
    kinds = PARALLEL.strata(people)
    for kind in set(kinds):
        rows = np.array(kinds) == kind
        assert np.ptp(people["arm"][rows]) == 0
        assert np.ptp(people["stratum"][rows]) == 0
    blocks = PARALLEL.exchange_blocks(people)
    assert len(set(kinds)) == 2 * len(set(blocks))
    assert len(set(blocks)) in {3, 4}
    moved = people.replace(arm=1 - people["arm"])
    assert PARALLEL.exchange_blocks(moved) == blocks


def test_nothing_is_learned_from_test_people():
    people, _ = people_of_trial(50, strata=2)
    target = replace(PARALLEL, strata_names=("a", "b"))
    train = np.arange(40)
    outcome = people["outcome"].copy()
    outcome[40:] += 500
    for learner in ("r", "dr"):
        own = replace(target, learner=learner)
        plain = own.fit_null(people, train)
        other = own.fit_null(people.replace(outcome=outcome), train)
        np.testing.assert_array_equal(plain.responses[:40], other.responses[:40])
        np.testing.assert_array_equal(plain.losses[:40], other.losses[:40])
        assert plain.responses.shape == (50, 1)
        assert plain.losses.shape == (50, 2)
        assert plain.responses[:40].std() == pytest.approx(1, abs=1e-5)


def test_unknown_outcomes_have_no_response():
    people, _ = people_of_trial(50)
    outcome = people["outcome"].copy()
    outcome[[3, 44]] = np.nan
    null = PARALLEL.fit_null(people.replace(outcome=outcome), np.arange(40))
    assert np.flatnonzero(np.isnan(null.responses[:, 0])).tolist() == [3, 44]
    assert np.flatnonzero(np.isnan(null.losses).any(axis=1)).tolist() == [3, 44]


def test_period_effect_is_taken_out_of_a_crossover():
    people, marker = people_of_crossover(200, moderates=0.5)
    null = CROSSOVER.fit_null(people, np.arange(200))
    order = people["order"]
    assert null.responses[order == 1].mean() == pytest.approx(0, abs=1e-5)
    assert np.corrcoef(null.responses[:, 0], marker)[0, 1] > 0.3


@pytest.mark.parametrize("benefit", ["lower", "higher"])
def test_figures_tell_a_moderator_from_a_prognostic_marker(benefit):
    target, sign = replace(PARALLEL, benefit=benefit), 1 if benefit == "lower" else -1
    people, marker = people_of_trial(300, 1, 0.4, moderates=1.0)
    people = people.replace(outcome=sign * people["outcome"], baseline=sign * people["baseline"])
    found = target.figures(scored(people, marker))
    assert found["interaction"] == pytest.approx(1, abs=0.3)
    assert found["interaction_t"] == pytest.approx(
        found["interaction_estimate"] / found["interaction_se"]
    )
    assert found["effect_high_third"] > 10 > found["effect_low_third"]
    assert found["autoc"] > 4
    assert found["concordance_active"] > 0.65
    assert abs(found["concordance_control"] - 0.5) < 0.08
    assert abs(found["prognostic_t"]) < 2.5
    trap, marker = people_of_trial(300, 1, 0.4, foretells=1.0)
    trap = trap.replace(outcome=sign * trap["outcome"], baseline=sign * trap["baseline"])
    found = target.figures(scored(trap, marker))
    assert abs(found["interaction_t"]) < 2.5
    assert found["prognostic"] == pytest.approx(1, abs=0.25)
    assert found["main_t"] > 8
    assert found["concordance_control"] > 0.65
    assert abs(found["benefit_concordance"]) < 0.08


def test_figures_of_a_crossover_tell_them_apart():
    people, marker = people_of_crossover(120, 2, moderates=1.0)
    found = CROSSOVER.figures(scored(people, marker))
    assert found["interaction_t"] > 5
    assert found["benefit_concordance"] > 0.15
    assert abs(found["prognostic_t"]) < 2.5
    people, marker = people_of_crossover(120, 2, foretells=1.0)
    found = CROSSOVER.figures(scored(people, marker))
    assert abs(found["interaction_t"]) < 2.5
    assert found["prognostic_t"] > 5


def test_figures_need_both_arms():
    people, marker = people_of_trial()
    rows = scored(people.replace(arm=np.zeros(60)), marker)
    assert np.isnan(PARALLEL.figures(rows)["interaction"])
    assert PARALLEL.details(rows) == {}
    assert (
        PARALLEL.statistic(marker[:, None], people.replace(arm=np.zeros(60)), np.zeros(60, int))
        == 0
    )


def test_permuted_arms_keep_main_effects():
    people, marker = people_of_trial(400, 0, 1 / 3, foretells=1.0)
    blocks, rng = np.array(PARALLEL.exchange_blocks(people)), np.random.default_rng(0)
    order = np.arange(400)
    for block in set(blocks):
        rows = np.flatnonzero(blocks == block)
        order[rows] = rng.permutation(rows)
    drawn = PARALLEL.exchanged(people, order)
    assert drawn["arm"].sum() == people["arm"].sum()
    assert (drawn["arm"] != people["arm"]).mean() > 0.3
    assert drawn["baseline"] is people["baseline"]
    first, again = (PARALLEL.figures(scored(one, marker)) for one in (people, drawn))
    assert again["average_effect"] == pytest.approx(first["average_effect"], abs=3)
    assert again["main_t"] == pytest.approx(first["main_t"], rel=0.2)
    same = PARALLEL.exchanged(people, np.arange(400))
    np.testing.assert_allclose(same["outcome"], people["outcome"])


def test_permutations_take_a_moderator_away():
    people, marker = people_of_trial(100, 0, moderates=1.5)
    fold, rng = np.arange(100) % 5, np.random.default_rng(0)
    observed = PARALLEL.statistic(marker[:, None], people, fold)
    null = [
        PARALLEL.statistic(marker[:, None], PARALLEL.exchanged(people, rng.permutation(100)), fold)
        for _ in range(60)
    ]
    assert observed > max(null)
    assert abs(np.mean(null)) < 0.4


def test_differences_of_a_crossover_are_exchanged_whole():
    people, _ = people_of_crossover(20)
    order = np.random.default_rng(0).permutation(20)
    drawn = CROSSOVER.exchanged(people, order)
    np.testing.assert_array_equal(drawn["outcome"], people["outcome"][order])
    np.testing.assert_array_equal(drawn["control"], people["control"][order])
    assert set(CROSSOVER.exchange_blocks(people)) == {"0, part 0", "1, part 0"}


def judged(target, people, score, p=None):
    rows = scored(people, score)
    figures, details = target.figures(rows), target.details(rows)
    slope = details["slopes"]["interaction"]
    scale = figures["interaction"] / slope["estimate"]
    figures["interaction_ci"] = [end * scale for end in slope["ci"]]
    facts = {"studied": "network", "models": {"network": figures}}
    facts |= {"details": {"network": details}, "permutation": {"models": {"network": {"p": p}}}}
    return target.verdict(facts), facts


def test_study_of_a_moderator_is_judged_by_its_bootstrap():
    people, marker = people_of_trial(120, 2, moderates=1.5)
    rows = scored(people, marker).assign(model="network")
    of = (PARALLEL.figures, PARALLEL.details, vars(PARALLEL.primary))
    facts = evaluate_outcomes(rows, "network", {"network": "other"}, *of, 0, 40)
    assert facts["models"]["network"]["interaction_ci"][0] > 0
    assert PARALLEL.verdict(facts)[0].text.startswith("The score is a moderator")


def test_verdict_calls_a_moderator_one():
    people, marker = people_of_trial(140, 1, moderates=1.2)
    said, facts = judged(PARALLEL, people, marker, 0.005)
    assert said[0].text.startswith("The score is a moderator")
    assert said[0].severity == "none"
    assert "p = 0.005 by permutation of arms" in said[0].text
    assert "would need 91 people in each arm" in said[-1].text
    assert [number for number, _, _ in PARALLEL.tripod(facts)] == [
        "5a",
        "8a",
        "9a",
        "10",
        "12a",
        "20b",
    ]
    assert replace(PARALLEL, lacking=(1, 0)).tripod(facts)[-1][2] == (
        "left out: 1 in placebo, 0 in drug"
    )
    assert judged(PARALLEL, people, marker, 0.2)[0][0].text.startswith("The score isn't shown")
    assert "arms not permuted" in judged(PARALLEL, people, marker)[0][0].text


def test_verdict_names_a_prognostic_marker():
    words = "isn't shown to be a moderator (prognostic: it goes with improvement in both arms, t"
    called = []
    for seed in range(20):
        people, marker = people_of_trial(70, seed, foretells=1.0)
        called.append(words in judged(PARALLEL, people, marker)[0][0].text)
    assert np.mean(called) >= 0.9


def test_verdict_says_where_arms_differ_and_baseline_tells_as_much():
    people, _ = people_of_trial(140, 3)
    baseline = people["baseline"] + 6 * people["arm"]
    gain = people["arm"] * 0.8 * (baseline - baseline.mean())
    people = people.replace(baseline=baseline, outcome=people["outcome"] - gain)
    noise = np.random.default_rng(0).normal(size=140)
    target = replace(PARALLEL, lacking=(2, 9))
    texts = " ".join(one.text for one in judged(target, people, baseline + 3 * noise)[0])
    assert "2 of 72 people in placebo and 9 of 79 people in drug" in texts
    assert "The arms differ in baseline before treatment" in texts
    assert "More of the effect than baseline and covariates tell" in texts


def test_verdict_of_a_crossover():
    people, marker = people_of_crossover(60, moderates=1.0)
    said, facts = judged(CROSSOVER, people, marker, 0.01)
    assert said[0].text.startswith("The score is a moderator")
    assert "60 people show a slope" in said[-1].text
    assert "within persons" in " ".join(text for _, _, text in CROSSOVER.tripod(facts))


def test_link_gives_what_meanings_name():
    for target, (people, marker) in (
        (PARALLEL, people_of_trial()),
        (CROSSOVER, people_of_crossover()),
    ):
        link = target.fit_link(marker[:, None], people)
        assert list(link.outputs(marker[:, None])) == [one.name for one in target.meanings]
    assert "would have done under placebo" in PARALLEL.meanings[0].means_not


def test_summary_and_description_name_the_arms():
    people, _ = people_of_trial(60, share=0.3)
    assert PARALLEL.summary(people).startswith("60 people, 18 in drug and 42 in placebo")
    assert "20 people in both arms" in CROSSOVER.summary(people_of_crossover(20)[0])
    described = replace(PARALLEL, propensity={"a": 0.5}).describe()
    assert described["arms"] == ["placebo", "drug"]
    assert described["propensity"] == {"a": 0.5}


def test_verdict_leaves_open_what_a_weak_moderator_is():
    figures = {
        "interaction": 0.4,
        "interaction_ci": [-0.1, 0.9],
        "main_t": 2.4,
        "prognostic_t": 0.2,
    }
    facts = {"studied": "network", "models": {"network": figures}}
    (said,) = PARALLEL.verdict(facts)
    assert said.text.startswith(
        "The score isn't shown to be a moderator, and it goes with improvement"
    )
    assert "in which arms is open" in said.text
    figures |= {"main_t": -3.0, "prognostic_t": -2.2}
    assert (
        "(prognostic: it goes with a worse outcome in both arms" in PARALLEL.verdict(facts)[0].text
    )
    figures["interaction"] = None
    assert PARALLEL.verdict(facts)[0].severity == "red"
