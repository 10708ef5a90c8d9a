"""The template grid that every scan is put on."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fmnet.data.volume import SPACES, Affine, FloatArray, check_affine, check_space

MaskName = Literal["brain", "grey_matter", "non_grey", "background"]


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in template space and the voxels of it that are looked at.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        True inside the brain.
    affine : ndarray of float64, shape (4, 4)
        From voxel index to world coordinates in mm, RAS+.
    space : str
        One of `fmnet.data.volume.SPACES`.
    """

    mask: NDArray[np.bool_]
    affine: Affine
    space: str

    def __post_init__(self) -> None:
        check_affine(self.affine, "template grid")
        check_space(self.space, "template grid", SPACES)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        x, y, z = self.mask.shape
        return x, y, z

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def n_voxels(self) -> int:
        """Voxels inside the mask."""
        return int(self.mask.sum())

    @cached_property
    def digest(self) -> str:
        """Hash of everything that decides where a value lands."""
        parts = (np.packbits(self.mask).tobytes(), self.affine.tobytes(), repr(self.shape).encode())
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    def unmask(self, values: FloatArray, fill: float = 0.0) -> FloatArray:
        """Put in-mask values, shape (..., V), back on the grid: (..., X, Y, Z)."""
        volume = np.full((*values.shape[:-1], *self.shape), fill, dtype=np.float32)
        volume[..., self.mask] = values
        return volume
