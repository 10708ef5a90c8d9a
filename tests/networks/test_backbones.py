import numpy as np
import pytest
import torch

from fmnet.networks.backbones import (
    build_densenet,
    build_linear,
    build_resnet,
    build_small_cnn,
    linear_network,
)
from fmnet.networks.rebuild import describe_builder, read_network, write_network

BUILDERS = [build_small_cnn, build_resnet, build_densenet]


@pytest.mark.parametrize("build", BUILDERS)
def test_one_score_per_scan(build):
    network = build((2, 33, 34, 35)).eval()
    assert network(torch.randn(3, 2, 33, 34, 35)).shape == (3,)


@pytest.mark.parametrize("build", BUILDERS)
def test_scores_do_not_depend_on_the_rest_of_the_batch(build):
    network = build((1, 33, 34, 35)).eval()
    images = torch.randn(4, 1, 33, 34, 35)
    with torch.no_grad():
        torch.testing.assert_close(network(images)[2:3], network(images[2:3]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("build", BUILDERS)
def test_every_weight_gets_a_gradient(build):
    network = build((1, 33, 34, 35))
    network(torch.randn(2, 1, 33, 34, 35)).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_small_cnn_knows_where_a_blob_is():
    torch.manual_seed(0)
    network = build_small_cnn((1, 33, 34, 35)).eval()
    left, right = torch.zeros(2, 1, 1, 33, 34, 35)
    left[..., 2:5, 8:11, 8:11] = 1
    right[..., 28:31, 8:11, 8:11] = 1
    assert abs(network(left) - network(right)).item() > 1e-4


LINEAR_SHAPE = (2, 7, 8, 9)


def test_one_weight_for_each_voxel_of_each_channel_and_a_bias():
    network = build_linear(LINEAR_SHAPE)
    assert sum(part.numel() for part in network.parameters()) == 2 * 7 * 8 * 9 + 1
    assert network(torch.randn(3, *LINEAR_SHAPE)).shape == (3,)


def test_each_weight_stays_at_its_voxel(rng):
    weight, image = rng.normal(size=(2, *LINEAR_SHAPE)).astype(np.float32)
    score = linear_network(weight, -0.5)(torch.from_numpy(image[None]))
    assert score.item() == pytest.approx(float((weight * image).sum()) - 0.5, abs=1e-4)


def test_disk_and_back_gives_the_same_scores(rng, tmp_path):
    network = linear_network(rng.normal(size=LINEAR_SHAPE).astype(np.float32), 0.25)
    write_network(network, describe_builder(build_linear, LINEAR_SHAPE), tmp_path)
    image = torch.randn(3, *LINEAR_SHAPE)
    read, _ = read_network(tmp_path)
    torch.testing.assert_close(read(image), network(image), atol=0, rtol=0)
