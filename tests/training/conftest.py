from functools import partial

import pytest

from fmnet.networks.backbones import build_small_cnn
from fmnet.training.fit import Trainable
from fmnet.training.optimiser import Recipe
from fmnet.training.trainer import build_trainer


@pytest.fixture
def make_trainable(tmp_path):
    def make(**changes) -> Trainable:
        settings = {
            "build_network": partial(build_small_cnn, channels=[4, 6]),
            "recipe": Recipe(max_epochs=8, batch_size=4, learning_rate=1e-2),
            "build_trainer": build_trainer,
            "log_dir": tmp_path,
        }
        return Trainable(**(settings | changes))

    return make
