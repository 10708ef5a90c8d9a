import numpy as np
import pytest
import torch
from series_fixtures import SHAPE
from torch import nn

from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.fit import predict_scores


class Total(nn.Module):
    """Scores by the sum of all voxels."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, image):
        return self.scale * image.flatten(1).sum(dim=1, keepdim=True)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batches_do_not_matter(rng, batch_size):
    images = rng.normal(size=(7, 2, *SHAPE)).astype(np.float32)
    found = predict_scores(ScoreNetwork(Total()), images, batch_size)
    assert (found.shape, found.dtype) == ((7,), np.float32)
    np.testing.assert_allclose(found, 2 * images.reshape(7, -1).sum(axis=1), rtol=1e-4, atol=1e-4)


def test_nothing_is_kept_for_a_gradient(rng):
    network = ScoreNetwork(Total())
    predict_scores(network, rng.normal(size=(2, 1, *SHAPE)).astype(np.float32))
    assert network.backbone.scale.grad is None
