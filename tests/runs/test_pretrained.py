import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint

from fmnet.errors import ConfigError, RunError
from fmnet.networks.signature_file import Backbone, read_signature_cnn
from fmnet.runs.pretrained import run_pretraining
from fmnet.training.episodes import EffectPrior
from fmnet.training.held_out import ObliqueEpisodeMaker
from fmnet.training.own_maps import OwnMapsEpisodeMaker
from fmnet.training.pretraining import WarmupCosine

SMALL = Backbone(
    "UNet",
    3,
    {"channels": [3, 4], "strides": [2], "num_res_units": 0, "norm": None, "act": "relu"},
)


def run(folder: Path, max_steps: int = 2, **changed: Any) -> list[str]:
    few: dict[str, Any] = {
        "voxel_size_mm": 12, "n_support": (10, 11), "n_query": 6, "n_unseen": 2, "n_together": 2,
        "effect": EffectPrior(kinds={"aligned": 1.0, "widespread": 1.0}),
    }  # fmt: skip
    checkpoint = ModelCheckpoint(
        filename="step", save_last=True, save_on_train_epoch_end=True, enable_version_counter=False
    )
    settings: dict[str, Any] = {
        "episodes": partial(OwnMapsEpisodeMaker, **few),
        "held_out": partial(ObliqueEpisodeMaker, **few),
        "backbone": SMALL,
        "optimizer": partial(torch.optim.AdamW, lr=1e-2),
        "scheduler": partial(WarmupCosine, n_steps=2, warmup=1),
        "trainer": partial(
            pl.Trainer, accelerator="cpu", devices=1, max_steps=max_steps, accumulate_grad_batches=2
        ),
        "callbacks": {"averaging": EMAWeightAveraging(decay=0.9), "checkpoint": checkpoint},
        "logger": {}, "validate_every": 1, "n_validation": 1, "seed": 3, "resume": False,
        "run_dir": str(folder), "config_yaml": "seed: 3\n", "command": "python scripts/pretrain.py",
    }  # fmt: skip
    return run_pretraining(**settings | changed)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    assert run(folder)[-1] == str(folder / "signature_cnn.safetensors")
    return folder


def test_a_run_writes_weights_curve_and_card(whole: Path) -> None:
    described = json.loads((whole / "signature_cnn.json").read_text())
    assert described["figures"]["step"] in {1, 2}
    assert described["command"] == "python scripts/pretrain.py"
    assert described["episodes"]["n_support"] == [10, 11]
    assert described["episodes"]["background"]["fwhm_mm"][0][0] > 0
    card = (whole / "card.md").read_text()
    assert "research use only" in card.lower()
    assert described["sha256"] in card
    assert len((whole / "curve.csv").read_text().splitlines()) == 3


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(whole: Path, tmp_path: Path) -> None:
    run(tmp_path / "run", 1)
    run(tmp_path / "run", 2, resume=True)
    once, twice = (
        read_signature_cnn(one / "latest.safetensors") for one in (whole, tmp_path / "run")
    )
    for name, value in once.state_dict().items():
        assert torch.equal(value, twice.state_dict()[name]), name
    assert (tmp_path / "run/curve.csv").read_text() == (whole / "curve.csv").read_text()


def test_a_run_starts_from_weights(whole: Path, tmp_path: Path) -> None:
    start = str(whole / "latest.safetensors")
    still = partial(torch.optim.SGD, lr=1e-12)
    run(tmp_path / "run", 1, start_from=start, optimizer=still, seed=4)
    first = read_signature_cnn(start).last.weight
    assert torch.allclose(
        read_signature_cnn(tmp_path / "run/latest.safetensors").last.weight, first
    )
    described = json.loads((tmp_path / "run/signature_cnn.json").read_text())
    assert described["started_from"]["record"]["seed"] == 3
    other = Backbone("UNet", 2, SMALL.settings)
    with pytest.raises(ConfigError, match=r"start_from.*choose the backbone that they are of"):
        run(tmp_path / "other", 1, start_from=start, backbone=other)


def test_folders_in_use_are_refused(whole: Path) -> None:
    with pytest.raises(RunError, match=r"a folder that is not empty.*resume=true"):
        run(whole)
    with pytest.raises(RunError, match=r"a run that trains.*choose another run_dir"):
        run(whole, resume=True, backbone=Backbone("UNet", 2, SMALL.settings))


def test_steps_that_are_never_validated_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"trainer.max_steps: found 3.*multiple of validate_every"
    ):
        run(tmp_path / "run", 3, validate_every=2)


def test_other_voxels_in_validation_are_refused(tmp_path: Path) -> None:
    held_out = partial(ObliqueEpisodeMaker, voxel_size_mm=8)
    with pytest.raises(ConfigError, match=r"held_out.voxel_size_mm: found 8.*of episodes, 12"):
        run(tmp_path / "run", held_out=held_out)
