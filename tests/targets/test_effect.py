import numpy as np
import pytest
import torch
from trial_fixtures import people_of_trial

from fmnet.evaluation.moderation import ScoredTrial
from fmnet.targets.effect import EffectHead, dr_learner, effect_link, r_learner

LEARNERS = {"r": r_learner, "dr": dr_learner}


def learned(learner, share=0.4, n=200, seed=0, **planted):
    people, marker = people_of_trial(n, seed, share, **planted)
    gain, arm = -people["outcome"], people["arm"]
    adjusted, known = people["baseline"][:, None], np.arange(n)
    shares = np.full(n, share)
    return marker, LEARNERS[learner](gain, arm, shares, adjusted, people.units, known)


@pytest.mark.parametrize("learner", list(LEARNERS))
def test_effect_on_average_is_taken_out(learner):
    _, (left, arm) = learned(learner)
    assert (left @ arm) / len(arm) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("learner", list(LEARNERS))
def test_responses_follow_the_effect_and_no_prognosis(learner):
    of_moderator, of_prognosis = [], []
    for seed in range(12):
        for found, planted in ((of_moderator, "moderates"), (of_prognosis, "foretells")):
            marker, (left, arm) = learned(learner, seed=seed, share=0.3, **{planted: 1.0})
            found.append(np.corrcoef(left * arm, marker)[0, 1])
    assert np.mean(of_moderator) > 0.25
    assert abs(np.mean(of_prognosis)) < 0.06


@pytest.mark.parametrize("learner", list(LEARNERS))
def test_slope_of_the_effect_is_that_of_econml(learner):
    dml = pytest.importorskip("econml.dml" if learner == "r" else "econml.dr")
    linear = pytest.importorskip("sklearn.linear_model")
    people, marker = people_of_trial(2000, 3, 0.4, moderates=1.0)
    gain, arm, baseline = -people["outcome"], people["arm"], people["baseline"][:, None]
    shares = np.full(2000, 0.4)
    of = (gain, arm, shares, baseline, people.units, np.arange(2000))
    left, arm_left = LEARNERS[learner](*of)
    z = marker - marker.mean()
    design = np.stack([arm_left, arm_left * z], axis=1)
    slope = np.linalg.lstsq(design, left, rcond=None)[0][1]
    if learner == "r":
        model = dml.LinearDML(
            model_y=linear.LinearRegression(), model_t=linear.LinearRegression(), random_state=0
        )
    else:
        model = dml.LinearDRLearner(
            model_propensity=linear.LogisticRegression(C=1e-3),
            model_regression=linear.LinearRegression(),
            random_state=0,
        )
    model.fit(gain, arm.astype(int), X=marker[:, None], W=baseline)
    theirs = float(np.ravel(model.coef_(T=1) if learner == "dr" else model.coef_)[0])
    assert slope == pytest.approx(theirs, rel=0.1)
    assert slope == pytest.approx(8, abs=2)


def test_people_are_expected_from_others_alone():
    people, _ = people_of_trial(30)
    gain, known = -people["outcome"], np.arange(20)
    of = (people["arm"], np.full(30, 0.5), people["baseline"][:, None], people.units, known)
    changed = gain.copy()
    changed[25] += 1000  # of nobody who is learned from
    plain, other = r_learner(gain, *of)[0], r_learner(changed, *of)[0]
    np.testing.assert_array_equal(np.delete(plain, 25), np.delete(other, 25))
    assert other[25] - plain[25] == pytest.approx(1000)


def test_loss_is_least_at_the_effect():
    head, rng = EffectHead(), np.random.default_rng(0)
    effect = torch.linspace(-1, 1, 7)
    arm = torch.from_numpy(rng.choice([-0.5, 0.5], 7)).float()
    target = torch.stack([effect * arm, arm], dim=-1)
    none = torch.ones(())
    assert head.loss(effect[:, None], target, none).sum() == 0
    assert head(effect[:, None]).shape == (7, 1)
    worse = head.loss(torch.zeros(3, 7, 1), target, none)
    assert worse.shape == (3, 7)
    assert (worse[:, effect != 0] > 0).all()


def test_loss_at_0_falls_along_responses():
    head, rng = EffectHead(), np.random.default_rng(1)
    target = torch.from_numpy(rng.normal(size=(9, 2))).float()
    score = torch.zeros(9, 1, requires_grad=True)
    head.loss(score, target, torch.ones(())).sum().backward()
    torch.testing.assert_close(score.grad[:, 0], -2 * target.prod(dim=1))


def test_unknown_effects_are_masked():
    head = EffectHead()
    target = torch.tensor([[1.0, 0.5], [float("nan"), 0.5]])
    score = torch.ones(2, 1, requires_grad=True)
    loss = head.loss(score, target, torch.ones(()))
    assert loss.tolist() == [0.25, 0.0]
    loss.sum().backward()
    assert torch.isfinite(score.grad).all()
    metric = head.metrics()["effect_loss"]
    metric.update(score.detach(), target)
    assert metric.compute() == 0.25


def test_link_of_scores_that_know_nothing_is_flat():
    slopes = []
    for seed in range(60):
        people, _ = people_of_trial(56, seed)
        score = np.random.default_rng(seed).normal(5, 3, 56)
        slopes.append(effect_link(as_trial(people, score)).slope)
    assert np.mean(np.array(slopes) == 0) > 0.85
    flat = effect_link(as_trial(people, np.full(56, 2.0)))
    outputs = flat.outputs(np.linspace(-9, 9, 5)[:, None])
    assert [np.ptp(own) for own in outputs.values()] == [0, 0, 0]


def test_link_gives_the_effect_in_units_of_the_outcome():
    people, marker = people_of_trial(600, 1, moderates=1.0)
    score = 10 + 0.5 * marker
    link = effect_link(as_trial(people, score))
    outputs = link.outputs(np.array([[9.0], [10.0], [11.0]]))
    np.testing.assert_allclose(outputs["effect"], [6 - 16, 6, 6 + 16], atol=3)
    widths = outputs["effect_high"] - outputs["effect_low"]
    assert widths[1] < widths[0]
    assert np.all((outputs["effect_low"] < [-10, 6, 22]) & (outputs["effect_high"] > [-10, 6, 22]))


def as_trial(people, score):
    n, nothing = len(score), np.zeros(len(score), dtype=int)
    share, adjusted = np.full(n, 0.5), people["baseline"][:, None]
    place = (nothing, nothing, np.arange(n))
    return ScoredTrial(-people["outcome"], people["arm"], share, adjusted, score, *place)
