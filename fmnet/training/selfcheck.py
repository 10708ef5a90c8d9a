"""Whether a device computes 3-D convolutions as it should, tried before anything rests on it."""

import copy

import numpy as np
import torch

from fmnet.errors import Fault, TrainingError
from fmnet.networks.backbones import InputShape, ScoreNetwork

#: Largest relative error, root mean square, of scores and gradients by Lightning's precision.
TOLERANCES = {"32-true": 1e-3, "bf16-mixed": 5e-2, "16-mixed": 1e-2}
DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def check_device(
    network: ScoreNetwork, input_shape: InputShape, device: torch.device, precision: str
) -> None:
    """Compare a network's scores and gradients on the device with those of the CPU in float32.

    Releases of cuDNN have given wrong results for some 3-D convolutions in reduced precision
    without a word; a network trained on them learns noise.

    Parameters
    ----------
    network : ScoreNetwork
        The one to be trained.
    input_shape : tuple of int
        (C, X, Y, Z).
    device : torch.device
        Where it will be trained.
    precision : str
        As Lightning names it.

    Raises
    ------
    TrainingError
        If scores or gradients differ by more than rounding explains.
    """
    image = torch.randn((2, *input_shape), generator=torch.Generator().manual_seed(0))
    true = _scores_and_gradients(copy.deepcopy(network), image, None)
    there = copy.deepcopy(network).to(device)
    found = _scores_and_gradients(there, image.to(device), DTYPES.get(precision))
    errors = [
        float((one.cpu().float() - other).norm() / other.norm().clamp(min=1e-12))
        for one, other in zip(found, true, strict=True)
    ]
    worst, accepted = float(np.max(errors)), TOLERANCES[precision]
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    if not worst <= accepted:
        raise TrainingError(
            Fault(
                f"{device}, precision {precision}",
                f"3-D convolutions off by {worst:.0%} from those of the CPU in float32 "
                f"(cuDNN {cudnn}, torch {torch.__version__})",
                f"at most {accepted:.1%}",
                "set trainer.precision=32-true, or change the version of torch or cuDNN",
            )
        )


def _scores_and_gradients(
    network: ScoreNetwork, image: torch.Tensor, dtype: torch.dtype | None
) -> list[torch.Tensor]:
    """Scores, and the gradient of their sum by all parameters in one piece."""
    with torch.autocast(image.device.type, dtype, enabled=dtype is not None):
        scores = network.eval()(image)
    scores.float().sum().backward()
    gradients = [one.grad.flatten() for one in network.parameters() if one.grad is not None]
    return [scores.detach(), torch.cat(gradients)]
