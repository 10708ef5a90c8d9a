import pytest
import torch

from fmnet.networks.backbones import build_resnet, build_small_cnn
from fmnet.training.compute import choose_stack, free_bytes, training_bytes


def estimate(shape, batch_size=2, channels=(4, 6)) -> int:
    network = build_small_cnn(shape, channels).to("meta")
    return training_bytes(network, shape, batch_size)


def test_grows_with_batch_grid_and_network():
    base = estimate((1, 17, 18, 19))
    assert 1.7 < estimate((1, 17, 18, 19), batch_size=4) / base < 2.1
    assert estimate((1, 34, 36, 38)) > 6 * base
    assert estimate((1, 17, 18, 19), channels=(8, 12)) > 1.5 * base


def test_counts_what_the_backward_pass_keeps():
    """One convolution's output alone has 4 x 9 x 9 x 10 numbers per scan."""
    assert estimate((1, 17, 18, 19)) > 2 * 4 * (4 * 9 * 9 * 10)


def test_nothing_is_computed():
    shape = (1, 128, 128, 128)
    assert training_bytes(build_resnet(shape).to("meta"), shape, 64) > 1e9


@pytest.mark.parametrize(
    ("free", "cohort", "expected"), [(1000, 0, 8), (1000, 500, 3), (100, 500, 1), (10**6, 0, 50)]
)
def test_stack_fills_the_share_planned_and_no_more(free, cohort, expected):
    assert choose_stack(100, cohort, free, largest=50, fraction=0.8) == expected


def test_memory_of_this_machine_is_known():
    assert free_bytes(torch.device("cpu")) > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_estimate_is_above_what_a_training_takes_and_not_far_above():
    shape = (1, 64, 65, 66)
    network = build_resnet(shape).cuda()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    network(torch.randn((8, *shape), device="cuda")).sum().backward()
    taken = torch.cuda.max_memory_allocated() - before
    estimated = training_bytes(build_resnet(shape).to("meta"), shape, 8)
    assert taken < estimated < 4 * taken
