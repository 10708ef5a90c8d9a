"""Random changes to training scans; none mirrors a brain unless that is asked for.

The built-in ones change a whole batch at once where it lies. MONAI's, ``augmentation.transforms``,
are given each scan by itself, (C, X, Y, Z); of BOLD windows, (T, X, Y, Z). MONAI takes seconds to
import: it is where something is to be changed, and not by studies without augmentation.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fmnet.errors import ConfigError, Fault, TrainingError
from fmnet.networks.backbones import UNFIT, InputShape, reason_of
from fmnet.networks.scale_space import gaussian_weights
from fmnet.types import Fraction, NonNegative

#: Transforms that change values where they are, and can't move left to right.
IN_PLACE = "monai.transforms.intensity."
#: Grid, draws and least slope with which it is tried whether a transform turns a brain around.
TRIAL_SHAPE, N_TRIALS, LEAST_SLOPE = (24, 28, 32), 32, 0.05


class RandomSource:
    """Draws the random numbers of one training, the same on whatever device it computes."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.host = torch.Generator().manual_seed(seed)
        self.per_scan = np.random.RandomState(seed % 2**32)  # the kind that MONAI has
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

    def scan_seed(self) -> int:
        """Draw what the random numbers of one scan's transforms start from."""
        return int(self.per_scan.randint(2**32, dtype=np.uint32))


class BatchTransform(ABC):
    """Changes each scan of a batch by itself: the base class of augmentations.

    Transforms for one image at a time, as MONAI's, would take the scans of a batch for an axis of
    the image: they go into ``augmentation.transforms``.
    """

    @abstractmethod
    def __call__(self, images: torch.Tensor, sources: list[RandomSource]) -> torch.Tensor:
        """Change images, (M, B, C, X, Y, Z), those of each of M trainings by its own source."""


def check_augmentation(augmentation: Any, input_shape: InputShape | None = None) -> None:
    """Raise `ConfigError` unless an augmentation, if there is one, suits scans of a shape.

    Parameters
    ----------
    augmentation : object
        Should be a `BatchTransform` or None.
    input_shape : tuple of int, optional
        (C, X, Y, Z): MONAI's transforms are tried on it.
    """
    if augmentation is not None and not isinstance(augmentation, BatchTransform):
        base = f"{BatchTransform.__module__}.{BatchTransform.__qualname__}"
        found = (
            f"{_named(augmentation)}, which isn't known to change each scan of a batch by itself"
        )
        accepted = f"augmentation=light, augmentation=none, or a {base}"
        action = "choose one of these; transforms of MONAI go into augmentation.transforms"
        raise ConfigError(Fault("augmentation", found, accepted, action))
    if input_shape is None or not isinstance(augmentation, Augmentation):
        return
    transforms = tuple(_always(one) for one in augmentation.transforms)
    image = torch.randn(input_shape, generator=torch.Generator().manual_seed(0))
    for seed in range(4):
        try:
            _transform_scan(transforms, image, seed)
        except TrainingError as error:
            raise ConfigError(error.faults) from error
        except UNFIT as error:
            found = f"transforms that can't be applied to a scan of shape {tuple(input_shape)} "
            found += f"({reason_of(error)})"
            accepted = "transforms of MONAI for images (C, X, Y, Z)"
            raise ConfigError(
                Fault("augmentation.transforms", found, accepted, "change them")
            ) from error


@dataclass(frozen=True)
class Augmentation(BatchTransform):
    """Changes each scan: random affines, smoothing, scaling and noise, then MONAI's transforms.

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
    transforms : tuple of monai.transforms.Transform
        For images (C, X, Y, Z), in this order.
    """

    probability: Fraction = 0.0
    shift_voxels: NonNegative = 0.0
    rotation_deg: NonNegative = 0.0
    noise_sd: NonNegative = 0.0
    scale_range: NonNegative = 0.0
    smooth_voxels: NonNegative = 0.0
    transforms: tuple[Any, ...] = ()

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
        if self.transforms:
            seeds = [source.scan_seed() for source in sources for _ in range(images.shape[1])]
            scans = zip(flat, seeds, strict=True)
            flat = torch.stack([_transform_scan(self.transforms, *scan) for scan in scans])
        return flat.reshape(images.shape)

    def _draw(self, n: int, source: RandomSource) -> tuple[torch.Tensor, ...]:
        """Draw for n scans: moves, smoothing, scale, and which of the four changes are made."""
        from monai.transforms.utils import create_rotate

        largest = float(np.deg2rad(self.rotation_deg))
        angles = source.uniform(-largest, largest, n, 3)
        moves = torch.stack([torch.as_tensor(create_rotate(3, tuple(a))) for a in angles.tolist()])
        moves[:, :3, 3] = source.uniform(-self.shift_voxels, self.shift_voxels, n, 3)
        sigmas = source.uniform(0, self.smooth_voxels, n, 3)
        scales = source.uniform(1 - self.scale_range, 1 + self.scale_range, n)
        return moves, sigmas, scales, source.uniform(0, 1, n, 4) < self.probability


def build_augmentation(
    probability: Fraction = 0.0,
    shift_voxels: NonNegative = 0.0,
    rotation_deg: NonNegative = 0.0,
    noise_sd: NonNegative = 0.0,
    scale_range: NonNegative = 0.0,
    smooth_voxels: NonNegative = 0.0,
    transforms: Sequence[Any] = (),
    mirror: bool = False,
) -> Augmentation | None:
    """Build the augmentation, see `Augmentation`; None if nothing would be changed.

    Parameters
    ----------
    probability, shift_voxels, rotation_deg, noise_sd, scale_range, smooth_voxels
        Of the built-in changes, see `Augmentation`.
    transforms : sequence of monai.transforms.Transform
        Of images, each with a ``_target_``: ``monai.transforms.RandAffine``, for instance.
    mirror : bool
        Whether transforms may mirror a brain, or turn it so far that left lies on the right.

    Raises
    ------
    ConfigError
        If something else than MONAI's transforms of images is given, or one that mirrors.
    """
    by_place = [
        (f"augmentation.transforms[{index}]", one)
        for index, transform in enumerate(transforms)
        for one in _parts_of(transform)
    ]
    faults = [
        Fault(
            where,
            _named(one),
            "a transform of monai.transforms for images, without a 'd' at the end of its name",
            "take it out, or choose a transform of MONAI",
        )
        for where, one in by_place
        if not _is_of_images(one)
    ]
    if not faults and not mirror:
        faults = [
            Fault(
                where,
                f"{type(one).__name__} with settings that can mirror a brain or turn it around",
                "transforms that leave left on the left, front in front and top on top",
                "take it out or change its settings; augmentation.mirror=true allows it",
            )
            for where, one in by_place
            if _turns_around(one)
        ]
    if faults:
        raise ConfigError(faults)
    if probability == 0 and not transforms:
        return None
    return Augmentation(
        probability,
        shift_voxels,
        rotation_deg,
        noise_sd,
        scale_range,
        smooth_voxels,
        tuple(transforms),
    )


def _named(given: Any) -> str:
    kind = given if isinstance(given, type) else type(given)
    return f"a {kind.__module__}.{kind.__qualname__}"


def _is_of_images(one: Any) -> bool:
    from monai.transforms import MapTransform, Transform

    return isinstance(one, Transform) and not isinstance(one, MapTransform)


def _parts_of(transform: Any) -> Iterator[Any]:
    """Go through the transforms that a `Compose`, `OneOf` or the like is made of."""
    from monai.transforms import Compose

    if isinstance(transform, Compose):
        for one in transform.transforms:
            yield from _parts_of(one)
    else:
        yield transform


def _always(transform: Any) -> Any:
    """Copy a transform, so that each of its parts is applied whatever its probability."""
    sure = copy.deepcopy(transform)
    for one in _parts_of(sure):
        if getattr(one, "prob", 1) > 0:
            one.prob = 1.0
    return sure


def _turns_around(transform: Any) -> bool:
    """Try whether a transform can mirror an image or turn it by about a right angle or more.

    It is given an image of each coordinate: these have to go on rising along their own axes.
    """
    from monai.transforms import Randomizable

    kind = type(transform)
    if f"{kind.__module__}.".startswith(IN_PLACE) or getattr(transform, "prob", 1) == 0:
        return False
    scales = getattr(getattr(transform, "rand_affine_grid", None), "scale_range", None) or ()
    lowest = [one[0] if isinstance(one, Sequence) else -(one or 0) for one in scales]
    if min(lowest, default=0) <= -1:  # MONAI adds 1 to what it draws
        return True
    sure = _always(transform)
    axes = [1000 + torch.arange(size, dtype=torch.float32) for size in TRIAL_SHAPE]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    for seed in range(N_TRIALS if isinstance(sure, Randomizable) else 1):
        try:
            changed = _apply((sure,), coordinates, seed)
        except UNFIT:  # `check_augmentation` says so, on the scans' own grid
            return False
        for axis, values in enumerate(changed):
            is_inside = values > 999.5  # what comes in at the edges is 0
            n = values.shape[axis] - 1
            both = is_inside.narrow(axis, 1, n) & is_inside.narrow(axis, 0, n)
            slopes = values.diff(dim=axis)[both]
            if len(slopes) and slopes.median() < LEAST_SLOPE:
                return True
    return False


def _apply(transforms: tuple[Any, ...], image: torch.Tensor, seed: int) -> torch.Tensor:
    from monai.transforms import Compose

    together = Compose(list(transforms)).set_random_state(seed=seed)
    changed = together(image.clone())
    changed = changed[0] if isinstance(changed, tuple) else changed  # some give the grid as well
    return torch.as_tensor(changed).as_subclass(torch.Tensor)


def _transform_scan(transforms: tuple[Any, ...], image: torch.Tensor, seed: int) -> torch.Tensor:
    """Apply MONAI's transforms to one scan, (C, X, Y, Z), with random numbers of its own."""
    changed = _apply(transforms, image, seed)
    if changed.shape != image.shape:
        raise TrainingError(
            Fault(
                "augmentation.transforms",
                f"transforms that make a scan of shape {tuple(changed.shape)} from one of shape "
                f"{tuple(image.shape)}",
                "transforms that keep the shape, which the network is built for",
                "take out what crops, pads, resizes or turns, or let it keep the size",
            )
        )
    return changed.to(image)


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
    from monai.networks.layers import AffineTransform

    centre = (torch.tensor(images.shape[2:]).to(images) - 1) / 2
    from_corner = moves.clone()
    from_corner[:, :3, 3] += centre - moves[:, :3, :3] @ centre
    moved: torch.Tensor = AffineTransform()(images, from_corner)
    return moved


def _smooth(images: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Smooth by Gaussians with a sigma for each image and axis, (K, 3), in voxels."""
    for axis, size in enumerate(images.shape[2:], start=2):
        lines = images.movedim(axis, -1)
        smoothed = torch.bmm(lines.flatten(1, -2), gaussian_weights(size, sigmas[:, axis - 2]))
        images = smoothed.reshape(lines.shape).movedim(-1, axis)
    return images.contiguous()


def _per_scan(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return values.to(images)[:, None, None, None, None]
