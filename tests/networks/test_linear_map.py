import numpy as np
import pytest
import torch

from fmnet.networks.backbones import build_linear, linear_network
from fmnet.networks.rebuild import describe_builder, read_network, write_network

SHAPE = (2, 7, 8, 9)


def test_one_weight_for_each_voxel_of_each_channel_and_a_bias():
    network = build_linear(SHAPE)
    assert sum(part.numel() for part in network.parameters()) == 2 * 7 * 8 * 9 + 1
    assert network(torch.randn(3, *SHAPE)).shape == (3,)


def test_each_weight_stays_at_its_voxel(rng):
    weight, image = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    score = linear_network(weight, -0.5)(torch.from_numpy(image[None]))
    assert score.item() == pytest.approx(float((weight * image).sum()) - 0.5, abs=1e-4)


def test_disk_and_back_gives_the_same_scores(rng, tmp_path):
    network = linear_network(rng.normal(size=SHAPE).astype(np.float32), 0.25)
    write_network(network, describe_builder(build_linear, SHAPE), tmp_path)
    image = torch.randn(3, *SHAPE)
    read, _ = read_network(tmp_path)
    torch.testing.assert_close(read(image), network(image), atol=0, rtol=0)
