"""A signature beside maps that others published: NPS, SIIPS, or any other NIfTI in MNI space."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume
from fmnet.data.scans import covered_fraction, place_checked
from fmnet.data.signature_map import SignatureMap
from fmnet.data.values import stat_fault
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault, FmnetError
from fmnet.evaluation.comparison import holm
from fmnet.signature.regions import stated_space_fault
from fmnet.signature.spatial_null import spatial_tests

#: Fewer voxels than these show no pattern.
MIN_VOXELS = 30
#: A map with values in less than this fraction of the mask is thresholded where hardly any of them
#: (one in a hundred) are smaller than the second fraction of the median size.
SPARSE, GAP = 0.5, 0.2
COLUMNS = ["contrast", "map", "n_voxels", "n_nonzero", "dot", "cosine", "correlation",
           "null_low", "null_high", "p", "p_holm", "note"]  # fmt: skip


@dataclass(frozen=True, eq=False)
class PublishedMap:
    """A map of the user's, on the grid of the signature.

    Parameters
    ----------
    name : str
        What the user calls it.
    values : ndarray of float32, shape (V,)
        NaN where the map has none; 0 there if it is thresholded, for then that means no effect.
    n_voxels : int
        How many voxels of the mask have a value of their own.
    is_thresholded : bool
        Whether values near 0 have been cut out.
    """

    name: str
    values: FloatArray
    n_voxels: int
    is_thresholded: bool

    @property
    def note(self) -> str:
        """What a reader has to know of the voxels that are compared; empty if nothing."""
        fraction = self.n_voxels / len(self.values)
        held = f"{self.n_voxels:,} voxels, {fraction:.0%} of the mask"
        if self.is_thresholded:
            return f"thresholded: values in {held}; the rest counts as 0"
        return f"values in {held}; compared in these" if fraction < SPARSE else ""


def read_published(
    paths: Mapping[str, str | Path], grid: Grid, space: str = "MNI152"
) -> list[PublishedMap]:
    """Read published maps and put them on the grid of a signature.

    Parameters
    ----------
    paths : dict
        NIfTI files on any grid, by the names that the user gives them.
    grid : Grid
        Where they are wanted.
    space : str
        The space that they are in, one of `fmnet.data.volume.MNI_SPACES`.

    Raises
    ------
    ConfigError
        With every map that can't be used: unreadable, of p values or labels, in another space, or
        with next to no voxels in the mask.
    """
    found, faults = list[PublishedMap](), list[Fault]()
    for name, path in paths.items():
        try:
            found.append(_read(name, Path(path), grid, space))
        except FmnetError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return found


def compare_with_published(
    signature: SignatureMap, published: list[PublishedMap], n: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Compare each contrast of a signature with published maps.

    Similarities are over the voxels that both have: zeros of a weight map are no part of it, as in
    CANlab's tools, but those of a thresholded map count. p is of the correlation, against random
    maps as smooth as the signature, see `fmnet.signature.spatial_null`.

    Parameters
    ----------
    signature : SignatureMap
        Weights or a pattern.
    published : list of PublishedMap
        See `read_published`.
    n, seed : int
        How many random maps for each contrast, and what they are drawn from.

    Returns
    -------
    DataFrame
        One row per contrast and map: ``contrast, map, n_voxels`` that are compared, ``n_nonzero``
        of the map, ``dot`` (of the values on the grid), ``cosine, correlation``, ``null_low`` and
        ``null_high`` (the middle 95 % of random maps), ``p`` (two-sided), ``p_holm`` over all rows,
        ``note``.
    """
    rows = list[dict[str, Any]]()
    others = np.array([one.values for one in published])
    for channel, contrast in enumerate(signature.contrasts):
        own = signature.values[channel].astype(float)
        tests = spatial_tests(own, others, signature.grid, n, seed + channel) if published else []
        for one, test in zip(published, tests, strict=True):
            known = np.isfinite(one.values)
            here, there = own[known], one.values[known].astype(float)
            size = float(np.linalg.norm(here) * np.linalg.norm(there))
            low, high = np.quantile(test.null, [0.025, 0.975])
            rows.append(
                {
                    "contrast": contrast,
                    "map": one.name,
                    "n_voxels": test.n_voxels,
                    "n_nonzero": one.n_voxels,
                    "dot": float(here @ there),
                    "cosine": float(here @ there) / size if size else 0.0,
                    "correlation": test.r,
                    "null_low": float(low),
                    "null_high": float(high),
                    "p": test.p,
                    "note": one.note,
                }
            )
    corrected = holm([row["p"] for row in rows])
    rows = [row | {"p_holm": p} for row, p in zip(rows, corrected, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _read(name: str, path: Path, grid: Grid, space: str) -> PublishedMap:
    if fault := stated_space_fault(path):
        raise ConfigError(fault)
    volume = read_volume(path, space)
    if fault := stat_fault(volume.stat, "", str(path)):
        raise ConfigError(fault)
    values = place_checked(volume, grid)[0]
    known = np.isfinite(values)
    n_voxels = int(known.sum())
    if n_voxels < MIN_VOXELS:
        accepted = f"values in {MIN_VOXELS} voxels or more"
        action = "give the unthresholded map, or check its space and affine"
        raise ConfigError(Fault(str(path), f"{n_voxels} voxels in the mask", accepted, action))
    size = np.abs(volume.data[np.isfinite(volume.data) & (volume.data != 0)])
    has_gap = bool(np.quantile(size, 0.01) > GAP * np.median(size))
    is_thresholded = has_gap and covered_fraction(values) < SPARSE
    if is_thresholded:
        values = np.where(known, values, np.float32(0))
    return PublishedMap(name, values, n_voxels, is_thresholded)
