"""Further training of a pretrained CNN on the training scans of a fold, without their labels.

Differences are planted into the training participants' own maps under labels that are drawn at
random, and the CNN learns to find them: it gets to know how these people's maps differ from one
another. Nobody of a test fold is among them.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch.optim import AdamW

from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.prior_cnn import SignatureCnn
from fmnet.networks.prior_path import Adaptation, AdaptedPath
from fmnet.training.episodes import BackgroundPrior, EpisodeMaker
from fmnet.training.own_maps import PeopleEpisodeMaker
from fmnet.training.pretraining import EpisodeData, SignatureModule, WarmupCosine
from fmnet.training.trainer import TrainerBuilder, build_trainer

#: Fewest scans that a CNN is trained on with; with fewer it stays as it was pretrained.
MIN_SCANS = 10
#: Fraction of the scans that signatures are judged by, and least fraction that they are made of.
JUDGED, SHOWN = 0.2, 0.6
#: Largest norm of a gradient, and steps over which the learning rate rises.
CLIP, WARMUP = 1.0, 10
#: Trained CNNs that a process keeps: fits under permuted labels ask for the same again.
N_KEPT = 16


@dataclass(frozen=True)
class Adapter:
    """Trains CNNs on with a study's trainer and a training's seed.

    Parameters
    ----------
    build_trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    seed : int
    """

    build_trainer: TrainerBuilder
    seed: int

    def __call__(self, asked: Adaptation) -> SignatureCnn:
        """Train on, unless this process has done just that before."""
        if asked.maps.shape[1] < MIN_SCANS:
            return asked.cnn
        key = _digest(asked, self.seed)
        if key not in _KEPT:
            _KEPT[key] = self._trained(asked)
            if len(_KEPT) > N_KEPT:
                _KEPT.popitem(last=False)
        return _KEPT[key]

    def _trained(self, asked: Adaptation) -> SignatureCnn:
        people = (asked.maps - asked.maps.mean(1, keepdim=True)).cpu()
        make = partial(_make_episodes, people=people, voxel_size_mm=asked.voxel_size_mm)
        data = EpisodeData(asked.mask.cpu(), make, make, self.seed, asked.n_steps, 0)
        optimizer = partial(AdamW, lr=asked.rate, betas=(0.9, 0.99), weight_decay=1e-4)
        scheduler = partial(WarmupCosine, n_steps=asked.n_steps, warmup=WARMUP)
        trainer = build_trainer(
            self.build_trainer,
            max_epochs=1,
            devices=1,
            num_nodes=1,
            strategy="auto",
            limit_train_batches=1.0,
            limit_val_batches=0,
            accumulate_grad_batches=1,
            gradient_clip_val=CLIP,
        )
        with torch.enable_grad():  # a fit in closed form has none
            module = SignatureModule(asked.cnn.train(), optimizer, scheduler, data.kinds)
            trainer.fit(module, data)
        return asked.cnn.cpu().eval()


_KEPT: OrderedDict[str, SignatureCnn] = OrderedDict()


def give_adapter(network: ScoreNetwork, build_trainer: TrainerBuilder, seed: int) -> None:
    """Tell paths of a network that want their CNN trained on what does it."""
    for module in network.modules():
        if isinstance(module, AdaptedPath):
            module.adapter = Adapter(build_trainer, seed)


def _make_episodes(mask: torch.Tensor, people: torch.Tensor, voxel_size_mm: float) -> EpisodeMaker:
    """Plant differences into maps, (C, N, X, Y, Z)."""
    n = people.shape[1]
    n_query = max(2, round(JUDGED * n))
    return PeopleEpisodeMaker(
        mask,
        voxel_size_mm,
        background=BackgroundPrior(missing=0.0),
        n_support=(round(SHOWN * n), n - n_query),
        n_query=n_query,
        people=people.to(mask.device),
    )


def _digest(asked: Adaptation, seed: int) -> str:
    """Tell trainings apart by all that they depend on."""
    said = hashlib.sha256(repr((seed, asked.n_steps, asked.rate, asked.voxel_size_mm)).encode())
    for values in (asked.maps, asked.mask, *asked.cnn.state_dict().values()):
        said.update(values.detach().cpu().contiguous().numpy().tobytes())
    return said.hexdigest()
