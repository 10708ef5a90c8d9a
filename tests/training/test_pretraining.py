from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pretraining_fixtures import ADAM, BACKBONE, FEW, KINDS, filled_mask
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch.optim import SGD

from fmnet.data.grid import Grid
from fmnet.networks.prior_cnn import Support
from fmnet.networks.signature_file import build_signature_cnn, read_pretrained
from fmnet.training.episodes import EpisodeMaker
from fmnet.training.held_out import ObliqueEpisodeMaker
from fmnet.training.pretraining import (
    EpisodeData,
    Prepared,
    Preparer,
    SignatureModule,
    WarmupCosine,
    WeightsKeeper,
    normal_auroc,
    separation,
)

MAKER = partial(EpisodeMaker, voxel_size_mm=20.0, **FEW)
HELD_OUT = partial(ObliqueEpisodeMaker, voxel_size_mm=20.0, **FEW)


@pytest.fixture
def mask(grid: Grid) -> torch.Tensor:
    return filled_mask(grid)


@pytest.fixture
def module(mask: torch.Tensor) -> SignatureModule:
    torch.manual_seed(3)
    network = build_signature_cnn(BACKBONE, tuple(mask.shape))
    return SignatureModule(network, ADAM, partial(WarmupCosine, n_steps=9, warmup=2), KINDS)


def fit(
    module: SignatureModule, data: EpisodeData, max_steps: int, *callbacks: pl.Callback, **more: Any
) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_steps=max_steps, max_epochs=-1, logger=False,
        callbacks=list(callbacks), num_sanity_val_steps=0, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, accumulate_grad_batches=2, **more,
    )  # fmt: skip
    trainer.fit(module, data)
    return trainer


def prepared(mask: torch.Tensor, seed: int, build: Callable[..., EpisodeMaker] = MAKER) -> Prepared:
    maker = build(mask)
    return Preparer(mask, maker.voxel_size_mm)(maker.draw(torch.Generator().manual_seed(seed)))


def test_steps_lower_the_loss_of_their_own_episodes(
    mask: torch.Tensor, module: SignatureModule
) -> None:
    batch = prepared(mask, 5)
    optimizer = torch.optim.AdamW(module.network.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.softplus(-separation(module.network, batch)).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.01


def test_separation_is_that_of_scores_of_planted_maps(
    mask: torch.Tensor, module: SignatureModule
) -> None:
    batch = prepared(mask, 6)
    with torch.no_grad():
        found = separation(module.network, batch)
        weight = module.network(batch.support, batch.mask)[1, 0].flatten()
    controls, shift = batch.query @ weight, batch.unseen[1] @ weight
    everyone = (controls[:, None] + shift).flatten()
    pooled = ((controls.var() + everyone.var()) / 2).sqrt()
    assert float(found[1]) == pytest.approx(float(shift.mean() / pooled), rel=0.1)
    assert normal_auroc(torch.tensor([0.0, 50.0])).tolist() == [0.5, 1.0]


def test_no_episode_is_drawn_twice_and_going_on_draws_new_ones(
    mask: torch.Tensor, module: SignatureModule
) -> None:
    data = EpisodeData(mask, MAKER, HELD_OUT, 4, 4, 1)
    seen: list[float] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, *arguments: Any) -> None:
            seen.append(float(arguments[3].query.sum()))

    fit(module, data, 4, Watch())
    assert len(seen) == len(set(seen)) == 8
    numbers = [float(one.query.sum()) for one in data.train_dataloader()]
    assert not set(numbers) & set(seen)  # after four steps come batches 8 to 11
    assert len(numbers) == 4


def test_validation_draws_each_kind_from_held_out_priors_and_always_the_same(
    mask: torch.Tensor, module: SignatureModule
) -> None:
    data = EpisodeData(mask, MAKER, HELD_OUT, 4, 2, 2)
    trainer = fit(module, data, 1)
    first, again = (list(data.val_dataloader()) for _ in range(2))
    assert [one.kinds for one in first] == [[kind] * 2 for kind in KINDS] * 2
    assert all(torch.equal(a.unseen, b.unseen) for a, b in zip(first, again, strict=True))
    assert set(trainer.callback_metrics) >= {"val/loss", "val/gain", "val/gain_moved"}


def test_a_network_that_has_learned_nothing_gains_nothing(
    mask: torch.Tensor, module: SignatureModule
) -> None:
    module.optimizer = partial(SGD, lr=0.0)
    trainer = fit(module, EpisodeData(mask, MAKER, HELD_OUT, 4, 2, 1), 1)
    assert float(trainer.callback_metrics["val/gain"]) == pytest.approx(0, abs=1e-6)
    assert 0.4 < float(trainer.callback_metrics["val/auroc"]) < 1


def test_regions_of_validation_have_another_form(mask: torch.Tensor) -> None:
    shown = HELD_OUT(mask).draw_effects("moved", 6, torch.Generator().manual_seed(2))
    assert shown.shape == (6, *mask.shape)
    assert torch.isfinite(shown).all()
    assert 0.3 < float(shown.abs().max()) < 12
    same = HELD_OUT(mask).draw_effects("aligned", 6, torch.Generator().manual_seed(2))
    assert torch.allclose(same[0], same[5])
    assert not torch.allclose(shown[0], shown[5])


def test_kept_weights_are_the_averaged_ones_that_were_validated(
    tmp_path: Path, mask: torch.Tensor, module: SignatureModule
) -> None:
    keeper = WeightsKeeper(tmp_path, BACKBONE, 20.0, 4, {"command": "x"})
    averaging = EMAWeightAveraging(decay=0.5, use_buffers=False)
    latest: list[torch.Tensor] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, *arguments: Any) -> None:
            latest.append(arguments[1].network.last.weight.detach().clone())

    fit(module, EpisodeData(mask, MAKER, HELD_OUT, 4, 4, 1), 2, keeper, averaging, Watch())
    kept = read_pretrained(tmp_path / keeper.LATEST).network.last.weight
    assert torch.allclose(kept, (latest[1] + latest[3]) / 2, atol=1e-7)
    assert torch.equal(kept, module.network.last.weight)
    lines = (tmp_path / keeper.CURVE).read_text().splitlines()
    assert lines[0].startswith("step,episodes,train/loss,val/loss")
    assert lines[1].startswith("2,8,")


def test_rates_rise_and_fall_to_nothing() -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = WarmupCosine(optimizer, n_steps=10, warmup=3)
    rates = []
    for _ in range(11):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(1 / 3)
    assert max(rates) == rates[2]
    assert rates[10] == pytest.approx(0)


def test_statistics_stay_in_full_precision_under_autocast(
    mask: torch.Tensor, module: SignatureModule
) -> None:
    batch = prepared(mask, 7)
    with torch.autocast("cpu", torch.bfloat16):
        found = separation(module.network, batch)
    assert isinstance(batch.support, Support)
    assert found.dtype == torch.float32
    assert torch.allclose(found, separation(module.network, batch), atol=1e-3)
