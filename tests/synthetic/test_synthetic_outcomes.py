import numpy as np
import pytest

from fmnet.synthetic.outcomes import PATTERNS, OutcomePlan, draw_people

MANY = 4000


def draw(kind, planted="effect", seed=0, **plan):
    plan = OutcomePlan(kind, planted, **({"n_people": MANY} | plan))
    return draw_people(plan, np.random.default_rng(seed))


def correlate(x, y, where=slice(None)):
    return np.corrcoef(np.asarray(x, float)[where], np.asarray(y, float)[where])[0, 1]


def left(y, x):
    """What a straight line of x leaves of y."""
    return y - np.polyval(np.polyfit(x, y, 1), x)


@pytest.mark.parametrize("planted", ["effect", "site", "baseline", "none"])
def test_severity_follows_what_was_planted(planted):
    drawn = draw("severity", planted, effect=0.6)
    people, shown = drawn.people, drawn.expression[:, 0]
    assert correlate(drawn.driver, people["fiqr"]) == pytest.approx(0.6, abs=0.04)
    expected = {"effect": 0.6, "baseline": 0.6 * 0.8}.get(planted, 0)
    assert correlate(shown, people["fiqr"]) == pytest.approx(expected, abs=0.04)
    beyond_age = correlate(left(shown, people["age"]), left(people["fiqr"], people["age"]))
    assert abs(beyond_age) < 0.05 or planted == "effect"
    assert drawn.truth["is_effect"] == (planted == "effect")
    level = people["severity"].map({"none": 0, "mild": 1, "moderate": 2, "severe": 3})
    assert correlate(level, people["fiqr"]) == pytest.approx(0.6**2, abs=0.08)


@pytest.mark.parametrize(
    ("planted", "active", "control"),
    [("moderator", 0.7, 0), ("prognostic", 0.7, 0.7), ("baseline", 0.56, 0.56), ("none", 0, 0)],
)
def test_trials_differ_between_arms_where_a_moderator_was_planted(planted, active, control):
    drawn = draw("response", planted, effect=0.7)
    people, shown = drawn.people, drawn.expression[:, 0]
    gain = people["baseline"] - people["outcome"]
    is_active = (people["arm"] == "drug").to_numpy()
    assert is_active.mean() == pytest.approx(0.5, abs=0.01)
    # floors of the scale at 0 and 100 take a little away
    assert correlate(shown, gain, is_active) == pytest.approx(active, abs=0.06)
    assert correlate(shown, gain, ~is_active) == pytest.approx(control, abs=0.06)
    if planted == "baseline":
        beyond = correlate(left(shown, people["baseline"]), left(gain, people["baseline"]))
        assert abs(beyond) < 0.06


def test_sites_can_stand_for_an_effect_of_the_arm():
    drawn = draw("response", "site", effect=0.7)
    people = drawn.people
    gain, is_active = people["baseline"] - people["outcome"], people["arm"] == "drug"
    fractions = is_active.groupby(people["site"]).mean()
    assert fractions.tolist() == pytest.approx([0.75, 0.25], abs=0.01)
    assert correlate(people["site"] == "site-2", gain) > 0.5
    assert abs(correlate(drawn.expression[:, 0], gain)) < 0.05


def test_onsets_follow_the_hazard():
    drawn = draw("onset", effect=0.6)
    people, high = drawn.people, drawn.driver > 0
    assert 0.4 < people["event"].mean() < 0.8
    rates = [people["event"][one].sum() / people["time"][one].sum() for one in (high, ~high)]
    assert rates[0] / rates[1] > 2
    assert people["time"].between(0.01, 10).all()
    # log of an exponential time: the planted correlation, without censoring
    assert drawn.truth["log_hazard_ratio"] == pytest.approx(0.96, abs=0.01)


def test_pains_share_a_part_of_their_patterns():
    drawn = draw("classes", effect=2.0, shared=0.25)
    means = {
        name: drawn.expression[rows].mean(axis=0)
        for name, rows in drawn.people.groupby("group").indices.items()
    }
    distinct = 2 * np.sqrt(0.75)
    np.testing.assert_allclose(means["HC"], 0, atol=0.06)
    np.testing.assert_allclose(means["FM"], [1, distinct, 0, 0], atol=0.06)
    np.testing.assert_allclose(means["PP"], [1, 0, 0, distinct], atol=0.06)
    assert drawn.truth["patterns"] == list(PATTERNS)


@pytest.mark.parametrize("planted", ["site", "baseline", "none"])
def test_groups_show_no_patterns_of_their_own_otherwise(planted):
    drawn = draw("classes", planted, effect=1.0)
    group, age = drawn.people["group"], drawn.people["age"]
    shown = left(drawn.expression[:, 0], age)
    assert max(abs(shown[group == name].mean()) for name in set(group)) < 0.12
    assert group.value_counts().min() > MANY / 6


def test_several_outcomes_have_gaps_but_nobody_lacks_all():
    people = draw("several", effect=1.0, missing=0.4).people
    is_pain = people["group"] != "HC"
    assert (people["group"] == "")[is_pain].mean() == pytest.approx(0.4, abs=0.03)
    assert people["fiqr"][~is_pain].isna().all()
    assert not ((people["group"] == "") & people["fiqr"].isna()).any()


def test_sessions_have_the_icc_asked_for():
    drawn = draw("sessions", n_people=3000, n_sessions=3, icc=0.6)
    assert drawn.scans["session"].tolist()[:4] == ["1", "2", "3", "1"]
    own = drawn.expression.reshape(3000, 3, 4)
    between, within = own.mean(axis=1).var(axis=0, ddof=1), own.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose((between - within / 3) / (between + within * 2 / 3), 0.6, atol=0.04)
    assert drawn.person_of.tolist()[:4] == [0, 0, 0, 1]
    assert correlate(drawn.expression[:, 0], drawn.scans["fiqr"]) == pytest.approx(0.6, abs=0.03)


def test_change_lowers_a_pattern_within_persons():
    drawn = draw("change", n_people=2000, effect=1.5)
    own = drawn.expression.reshape(2000, 2, 4)
    np.testing.assert_allclose((own[:, 1] - own[:, 0]).mean(axis=0), [-1.5, 0, 0, 0], atol=0.06)


def test_the_same_seed_gives_the_same_people():
    one, two = draw("several", seed=3, n_people=9), draw("several", seed=3, n_people=9)
    assert one.people.equals(two.people)
    assert not one.people.equals(draw("several", seed=4, n_people=9).people)
