"""The path whose weights a pretrained CNN writes; of the CNN nothing is kept but what it wrote."""

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import nn

from fmnet.errors import ConfigError, Fault
from fmnet.networks.backbones import UNFIT, InputShape, grid_fault
from fmnet.networks.paths import Path, Views
from fmnet.networks.prior_cnn import (
    SignatureCnn,
    coarse_space,
    n_input_channels,
    pool,
    support_statistics,
)
from fmnet.networks.scale_space import ScaleSpace
from fmnet.networks.signature_file import Pretrained, check_unseen, read_pretrained

#: The network that fmnet brings along.
OWN = FilePath(__file__).with_name("signature_cnn.safetensors")
#: Scans that are filtered at once, and labelings that the CNN is shown at once.
BATCH, LABELINGS = 32, 16
#: How many times as large as those it was trained on voxels may be, or as small.
MOST_APART = 1.6


@lru_cache(maxsize=4)
def _pretrained(weights: str | None, device: torch.device) -> Pretrained:
    """Read a file once in a process, so that all fits of a study are of the same weights."""
    found = read_pretrained(weights or OWN)
    found.network.to(device)
    return found


def facts_of(pretrained: Pretrained, is_shipped: bool) -> dict[str, Any]:
    """Describe pretrained weights in plain values.

    Returns
    -------
    dict
        ``sha256`` of their file; ``is_shipped``, whether fmnet brings them along; ``network``, the
        name that MONAI has for it; ``n_parameters``; ``voxel_size_mm``; ``record``, how they were
        trained, as their file says.
    """
    return {
        "sha256": pretrained.sha256,
        "is_shipped": is_shipped,
        "network": pretrained.backbone.name,
        "n_parameters": sum(one.numel() for one in pretrained.network.parameters()),
        "voxel_size_mm": pretrained.voxel_size_mm,
        "record": pretrained.record,
    }


def check_people(network: nn.Module, hashes: Collection[str]) -> None:
    """Refuse a study with people whose maps a network's CNN was pretrained on.

    `hashes` are of the contents of the study's files, see `check_unseen`.

    Raises
    ------
    LeakError
        If there are some.
    """
    for module in network.modules():
        if isinstance(module, PriorPath):
            pretrained = _pretrained(module.weights, torch.device("cpu"))
            check_unseen(pretrained, hashes, "network.weights")


class PriorPath(Path):
    """Let a pretrained CNN write the weights of all voxels: a linear map of a scan.

    Of the CNN nothing is kept but what it wrote, so that its file is needed for a fit alone.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    voxel_size_mm : float
        Edge length of a voxel. Scans are averaged over blocks of voxels, as many as come nearest to
        the voxels that the CNN was trained on.
    weights : str, optional
        File of the CNN, see `fmnet.networks.signature_file.read_pretrained`; by default the one
        that fmnet brings along.
    """

    is_linear = True
    #: Which CNN wrote the weights, see `facts_of`; empty before a fit, and once read from disk.
    written_by: dict[str, Any]

    def __init__(
        self, input_shape: InputShape, voxel_size_mm: float, weights: str | None = None
    ) -> None:
        super().__init__()
        self.voxel_size_mm, self.weights, self.written_by = voxel_size_mm, weights, {}
        self.weight = nn.Parameter(torch.zeros(input_shape))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, views: Views) -> torch.Tensor:
        """Score scans. See `Path.forward`."""
        return views.image.flatten(1) @ self.weight.flatten() + self.bias

    def check(self, input_shape: InputShape) -> None:
        """Read the CNN, and try it on the grid without computing anything. See `Path.check`."""
        pretrained = _pretrained(self.weights, torch.device("cpu"))
        factor = self._factor(pretrained)
        apart = factor * self.voxel_size_mm / pretrained.voxel_size_mm
        if not 1 / MOST_APART < apart < MOST_APART:
            raise ConfigError(
                Fault(
                    "preparation.voxel_size_mm",
                    f"voxels of {self.voxel_size_mm:g} mm for a CNN that was pretrained on "
                    f"{pretrained.voxel_size_mm:g} mm",
                    f"at most {MOST_APART:g} times as large",
                    "choose smaller voxels, other network.weights, or network=scale_space",
                )
            )
        mask = torch.ones(input_shape[1:], device="meta")
        grid = pool(mask[None], mask, factor).shape[1:]
        maps = torch.empty(1, n_input_channels(len(pretrained.bands_mm)), *grid, device="meta")
        try:
            with torch.no_grad():
                copy.deepcopy(pretrained.network.backbone).to("meta")(maps)
        except NotImplementedError:  # something that can't be told without data
            pass
        except UNFIT as error:
            raise ConfigError(grid_fault((1, grid[0], grid[1], grid[2]), error)) from error

    def look(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Filter scans on the grid of the CNN: (N, C, X, Y, Z) to (N, C, S, X', Y', Z')."""
        pretrained = self._read(image)
        factor = self._factor(pretrained)
        space = coarse_space(self._inside(mask), pretrained.bands_mm, factor * self.voxel_size_mm)
        coarse = pool(image, mask, factor).flatten(0, 1)[:, None]
        bands = torch.cat([space(some) for some in torch.split(coarse, BATCH)])[:, :, 0]
        return bands.view(*image.shape[:2], *bands.shape[1:])

    def cnn(self, device: torch.device) -> SignatureCnn:
        """Take the CNN that writes."""
        return _pretrained(self.weights, device).network

    def _read(self, image: torch.Tensor) -> Pretrained:
        return _pretrained(self.weights, image.device)

    def _factor(self, pretrained: Pretrained) -> int:
        return max(1, round(pretrained.voxel_size_mm / self.voxel_size_mm))

    def _inside(self, mask: torch.Tensor) -> torch.Tensor:
        return pool(mask[None], mask, self._factor(self._read(mask)))[0]

    @torch.no_grad()
    def fit(self, views: Views, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Let the CNN read the statistics of the training scans. See `Path.fit`."""
        inside = self._inside(mask)
        weights = self._write(self._seen(views, mask), labels[None], inside)
        self.weight.copy_(self._on_voxels(weights, mask)[0])
        self.bias.copy_(-(views.image.mean(0) * self.weight).sum())
        self.written_by = facts_of(self._read(mask), self.weights is None)

    @torch.no_grad()
    def scores_of_labelings(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, unseen: Views
    ) -> torch.Tensor:
        """Show the CNN many labelings at once. See `Path.scores_of_labelings`."""
        inside = self._inside(mask)
        bands = self._seen(train, mask)
        others = (self._seen(unseen, mask) - bands.mean(0))[..., inside.bool()]
        scores = []
        for some in torch.split(labelings, LABELINGS):
            weights = self._write(bands, some, inside)  # (C, L, S, V)
            scores.append(torch.einsum("clsv,mcsv->lm", weights, others))
        return torch.cat(scores)

    @torch.no_grad()
    def weights_of_labelings(
        self,
        train: Views,
        labelings: torch.Tensor,
        mask: torch.Tensor,
        stem: ScaleSpace,  # noqa: ARG002
    ) -> torch.Tensor:
        """Show the CNN many labelings at once. See `Path.weights_of_labelings`."""
        inside, bands, weights = self._inside(mask), self._seen(train, mask), []
        for some in torch.split(labelings, LABELINGS):
            written = self._on_voxels(self._write(bands, some, inside), mask)
            weights.append(written[..., mask.bool()])
        return torch.cat(weights)

    def _on_voxels(self, weights: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Turn weights that the CNN wrote, (C, L, S, V'), into weights of voxels: (L, C, X, Y, Z).

        Those are the gradient of a score that is linear in the scan.
        """
        inside = self._inside(mask)
        on_grid = weights.new_zeros(*weights.shape[:3], *inside.shape)
        on_grid[..., inside.bool()] = weights
        with torch.enable_grad():
            shape = weights.shape[1], weights.shape[0], *mask.shape
            image = weights.new_zeros(shape).requires_grad_()
            score = (self.look(image, mask) * on_grid.transpose(0, 1)).sum()
            (gradient,) = torch.autograd.grad(score, image)
        return gradient

    def _seen(self, views: Views, mask: torch.Tensor) -> torch.Tensor:
        return self.look(views.image, mask) if views.own is None else views.own

    def _write(
        self, bands: torch.Tensor, labelings: torch.Tensor, inside: torch.Tensor
    ) -> torch.Tensor:
        """Write a signature for each labeling, (L, N), and contrast: (C, L, S, V)."""
        cnn = self.cnn(bands.device)
        each = labelings.expand(bands.shape[1], *labelings.shape)
        support = support_statistics(bands.transpose(0, 1), each, inside)
        weights: torch.Tensor = cnn(support, inside)
        # of several contrasts those count in which the groups differ
        cubes = (support.white_t**3).flatten(2).square().mean(-1)
        weights = weights * (cubes / cubes.mean(0).clamp(min=1e-12)).sqrt()[..., None, None]
        return weights


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What a CNN is trained on with: maps of training participants, and for how long.

    Parameters
    ----------
    cnn : SignatureCnn
        A copy, which may be changed.
    maps : Tensor, shape (C, N, X', Y', Z')
        Of each contrast, on the grid of the CNN.
    mask : Tensor, shape (X', Y', Z')
    voxel_size_mm : float
        Of that grid.
    n_steps : int
    rate : float
        Largest learning rate.
    """

    cnn: SignatureCnn
    maps: torch.Tensor
    mask: torch.Tensor
    voxel_size_mm: float
    n_steps: int
    rate: float


#: Trains a CNN on; `fmnet.training.adaptation` has it.
Adapter = Callable[[Adaptation], SignatureCnn]


class AdaptedPath(PriorPath):
    """The same, by a CNN that was first trained on for some steps on the training scans.

    That takes no labels, so it is done once for a set of training scans, whatever their labels and
    whoever of them is left out afterwards.

    Parameters
    ----------
    input_shape, voxel_size_mm, weights
        See `PriorPath`.
    n_steps : int
    rate : float
        Largest learning rate.
    """

    def __init__(
        self,
        input_shape: InputShape,
        voxel_size_mm: float,
        weights: str | None,
        n_steps: int,
        rate: float,
    ) -> None:
        super().__init__(input_shape, voxel_size_mm, weights)
        self.n_steps, self.rate = n_steps, rate
        self.adapter: Adapter | None = None
        # in a tuple, so that it is no part of the network that is kept
        self._adapted: tuple[SignatureCnn, ...] = ()

    def cnn(self, device: torch.device) -> SignatureCnn:
        """Take the CNN as it was trained on."""
        assert self._adapted, "prepare comes first"
        return self._adapted[0].to(device)

    @torch.no_grad()
    def prepare(self, images: torch.Tensor, mask: torch.Tensor) -> None:
        """Train the CNN on. See `Path.prepare`."""
        assert self.adapter is not None, "fmnet.training.adaptation.give_adapter comes first"
        pretrained = self._read(images)
        factor, inside = self._factor(pretrained), self._inside(mask)
        maps = pool(images, mask, factor).transpose(0, 1)
        asked = (inside, factor * self.voxel_size_mm, self.n_steps, self.rate)
        cnn = self.adapter(Adaptation(copy.deepcopy(pretrained.network), maps, *asked))
        self._adapted = (cnn.eval(),)
