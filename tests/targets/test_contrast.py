import numpy as np
import pandas as pd
import pytest
import torch

from fmnet.data.outcomes import Outcomes
from fmnet.targets.contrast import Contrast, ContrastHead

TARGET = Contrast("FM", "HC")
GROUPS = ["FM", "HC", "OA", "", "FM", "HC", "HC", "FM"]


def texts_of(groups):
    names = [f"sub-{n}" for n in range(len(groups))]
    return pd.DataFrame({"participant_id": names, "scan_id": names, "group": groups})


def outcomes_of_groups(group):
    names = tuple(f"sub-{n:02}" for n in range(len(group)))
    return Outcomes({"group": np.asarray(group, float)}, names, names, ("",) * len(group))


def test_others_belong_to_neither_group():
    _, values, faults = TARGET.read(texts_of(GROUPS))
    expected = [1, 0, np.nan, np.nan, 1, 0, 0, 1]
    np.testing.assert_array_equal(values["group"], expected)
    assert not faults
    _, _, faults = TARGET.read(texts_of(["FM", "OA"]))
    assert [fault.found for fault in faults] == ["FM, OA; nobody of 'HC'"]


def test_codes_mean_what_tables_say():
    _, values, faults = Contrast("1", "2").read(texts_of(["1.0", "2", "3", "2.0"]))
    np.testing.assert_array_equal(values["group"], [1, 0, np.nan, 0])
    assert not faults


def test_small_groups_are_refused():
    faults = TARGET.check(outcomes_of_groups([1] * 7 + [0] * 4))
    assert [fault.found for fault in faults] == ["4 of 'HC'"]
    assert TARGET.check_training(outcomes_of_groups([1, 1, 0, 0]), "fold 0") == []


def test_a_link_of_noise_says_the_same_of_all_and_one_of_signal_does_not(rng):
    outcomes = outcomes_of_groups(np.arange(40) % 2)
    against = -rng.random(40) - 5 * outcomes["group"]
    p = TARGET.fit_link(against[:, None], outcomes).outputs(against[:, None])["p_FM"]
    np.testing.assert_allclose(p, 0.5)
    np.testing.assert_allclose(TARGET.fit_link(np.ones((40, 1)), outcomes).intercept, 0)
    scores = (rng.normal(size=40) + 2 * outcomes["group"])[:, None]
    p = TARGET.fit_link(scores, outcomes).outputs(scores)["p_FM"]
    assert p[outcomes["group"] == 1].mean() > 0.7
    assert p[outcomes["group"] == 0].mean() < 0.3


def test_both_groups_count_alike_in_probabilities(rng):
    outcomes = outcomes_of_groups([1] * 10 + [0] * 50)
    scores = (rng.normal(size=60) + 1.5 * outcomes["group"])[:, None]
    p = TARGET.fit_link(scores, outcomes).outputs(scores)["p_FM"]
    assert p[:10].mean() + p[10:].mean() == pytest.approx(1)


def test_figures_are_within_folds():
    rows = pd.DataFrame({"outcome_group": [1.0, 0, 1, 0], "score": [1, 0, 11, 10.0]})
    rows = rows.assign(repeat=0, fold=[0, 0, 1, 1], p_FM=[0.9, 0.1, 0.6, 0.2])
    found = TARGET.figures(rows)
    assert found["auc"] == 1
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.01 + 0.04) / 4)
    pooled = TARGET.figures(rows.assign(fold=0))
    assert pooled["auc"] == 0.75


def test_head_leaves_out_whom_it_is_not_known_of():
    head, target = ContrastHead(), torch.tensor([[1.0], [np.nan], [0.0]])
    outputs = torch.tensor([[2.0], [5.0], [-1.0]], requires_grad=True)
    losses = head.loss(outputs, target, torch.tensor(2.0))
    expected = [2 * np.log1p(np.exp(-2)), 0, np.log1p(np.exp(-1))]
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-6)
    losses.sum().backward()
    assert outputs.grad[1] == 0
    assert torch.isfinite(outputs.grad).all()
    metric = head.metrics()["auroc"]
    metric.update(head(outputs), target)
    assert metric.compute() == 1
