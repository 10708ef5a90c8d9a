"""Random changes to training images on the device; none mirrors a brain: left stays left."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.networks.layers import AffineTransform
from monai.transforms.utils import create_rotate
from torch.nn.functional import conv3d

from fmnet.errors import ConfigError, Fault
from fmnet.types import NonNegative, Share

#: Where a smoothing kernel ends, in sigmas.
TRUNCATE = 4.0


class RandomSource:
    """Random numbers of one training, the same wherever it computes and whatever runs beside it.

    Parameters
    ----------
    seed : int
        Where they start.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.host = torch.Generator().manual_seed(seed)
        self._on_device: dict[torch.device, torch.Generator] = {}

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Draw small numbers on the host."""
        return low + (high - low) * torch.rand(shape, generator=self.host)

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Draw as many numbers as an image has, where it lies."""
        device = like.device
        if device not in self._on_device:
            self._on_device[device] = torch.Generator(device).manual_seed(self.seed)
        return torch.randn(
            like.shape, generator=self._on_device[device], device=device, dtype=like.dtype
        )


class BatchTransform(ABC):
    """What changes each scan of a batch by itself.

    Whoever writes an augmentation derives from this to say so. Transforms for one image at a time,
    such as MONAI's, would take the scans of a batch for an axis of the image.
    """

    @abstractmethod
    def __call__(self, images: torch.Tensor, sources: list[RandomSource]) -> torch.Tensor:
        """Change images, (M, B, C, X, Y, Z), those of each of M trainings by its own source."""


def check_augmentation(augmentation: Any) -> None:
    """Raise `ConfigError` unless an augmentation, if there is one, is meant for whole batches."""
    if augmentation is None or isinstance(augmentation, BatchTransform):
        return
    made = augmentation if isinstance(augmentation, type) else type(augmentation)
    raise ConfigError(
        Fault(
            "augmentation",
            f"a {made.__module__}.{made.__qualname__}, which isn't known to change each scan of a "
            "batch by itself: it may take scans for an axis of the image",
            "augmentation=light, augmentation=none, or a "
            f"{BatchTransform.__module__}.{BatchTransform.__qualname__}",
            "choose one of these; MONAI's transforms of single images can't be used",
        )
    )


@dataclass(frozen=True)
class Augmentation(BatchTransform):
    """Random affine, smoothing, scaling and noise, each scan's its own.

    A whole batch is changed at once, which MONAI's random transforms, made for one image at a time,
    don't do.

    Parameters
    ----------
    probability : float
        Of each change, independently.
    shift_voxels, rotation_deg : float
        Largest displacement and rotation per axis.
    noise_sd : float
        Of added noise, in units of the standardised image.
    scale_range : float
        Largest relative change of all values.
    smooth_voxels : float
        Largest sigma of extra smoothing.
    """

    probability: Share = 0.0
    shift_voxels: NonNegative = 0.0
    rotation_deg: NonNegative = 0.0
    noise_sd: NonNegative = 0.0
    scale_range: NonNegative = 0.0
    smooth_voxels: NonNegative = 0.0

    def __call__(self, images: torch.Tensor, sources: list[RandomSource]) -> torch.Tensor:
        """Change images, (M, B, C, X, Y, Z), those of each training by its own source."""
        draws = [self._draw(images.shape[1], source) for source in sources]
        moves, sigmas, scales, chosen = (torch.cat(part) for part in zip(*draws, strict=True))
        flat = images.flatten(0, 1)
        if self.shift_voxels or self.rotation_deg:
            flat = _change(flat, chosen[:, 0], _move, moves)
        if self.smooth_voxels:
            flat = _change(flat, chosen[:, 1], _smooth, sigmas)
        if self.scale_range:
            flat = flat * _per_scan(torch.where(chosen[:, 2], scales, 1.0), flat)
        if self.noise_sd:
            noise = torch.cat([source.normal(images[0]) for source in sources])
            flat = flat + _per_scan(self.noise_sd * chosen[:, 3], flat) * noise
        return flat.reshape(images.shape)

    def _draw(self, n: int, source: RandomSource) -> tuple[torch.Tensor, ...]:
        """Draw for n scans: moves, smoothing, scale, and which of the four changes are made."""
        largest = float(np.deg2rad(self.rotation_deg))
        angles = source.uniform(-largest, largest, n, 3)
        moves = torch.stack([torch.as_tensor(create_rotate(3, tuple(a))) for a in angles.tolist()])
        moves[:, :3, 3] = source.uniform(-self.shift_voxels, self.shift_voxels, n, 3)
        sigmas = source.uniform(0, self.smooth_voxels, n, 3)
        scales = source.uniform(1 - self.scale_range, 1 + self.scale_range, n)
        return moves, sigmas, scales, source.uniform(0, 1, n, 4) < self.probability


def build_augmentation(
    probability: Share = 0.0,
    shift_voxels: NonNegative = 0.0,
    rotation_deg: NonNegative = 0.0,
    noise_sd: NonNegative = 0.0,
    scale_range: NonNegative = 0.0,
    smooth_voxels: NonNegative = 0.0,
) -> Augmentation | None:
    """Build the augmentation, see `Augmentation`; None if the probability is 0."""
    if probability == 0:
        return None
    return Augmentation(
        probability, shift_voxels, rotation_deg, noise_sd, scale_range, smooth_voxels
    )


def _change(
    images: torch.Tensor,
    chosen: torch.Tensor,
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    how: torch.Tensor,
) -> torch.Tensor:
    """Change the images chosen, (K, C, X, Y, Z), and leave the others exactly as they are."""
    if not chosen.any():
        return images
    rows = chosen.nonzero()[:, 0].to(images.device)
    part = change(images[rows], how[chosen].to(images))
    return images.index_copy(0, rows, part)


def _move(images: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
    """Resample by matrices in voxels, (K, 4, 4), about the centre; zero comes in at the edges."""
    centre = (torch.tensor(images.shape[2:]).to(images) - 1) / 2
    from_corner = moves.clone()
    from_corner[:, :3, 3] += centre - moves[:, :3, :3] @ centre
    moved: torch.Tensor = AffineTransform()(images, from_corner)
    return moved


def _smooth(images: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Smooth by Gaussians with a sigma for each image and axis, (K, 3), in voxels."""
    n, channels = images.shape[:2]
    radius = int(np.ceil(TRUNCATE * float(sigmas.max())))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernels = torch.exp(-0.5 * (offsets / sigmas[..., None].clamp(min=1e-3)) ** 2)
    kernels = (kernels / kernels.sum(-1, keepdim=True)).repeat_interleave(channels, 0)
    flat = images.reshape(1, n * channels, *images.shape[2:])
    for axis in range(3):
        shape, padding = [n * channels, 1, 1, 1, 1], [0, 0, 0]
        shape[2 + axis], padding[axis] = 2 * radius + 1, radius
        kernel = kernels[:, axis].reshape(shape)
        flat = conv3d(flat, kernel, padding=padding, groups=n * channels)
    return flat.reshape(images.shape)


def _per_scan(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return values.to(images)[:, None, None, None, None]
