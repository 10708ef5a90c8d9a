import numpy as np
import pandas as pd
import pytest
from survival_fixtures import draw_people, out_of_fold

from fmnet.data.outcomes import Outcomes
from fmnet.evaluation.survival import FollowUp, kaplan_meier
from fmnet.targets.onset import Onset

TARGET = Onset(times=(1.0, 3.0))


def outcomes_of_people(time, event, participants=None):
    names = tuple(participants or (f"sub-{row:02}" for row in range(len(time))))
    values = {"time": np.array(time, float), "event": np.array(event, float)}
    return Outcomes(values, names, names, ("",) * len(names))


def drawn(seed=0, **more):
    covariates, time, event = draw_people(seed, **more)
    return covariates[:, 0], outcomes_of_people(time, event)


def read(time, event, target=TARGET):
    people = [f"sub-{row}" for row in range(len(time))]
    cells = {"participant_id": people, "scan_id": people, "time": time, "event": event}
    return target.read(pd.DataFrame(cells))


def test_events_are_read_as_they_are_written():
    words = ["1", "true", "Yes", "1.0", "0", "FALSE", "no", "n/a"]
    _, values, faults = read(["1.5"] * 7 + [""], words)
    assert not faults
    np.testing.assert_array_equal(values["event"], [1, 1, 1, 1, 0, 0, 0, np.nan])
    np.testing.assert_array_equal(values["time"], [1.5] * 7 + [np.nan])


@pytest.mark.parametrize(
    ("time", "event", "said"),
    [
        ("-0.5", "1", "before the scan: nothing is left to predict"),
        ("0", "1", "had the event when scanned"),
        ("0", "0", "never seen again"),
        ("2.5", "2", "competing event"),
        ("2.5", "perhaps", "1, true or yes for the event"),
        ("soon", "1", "numbers with a decimal point"),
        ("54", "0", "follow-up that began before the scan isn't supported"),
        ("2019", "1", "neither ages nor calendar years"),
    ],
)
def test_what_cannot_be_read_is_a_fault_of_the_person(time, event, said):
    _, _, faults = read(["1.5", time, "3"], ["1", event, "0"])
    (fault,) = faults
    assert fault.participant_id == "sub-1"
    assert said in str(fault)


def test_events_coded_1_and_2_are_not_called_competing():
    _, _, faults = read(["1.5", "2.5", "3"], ["1", "2", "2"])
    assert [fault.action for fault in faults] == [
        "if 1 stands for no event and 2 for one, write 0 and 1"
    ] * 2


def test_other_units_allow_larger_numbers():
    months = Onset(times=(12.0,), unit="months")
    assert not read(["54"], ["0"], months)[2]


def test_few_events_are_refused():
    _, outcomes = drawn(n=30)
    few = outcomes.replace(event=np.r_[np.ones(9), np.zeros(21)])
    (fault,) = TARGET.check_training(few, "repeat 0, fold 2")
    assert str(fault) == (
        "repeat 0, fold 2: found 9 events among 30 people to learn from; accepted: 10 events or "
        "more; to do: follow people for longer, add people, or have fewer folds."
    )
    enough = outcomes.replace(event=np.r_[np.ones(10), np.zeros(20)])
    assert not TARGET.check_training(enough, "repeat 0, fold 2")


def test_events_are_counted_by_person():
    time, event = np.full(24, 2.0), np.ones(24)
    twice = outcomes_of_people(time, event, [f"sub-{row // 3}" for row in range(24)])
    assert "8 events among 8 people" in str(TARGET.check_training(twice, "fold")[0])


def test_times_need_people_before_and_after():
    _, outcomes = drawn()
    assert not TARGET.check(outcomes)
    (fault,) = Onset(times=(1.0, 9.0)).check(outcomes)
    assert "9 years, by when" in str(fault)
    assert "0 were followed without it" in str(fault)
    (fault,) = Onset(times=(0.001, 1.0)).check(outcomes)
    assert "0.001 years, by when 0 had the event" in str(fault)


def test_people_seen_at_the_last_visit_were_followed_up_to_it():
    outcomes = outcomes_of_people([1.0] * 12 + [2.0] * 12, [1] * 6 + [0] * 6 + [1] * 6 + [0] * 6)
    assert not Onset(times=(2.0,)).check(outcomes)


def test_strata_hold_events_apart():
    outcomes = outcomes_of_people([1, 2, 3, 4, 5, 6], [1, 1, 0, 0, 0, 0])
    assert TARGET.strata(outcomes) == [
        "event, sooner",
        "event, later",
        "no event, sooner",
        "no event, sooner",
        "no event, later",
        "no event, later",
    ]


@pytest.mark.parametrize("loss", ["cox", "discrete"])
def test_null_is_learned_from_training_people_alone(loss):
    target = Onset(times=(1.0, 3.0), loss=loss)
    _, outcomes = drawn(is_tied=True)
    train = np.arange(50)
    null = target.fit_null(outcomes, train)
    assert null.responses.shape == (70, 1)
    assert null.losses.shape == (70, 2 if loss == "cox" else 4)
    assert null.responses[train].mean() == pytest.approx(0, abs=1e-6)
    assert null.responses[train].std() == pytest.approx(1, abs=1e-6)
    changed = outcomes.replace(event=np.r_[outcomes["event"][:50], 1 - outcomes["event"][50:]])
    again = target.fit_null(changed, train)
    np.testing.assert_array_equal(again.responses[train], null.responses[train])
    np.testing.assert_array_equal(again.losses[train], null.losses[train])


def test_responses_are_the_slope_of_the_likelihood():
    _, outcomes = drawn(is_tied=True)
    responses = TARGET.fit_null(outcomes, np.arange(70)).responses[:, 0]
    follow = FollowUp(outcomes["time"], outcomes["event"] > 0, np.zeros(70, int))
    _, gradient, _ = follow.derivatives(np.eye(70), np.zeros(70))
    np.testing.assert_allclose(responses, gradient / gradient.std(), atol=1e-5)


def test_unknown_people_have_no_response():
    _, outcomes = drawn()
    outcomes = outcomes.replace(time=np.r_[np.nan, outcomes["time"][1:]])
    null = TARGET.fit_null(outcomes, np.arange(70))
    assert np.isnan(null.responses[:, 0]).nonzero()[0].tolist() == [0]
    assert np.isnan(null.losses).any(axis=1).nonzero()[0].tolist() == [0]


def test_scores_that_tell_nothing_get_kaplan_meier():
    _, outcomes = drawn(is_tied=True)
    expected = 1 - kaplan_meier(outcomes["time"], outcomes["event"] > 0, [1.0, 3.0])
    found = TARGET.fit_link(np.zeros((70, 1)), outcomes).outputs(np.array([[-3.0], [0.0], [2.0]]))
    np.testing.assert_allclose(
        np.stack([found["risk_1"], found["risk_3"]]), expected[:, None] * [1, 1, 1]
    )
    assert found["relative_hazard"].tolist() == [1, 1, 1]


def test_links_shrink_what_is_luck():
    slopes = []
    for seed in range(40):
        _, outcomes = drawn(seed)
        score = np.random.default_rng(seed + 100).normal(size=(70, 1))
        slopes.append(TARGET.fit_link(score, outcomes).slope)
    assert np.mean(np.array(slopes) < 0.1) > 0.7
    score, outcomes = drawn(effect=1.0)
    assert 0.5 < TARGET.fit_link(score[:, None], outcomes).slope < 1.2


def test_figures_tell_a_marker_from_none():
    score, outcomes = drawn(effect=1.2)
    figures = TARGET.figures(out_of_fold(TARGET, score, outcomes, 1))
    assert 0.65 < figures["uno_c"] < 0.9
    assert 0.65 < figures["auc_1"] < 0.95
    assert figures["integrated_brier_skill"] > 0.1
    assert figures["brier_skill_3"] > 0.1
    assert 0.5 < figures["calibration_slope"] < 2.5
    assert 0.8 < figures["observed_to_expected_3"] < 1.2
    nothing = TARGET.figures(out_of_fold(TARGET, np.zeros(70), outcomes, 1))
    assert nothing["uno_c"] == 0.5
    assert nothing["integrated_brier_skill"] == pytest.approx(0, abs=1e-12)
    assert np.isnan(nothing["calibration_slope"])


@pytest.mark.parametrize("loss", ["cox", "discrete"])
@pytest.mark.filterwarnings("error")
def test_nobody_with_the_event_is_no_error(loss):
    target = Onset(times=(1.0, 3.0), loss=loss)
    score, outcomes = drawn()
    nobody = outcomes.replace(event=np.zeros(70))
    assert not target.fit_null(nobody, np.arange(60)).responses.any()
    figures = target.figures(out_of_fold(target, score, nobody, 1))
    assert np.isnan(figures["uno_c"])
    assert figures["integrated_brier"] == 0
    assert target.statistic(score[:, None], nobody, np.arange(70) % 5) == 0
    assert target.details(out_of_fold(target, score, nobody))["log_rank"] is None


def test_primary_is_among_the_figures():
    score, outcomes = drawn()
    assert TARGET.primary.name in TARGET.figures(out_of_fold(TARGET, score, outcomes, 1))
    assert TARGET.primary.title == "Uno's C up to 3 years"


def test_statistic_finds_the_direction():
    score, outcomes = drawn(effect=1.0)
    fold = np.arange(70) % 5
    value = TARGET.statistic(score[:, None], outcomes, fold)
    assert value > 3
    assert TARGET.statistic(-score[:, None], outcomes, fold) == pytest.approx(-value)
    assert TARGET.statistic((9 * fold + score)[:, None], outcomes, fold) == pytest.approx(value)


def test_permuted_events_are_found_as_often_as_they_should():
    """200 null sets: p by permutation within folds is 0.05 or less in about one of twenty."""
    rng, fold = np.random.default_rng(0), np.arange(35) % 5
    rejected = 0
    for seed in range(200):
        _, time, event = draw_people(seed, n=35, effect=0.0, is_tied=True)
        outcomes, score = outcomes_of_people(time, event), rng.normal(size=(35, 1))
        observed, null = TARGET.statistic(score, outcomes, fold), []
        for _ in range(19):
            order = np.arange(35)
            for number in range(5):
                rows = np.flatnonzero(fold == number)
                order[rows] = rng.permutation(rows)
            null.append(TARGET.statistic(score, TARGET.exchanged(outcomes, order), fold))
        rejected += observed > max(null)
    assert 3 <= rejected <= 18


def test_details_hold_curves_and_calibration():
    score, outcomes = drawn(effect=1.2)
    details = TARGET.details(out_of_fold(TARGET, score, outcomes))
    assert details["n_events"] == int(outcomes["event"].sum())
    assert [group["n"] for group in details["curves"]["groups"]] == [24, 23, 23]
    assert details["log_rank"]["p"] < 0.01
    assert list(details["calibration"]) == ["1", "3"]
    assert 3 < details["median_follow_up"] < 6


def facts_of(slope=(0.6, 1.4), skill=(0.05, 0.15), n_events=40, p=0.01):
    figures = {
        "uno_c": 0.7,
        "uno_c_ci": [0.6, 0.8],
        "integrated_brier_skill": np.mean(skill),
        "integrated_brier_skill_ci": list(skill),
        "calibration_slope": np.mean(slope),
        "calibration_slope_ci": list(slope),
    }
    return {
        "studied": "network",
        "n_subjects": 70,
        "models": {"network": figures},
        "kinds": {"network": "closed form"},
        "comparisons": [],
        "permutation": {"models": {"network": {"p": p}}},
        "details": {"network": {"n_events": n_events, "median_follow_up": 4.2}},
    }


def test_verdict_says_what_is_shown_and_what_is_not():
    said = TARGET.verdict(facts_of())
    assert said[0].text.startswith("In this cohort scans tell which of new people has")
    assert {one.severity for one in said} == {"none"}
    said = TARGET.verdict(facts_of((0.1, 0.7), (-0.1, 0.2), n_events=12, p=0.4))
    assert said[0].text.startswith("It is not shown that scans tell")
    text = " ".join(one.text for one in said)
    assert "aren't shown to be nearer to what happens than the same Kaplan-Meier risk" in text
    assert "too far apart (calibration slope 0.40 [0.10, 0.70])" in text
    assert "There are 12 events" in text
    said = TARGET.verdict(facts_of(slope=(1.2, 3.0)))
    assert "too much alike" in " ".join(one.text for one in said)


def test_outputs_and_meanings_have_one_order():
    score, outcomes = drawn()
    outputs = TARGET.fit_link(score[:, None], outcomes).outputs(score[:, None])
    assert [one.name for one in TARGET.meanings] == list(outputs)
    assert list(TARGET.describe()["columns"].values()) == ["time", "event"]


def test_summary_and_tripod_state_follow_up():
    _, outcomes = drawn()
    assert "70 people, " in TARGET.summary(outcomes)
    assert "(reverse Kaplan-Meier)" in TARGET.summary(outcomes)
    without = outcomes_of_people([1.0, 2.0, 3.0], [1, 1, 1])
    assert TARGET.summary(without).endswith("followed for up to 3 years, most until their event")
    items = TARGET.tripod(facts_of())
    assert "reverse Kaplan-Meier 4.2 years" in items[-1][2]
