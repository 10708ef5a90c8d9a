"""Small parts of pretraining: a grid of 7 x 8 x 9 voxels filled up, few people, a small network."""

from functools import partial
from typing import Any

import torch

from fmnet.data.grid import Grid
from fmnet.networks.prior_cnn import pool
from fmnet.networks.signature_file import Backbone
from fmnet.training.episodes import EffectPrior

BACKBONE = Backbone(
    "UNet",
    5,
    {"channels": [4, 6], "strides": [2], "num_res_units": 0, "norm": None, "act": "relu"},
)
ADAM = partial(torch.optim.AdamW, lr=1e-2)
KINDS = {"aligned": 1.0, "moved": 1.0, "mixed": 1.0}
FEW: dict[str, Any] = {
    "n_support": (10, 13), "n_query": 7, "n_unseen": 3, "n_together": 2,
    "effect": EffectPrior(kinds=KINDS, n_regions=(2, 4)),
}  # fmt: skip


def filled_mask(grid: Grid) -> torch.Tensor:
    mask = torch.from_numpy(grid.mask).float()
    return pool(mask[None], mask, 1)[0]
