import pytest
import torch
from monai.networks.nets import Classifier

from fmnet.networks.residual import (
    GroupedInstanceNorm,
    MergedResidualUnit,
    fast_classifier,
    learn_on_cpu,
)

SHAPE = (2, 17, 18, 19)
SETTINGS = [{}, {"num_res_units": 2}, {"num_res_units": 0}, {"act": "relu"}]


def build(kind, **settings):
    torch.manual_seed(0)
    chosen = {"num_res_units": 1} | settings
    return kind(in_shape=SHAPE, classes=1, channels=(8, 9, 10), strides=(2, 2, 2), **chosen)


@pytest.mark.parametrize("is_on_cpu", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_same_weights_scores_and_gradients_as_monai(settings, is_on_cpu):
    fast, plain = build(fast_classifier, **settings), build(Classifier, **settings)
    for (name, mine), (other, theirs) in zip(
        fast.state_dict().items(), plain.state_dict().items(), strict=True
    ):
        assert name == other
        torch.testing.assert_close(mine, theirs, atol=0, rtol=0)
    units = [module for module in fast.modules() if isinstance(module, MergedResidualUnit)]
    assert len(units) == (0 if settings.get("num_res_units") == 0 else 3)
    if is_on_cpu:
        learn_on_cpu(fast)
    image = torch.randn(4, *SHAPE)
    scores = [network(image) for network in (fast, plain)]
    torch.testing.assert_close(*scores)
    for score in scores:
        (score**2).sum().backward()
    for mine, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-4, rtol=1e-4)


def test_single_voxel_is_refused_as_by_torch():
    with pytest.raises(ValueError, match="one voxel is no image to normalise"):
        GroupedInstanceNorm(3)(torch.ones(2, 3, 1, 1, 1))
