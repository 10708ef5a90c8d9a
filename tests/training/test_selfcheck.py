import pytest
import torch

from fmnet.errors import TrainingError
from fmnet.networks import residual
from fmnet.networks.backbones import build_small_cnn
from fmnet.training.compute import check_device

SHAPE = (1, 17, 18, 19)
CPU = torch.device("cpu")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_small_cnn(SHAPE, channels=(4, 6))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_device_that_rounds_as_it_may_passes(network, precision):
    before = {name: one.clone() for name, one in network.state_dict().items()}
    check_device(network, SHAPE, CPU, precision)
    assert all(one.grad is None for one in network.parameters())
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())


def break_reduced_precision(monkeypatch, spoil):
    """Let convolutions go wrong where numbers are short, as a release of cuDNN did."""
    original = torch.nn.functional.conv3d

    def convolve(*args, **kwargs):
        out = original(*args, **kwargs)
        return spoil(out) if out.dtype == torch.bfloat16 else out

    monkeypatch.setattr(residual, "conv3d", convolve)


WRONG = {
    "mirrored": lambda out: out.flip(2),
    "not a number": lambda out: out * float("nan"),
    "moved": lambda out: out.roll(1, 4),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
def test_wrong_convolutions_are_refused(network, monkeypatch, spoil):
    break_reduced_precision(monkeypatch, spoil)
    check_device(network, SHAPE, CPU, "32-true")
    message = (
        r"cpu, precision bf16-mixed: found 3-D convolutions off by .*; to do: set trainer\.pre"
    )
    with pytest.raises(TrainingError, match=message):
        check_device(network, SHAPE, CPU, "bf16-mixed")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_this_gpu_computes_as_it_should(network, precision):
    check_device(network, SHAPE, torch.device("cuda:0"), precision)
