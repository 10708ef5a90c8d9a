from functools import partial

import pytest

from fmnet.networks.backbones import build_small_cnn
from fmnet.training.fit import ADAMW, Trainable


@pytest.fixture
def make_trainable(tmp_path):
    def make(**changes) -> Trainable:
        settings = {
            "build_network": partial(build_small_cnn, channels=[4, 6]),
            "max_epochs": 8,
            "batch_size": 4,
            "build_optimizer": partial(ADAMW, lr=1e-2),
            "log_dir": tmp_path,
        }
        return Trainable(**(settings | changes))

    return make
