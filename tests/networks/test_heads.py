import pytest
import torch
from monai.losses import FocalLoss
from torch.nn.functional import binary_cross_entropy_with_logits

from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.heads import BinaryHead

LOGITS = torch.tensor([[0.5], [-1.0], [2.0], [0.0], [3.0]])
LABELS = torch.tensor([1, 0, 0, 0, 1])


def test_score_is_the_logit():
    head = BinaryHead()
    assert torch.equal(head(LOGITS), LOGITS[:, 0])
    assert head(LOGITS.expand(3, 5, 1)).shape == (3, 5)


def test_both_classes_count_alike():
    head = BinaryHead()
    balance = head.balance(LABELS)
    assert float(balance) == 1.5
    losses = head.loss(LOGITS, LABELS, balance)
    plain = binary_cross_entropy_with_logits(LOGITS[:, 0], LABELS.float(), reduction="none")
    torch.testing.assert_close(losses, plain * torch.where(LABELS == 1, 1.5, 1.0))


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_function_in_place_of_its_own_loss(reduction):
    function = torch.nn.BCEWithLogitsLoss(reduction=reduction)
    head, balance = BinaryHead(), torch.tensor(1.5)
    losses = head.loss(LOGITS, LABELS, balance, function)
    own = head.loss(LOGITS, LABELS, balance if reduction == "none" else torch.tensor(1.0))
    expected = own if reduction == "none" else own.mean().expand(5)
    torch.testing.assert_close(losses, expected)


@pytest.mark.parametrize("loss", [torch.nn.BCEWithLogitsLoss(), FocalLoss(), torch.nn.MSELoss()])
def test_losses_that_tell_right_from_wrong_pass(loss):
    BinaryHead().check_loss(loss)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (torch.nn.CrossEntropyLoss(), "isn't smaller for right outputs"),  # 0 for a single logit
        (torch.nn.SoftMarginLoss(), "isn't smaller for right outputs"),  # of labels -1 and 1
        (torch.nn.BCELoss(), r"can't be computed \(RuntimeError"),
    ],
)
def test_loss_by_which_nothing_would_be_learned_is_refused(loss, said):
    with pytest.raises(ConfigError, match=f"loss: found a loss that {said}"):
        BinaryHead().check_loss(loss)
    assert loss.reduction == "mean"


def test_metrics_are_those_of_ranks():
    metrics = {
        name: float(one(LOGITS[:, 0], LABELS)) for name, one in BinaryHead().metrics().items()
    }
    assert metrics == {"auroc": pytest.approx(5 / 6)}


def test_weights_have_the_names_of_earlier_networks():
    network = build_small_cnn((1, 7, 8, 9), channels=[2])
    assert all(name.startswith("backbone.") for name in network.state_dict())
