"""What every head of a target promises, whatever it predicts."""

from functools import partial

import pytest
import torch
from torch import nan

from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_linear
from fmnet.networks.rebuild import describe_builder, read_network, write_network
from fmnet.networks.several_heads import SeveralHead
from fmnet.targets.classes import ClassesHead
from fmnet.targets.contrast import ContrastHead
from fmnet.targets.effect import EffectHead
from fmnet.targets.hazards import DiscreteHazardHead, HazardHead
from fmnet.targets.ordinal import OrdinalHead
from fmnet.targets.severity import GradedHead

#: Heads, and what their losses read of six scans; of the last one nothing is known.
HEADS = {
    "classes": (ClassesHead(3), [[0, 1], [1, 1], [2, 1], [0, 1], [2, 0.5], [nan, 0]]),
    "severity": (GradedHead(), [[0.5], [-1], [0], [2], [-0.3], [nan]]),
    "ordinal": (OrdinalHead(), [[level, -1, 1] for level in (0, 1, 2, 2, 0, nan)]),
    "contrast": (ContrastHead(), [[0], [1], [1], [0], [1], [nan]]),
    "onset": (HazardHead(), [[1, 1], [2, 0], [3, 1], [3, 1], [5, 0], [nan, nan]]),
    "discrete": (
        DiscreteHazardHead(),
        [
            [1, 1, 0.1, 0.2], [2, 0, 0.3, 0.1], [3, 1, 0.4, 0.2], [3, 1, 0.4, 0.2],
            [5, 0, 0.6, 0.1], [nan, nan, nan, nan],
        ],
    ),
    "response": (EffectHead(), [[0.5, 1], [1, -1], [-1, 1], [0.2, 1], [0, -1], [nan, nan]]),
}  # fmt: skip


@pytest.fixture(params=HEADS)
def given(request):
    """A head, outputs of two networks for six scans, (2, 6, n), and what the losses read."""
    head, target = HEADS[request.param]
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 6, head.n_outputs, generator=generator)
    both = torch.tensor(target)
    return head, outputs, torch.stack([both, both.roll(1, 0)])


def test_each_output_gives_a_score(given):
    head, outputs, _ = given
    assert head(outputs).shape == outputs.shape


def test_losses_of_networks_side_by_side_are_those_of_each(given):
    head, outputs, target = given
    balance = torch.stack([head.balance(own) for own in target])
    losses = head.loss(outputs, target, balance[:, None])
    assert losses.shape == (2, 6)
    expected = [head.loss(*one) for one in zip(outputs, target, balance, strict=True)]
    torch.testing.assert_close(losses, torch.stack(expected))


def test_who_is_not_known_costs_nothing_and_changes_nothing(given):
    """A loss of the batch as a whole stands for each of its scans."""
    head, outputs, target = given
    balance = head.balance(target[0])
    outputs = outputs[0].requires_grad_()
    losses = head.loss(outputs, target[0], balance)
    assert losses.isfinite().all()
    (gradient,) = torch.autograd.grad(losses.sum(), outputs)
    assert not gradient[5].any()
    assert gradient[:5].any()


def test_a_batch_of_whom_nothing_is_known_costs_nothing(given):
    head, outputs, target = given
    nobody = target[0, 5:].expand(3, -1)
    losses = head.loss(outputs[0, :3], nobody, head.balance(target[0]))
    assert losses.tolist() == [0, 0, 0]


def test_metrics_read_scores_and_what_losses_read(given):
    head, outputs, target = given
    for metric in head.metrics().values():
        metric.update(head(outputs[0]), target[0])
        assert torch.isfinite(torch.as_tensor(metric.compute()))


def test_disk_and_back_gives_the_same_head(given, tmp_path):
    head, _, _ = given
    build = partial(build_linear, head=head)
    write_network(build((1, 2, 3, 4)), describe_builder(build, (1, 2, 3, 4)), tmp_path)
    read, _ = read_network(tmp_path)
    assert type(read.head) is type(head)
    assert read.head.n_outputs == head.n_outputs


def test_several_heads_are_kept_too(tmp_path):
    head = SeveralHead(["a", "b"], [ClassesHead(3), GradedHead()])
    build = partial(build_linear, head=head)
    write_network(build((1, 2, 3, 4)), describe_builder(build, (1, 2, 3, 4)), tmp_path)
    read, _ = read_network(tmp_path)
    assert read.head(torch.zeros(5, 4)).shape == (5, 4)


@pytest.mark.parametrize(
    ("head", "loss"),
    [(ClassesHead(3), torch.nn.CrossEntropyLoss()), (GradedHead(), torch.nn.L1Loss())],
)
def test_losses_that_suit_a_head_pass(head, loss):
    head.check_loss(loss)


@pytest.mark.parametrize(
    ("head", "loss", "said"),
    [
        (HazardHead(), torch.nn.MSELoss(), "has a loss of its own"),
        (OrdinalHead(), torch.nn.MSELoss(), "has a loss of its own"),
        (GradedHead(), torch.nn.CrossEntropyLoss(), "isn't smaller for right outputs"),
        (ClassesHead(3), torch.nn.L1Loss(), "can't be computed"),
    ],
)
def test_losses_that_would_teach_nothing_are_refused(head, loss, said):
    with pytest.raises(ConfigError, match=said):
        head.check_loss(loss)
