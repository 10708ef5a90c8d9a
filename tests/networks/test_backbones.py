import pytest
import torch

from fmnet.networks.backbones import build_densenet, build_resnet, build_small_cnn

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
