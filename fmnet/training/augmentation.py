"""Random changes to training images; none of them mirrors a brain: left stays left."""

from typing import Any

import numpy as np
import torch
from monai.transforms import (
    Compose,
    RandAffine,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
)

from fmnet.limits import NonNegative, Seed, Share
from fmnet.training.datamodule import Augmentation


def build_augmentation(
    probability: Share = 0.0,
    shift_voxels: NonNegative = 0.0,
    rotation_deg: NonNegative = 0.0,
    noise_sd: NonNegative = 0.0,
    scale_range: NonNegative = 0.0,
    smooth_voxels: NonNegative = 0.0,
    seed: Seed = 0,
) -> Augmentation | None:
    """Build the augmentation; None if the probability is 0.

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
    seed : int
        Of the random changes.
    """
    if probability == 0:
        return None
    angle = float(np.deg2rad(rotation_deg))
    sigma = (0.0, smooth_voxels)
    chain = Compose(
        [
            RandAffine(
                prob=probability,
                translate_range=(shift_voxels,) * 3,
                rotate_range=(angle,) * 3,
                padding_mode="zeros",
            ),
            RandGaussianSmooth(sigma, sigma, sigma, prob=probability if smooth_voxels else 0),
            RandScaleIntensity(factors=scale_range, prob=probability),
            RandGaussianNoise(prob=probability, std=noise_sd),
        ]
    )
    chain.set_random_state(seed)

    def augment(image: torch.Tensor) -> torch.Tensor:
        changed: Any = chain(image)
        return torch.as_tensor(changed.as_tensor() if hasattr(changed, "as_tensor") else changed)

    return augment
