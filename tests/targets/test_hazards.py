import numpy as np
import pytest
import torch
from survival_fixtures import draw_people
from torch.nn import MSELoss

from fmnet.errors import ConfigError
from fmnet.evaluation.survival import FollowUp
from fmnet.targets.hazards import (
    Concordance,
    DiscreteHazardHead,
    HazardHead,
    HazardWithoutScans,
    fit_hazard_link,
)

ONE = torch.ones(())


def target_of(time, event, *more):
    return torch.tensor(np.column_stack([time, event, *more]), dtype=torch.float32)


def test_cox_loss_is_the_partial_likelihood():
    covariates, time, event = draw_people(0, n=21, is_tied=True)
    follow = FollowUp(time, event, np.zeros(21, int))
    expected, gradient, _ = follow.derivatives(covariates[:, :1], np.ones(1))
    score = torch.tensor(covariates[:, :1], dtype=torch.float32)
    slope = torch.ones(1, requires_grad=True)
    loss = HazardHead().loss(score * slope, target_of(time, event), ONE)
    assert loss.shape == (21,)
    assert float(loss.mean().detach()) * 21 == pytest.approx(-expected, rel=1e-5)
    loss.mean().backward()
    assert float(slope.grad) * 21 == pytest.approx(-gradient[0], rel=1e-4)


def test_cox_loss_keeps_networks_apart():
    _, time, event = draw_people(1, n=9)
    target = torch.stack([target_of(time, event), target_of(time[::-1].copy(), event[::-1])])
    outputs = torch.randn(2, 9, 1, generator=torch.Generator().manual_seed(0))
    head = HazardHead()
    both = head.loss(outputs, target, ONE)
    assert both.shape == (2, 9)
    for own, output, one in zip(both, outputs, target, strict=True):
        torch.testing.assert_close(own, head.loss(output, one, ONE))


def test_cox_loss_passes_over_unknown_people():
    _, time, event = draw_people(2, n=12)
    outputs = torch.linspace(-1, 1, 12)[:, None]
    target = target_of(time, event)
    known = HazardHead().loss(outputs[2:], target[2:], ONE).mean() * 10
    target[0, 0], target[1, 1] = torch.nan, torch.nan
    loss = HazardHead().loss(outputs, target, ONE)
    assert float(loss.mean() * 12) == pytest.approx(float(known), rel=1e-5)


def test_batches_without_an_event_teach_nothing():
    outputs = torch.randn(5, 1, requires_grad=True)
    loss = HazardHead().loss(outputs, target_of(np.arange(5.0) + 1, np.zeros(5)), ONE)
    loss.mean().backward()
    assert loss.tolist() == [0.0] * 5
    assert outputs.grad.abs().max() == 0


@pytest.mark.parametrize("size", [1e-3, 300.0])
def test_losses_are_finite(size):
    _, time, event = draw_people(3, n=20)
    intervals = HazardWithoutScans(time, event).intervals(time, event, 4)
    outputs = size * torch.randn(20, 1, generator=torch.Generator().manual_seed(1))
    for head in (HazardHead(), DiscreteHazardHead()):
        outputs.requires_grad_().grad = None
        loss = head.loss(outputs, target_of(time, event, intervals), ONE)
        loss.mean().backward()
        assert torch.isfinite(loss).all()
        assert torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("head", [HazardHead(), DiscreteHazardHead()])
def test_heads_learn_a_hazard_ratio(head):
    covariates, time, event = draw_people(4, n=400)
    event = event.astype(float)
    intervals = HazardWithoutScans(time, event).intervals(time, event, 10)
    x, target = torch.tensor(covariates, dtype=torch.float32), target_of(time, event, intervals)
    weight = torch.zeros(3, 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=40, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        loss = head.loss(x @ weight, target, ONE).mean()
        loss.backward()
        return loss

    optimizer.step(step)
    expected = FollowUp(time, event > 0, np.zeros(400, int)).fit_cox(covariates)
    np.testing.assert_allclose(weight.detach().numpy()[:, 0], expected, atol=0.12)


def test_discrete_loss_is_least_at_zero_for_a_constant():
    _, time, event = draw_people(5, n=60)
    event = event.astype(float)
    hazard = HazardWithoutScans(time, event)
    target = target_of(time, event, hazard.intervals(time, event, 5))
    head, constants = DiscreteHazardHead(), np.linspace(-0.5, 0.5, 21)
    losses = [float(head.loss(torch.full((60, 1), c), target, ONE).mean()) for c in constants]
    assert abs(constants[int(np.argmin(losses))]) <= 0.1


def test_intervals_add_up_to_the_cumulative_hazard():
    _, time, event = draw_people(6, n=50, is_tied=True)
    event = event.astype(float)
    hazard = HazardWithoutScans(time, event)
    before, within = hazard.intervals(time, event, 5).T
    assert (within[event > 0] > 0).all()
    assert (within[event == 0] == 0).all()
    at = hazard.at(time)
    np.testing.assert_allclose(before[event == 0], at[event == 0], rtol=1e-6)
    assert (before[event > 0] < at[event > 0]).all()
    assert (before + within >= at - 1e-6)[event > 0].all()
    assert len(set(within[event > 0].round(6))) <= 5


def test_martingale_residuals_agree_with_another_package():
    estimate = pytest.importorskip("sksurv.nonparametric").nelson_aalen_estimator
    _, time, event = draw_people(7, n=45)  # without ties, where Efron's is Nelson's and Aalen's
    at, cumulative = estimate(event, time)
    expected = event - cumulative[np.searchsorted(at, time)]
    ours = HazardWithoutScans(time, event.astype(float))
    np.testing.assert_allclose(ours.residuals(), expected, atol=1e-12)
    np.testing.assert_allclose(ours.at(at), cumulative)


def test_hazards_of_a_link_are_near_breslows():
    models = pytest.importorskip("sksurv.linear_model")
    from sksurv.util import Surv

    covariates, time, event = draw_people(8, n=300)
    score = covariates[:, 0]
    link = fit_hazard_link(score, time, event.astype(float), (1.0, 3.0), "years")
    model = models.CoxPHSurvivalAnalysis(ties="efron").fit(
        score[:, None], Surv.from_arrays(event, time)
    )
    assert link.slope == pytest.approx(model.coef_[0], abs=0.1)
    curves = model.predict_cumulative_hazard_function([[link.centre]])
    np.testing.assert_allclose(link.cumulative_hazards, [curves[0](1.0), curves[0](3.0)], rtol=0.06)


def test_nobody_left_gives_finite_hazards():
    link = fit_hazard_link(np.zeros(3), np.array([1.0, 2.0, 2.0]), np.ones(3), (2.0,), "years")
    assert np.isfinite(link.cumulative_hazards).all()
    assert link.outputs(np.zeros((1, 1)))["risk_2"][0] == pytest.approx(1, abs=1e-4)


def test_a_loss_of_labels_is_refused():
    with pytest.raises(ConfigError, match="a loss of its own"):
        HazardHead().check_loss(MSELoss())


def test_concordance_of_batches():
    covariates, time, event = draw_people(9, n=30)
    metric, score = Concordance(), torch.tensor(covariates[:, :1], dtype=torch.float32)
    target = target_of(time, event)
    for rows in (slice(0, 13), slice(13, 30)):
        metric.update(score[rows], target[rows])
    follow = FollowUp(time, event, np.zeros(30, int))
    expected = follow.concordance(follow.higher(covariates[:, 0]), np.ones(30))
    assert float(metric.compute()) == pytest.approx(expected)
    metric.reset()
    metric.update(score[:3], target_of(time[:3], np.zeros(3)))
    assert float(metric.compute()) == 0.5
