"""`SignatureMap`: what a model makes of each voxel, which never travels without its meaning."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from fmnet.data.files import encoded, read_json
from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume, write_volume
from fmnet.data.volume import FloatArray, Volume
from fmnet.errors import Fault, VolumeError

#: What a map shows of a model, or of the cohort.
Description = Literal[
    "weights",  # exact weights of what is linear, in units of score per unit of the map
    "pattern",  # Haufe's activation pattern of the score
    "surrogate",  # weights of the linear map that comes nearest to the whole model
    "attribution",  # integrated gradients, mean over people
    "occlusion",  # what the score loses without a region
    "z",  # weights against those under permuted labels
    "thresholded",  # z, where it survives its threshold
    "seed",  # a learned seed or network of a model of time series
    "contribution",  # of one person: weights times what lies above the training mean
    "positivemean", "negativemean", "groupdifference", "coverage",
]  # fmt: skip
DESCRIPTIONS: tuple[str, ...] = get_args(Description)
#: From whom: the model fitted on everybody, or people out of fold, each by a model without them.
Source = Literal["final", "out-of-fold"]


@dataclass(frozen=True, eq=False)
class SignatureMap:
    """A value for each voxel of each contrast, with what it is, of which model and from whom.

    Parameters
    ----------
    values : ndarray of float32, shape (C, V)
        Inside the mask of the grid, one row per contrast.
    grid : Grid
        Where.
    contrasts : tuple of str
        Names of the C channels.
    description : str
        What the values are, one of `DESCRIPTIONS`.
    units, sign : str
        Unit of the values, and what a positive value means, in words.
    model : str
        Title of the model.
    source : {"final", "out-of-fold"}
        Whom it comes from.
    n_subjects : int
        How many people.
    about : dict
        Further plain values for the sidecar: ``intercept``, ``threshold``, checks.
    """

    values: FloatArray
    grid: Grid
    contrasts: tuple[str, ...]
    description: Description
    units: str
    sign: str
    model: str
    source: Source
    n_subjects: int
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (len(self.contrasts), self.grid.n_voxels)
        if self.values.shape != expected or not np.isfinite(self.values).all():
            found = f"values of shape {self.values.shape}, or some that are not finite"
            accepted = f"finite values of shape {expected}"
            raise VolumeError(Fault(f"{self.description} map", found, accepted, "report this"))

    @property
    def volume(self) -> FloatArray:
        """The values on the grid, 0 outside the mask: (C, X, Y, Z)."""
        return self.grid.unmask(self.values)

    def stems(self) -> list[str]:
        """Name the file of each contrast, without its ending, as BIDS derivatives are named."""
        return file_stems(self.contrasts, self.grid.space, self.description)

    def sidecar(self, contrast: str) -> dict[str, Any]:
        """Say what the file of a contrast holds, in plain values."""
        return {
            "Description": self.description,
            "Contrast": contrast,
            "Space": self.grid.space,
            "VoxelSizeMm": list(self.grid.voxel_size_mm),
            "Orientation": "RAS+",
            "Units": self.units,
            "Sign": self.sign,
            "Model": self.model,
            "Source": self.source,
            "NumberOfSubjects": self.n_subjects,
            **self.about,
            "IntendedUse": "research use only",
        }

    def write(self, folder: Path) -> list[Path]:
        """Write one NIfTI file per contrast with a JSON sidecar beside it; give the images."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for contrast, stem, values in zip(self.contrasts, self.stems(), self.volume, strict=True):
            path = folder / f"{stem}.nii.gz"
            write_volume(Volume(values[None], self.grid.affine, self.grid.space), path)
            text = json.dumps(self.sidecar(contrast), indent=2, allow_nan=False) + "\n"
            path.with_name(f"{stem}.json").write_bytes(encoded(text))
            written.append(path)
        return written


def file_stems(contrasts: Sequence[str], space: str, description: str) -> list[str]:
    """Name the files of a map, without their ending; contrasts alike in letters get a number."""
    plain = [re.sub(r"[^a-zA-Z0-9]", "", contrast) or "map" for contrast in contrasts]
    names = [
        name if plain.count(name) == 1 else f"{name}{number}"
        for number, name in enumerate(plain, start=1)
    ]
    return [f"contrast-{name}_space-{space}_desc-{description}_statmap" for name in names]


def read_signature_map(
    folder: Path, description: Description, grid: Grid, contrasts: tuple[str, ...]
) -> SignatureMap:
    """Read a map that `SignatureMap.write` wrote, for a grid that has to be its own.

    Raises
    ------
    VolumeError
        If a file is missing, damaged, or on another grid.
    """
    rows, said = [], {}
    for stem in file_stems(contrasts, grid.space, description):
        path = folder / f"{stem}.nii.gz"
        volume = read_volume(path, grid.space)
        is_same = volume.data.shape[1:] == grid.shape and np.allclose(volume.affine, grid.affine)
        if not is_same:
            accepted = "the grid of the signature that it belongs to"
            raise VolumeError(Fault(str(path), "another grid", accepted, "copy the folder again"))
        # who reads images takes 0 for no data
        rows.append(np.nan_to_num(volume.data[0][grid.mask], posinf=np.inf, neginf=-np.inf))
        said = _read_sidecar(folder / f"{stem}.json")
    known = {"Description", "Contrast", "Space", "VoxelSizeMm", "Orientation", "Units", "Sign",
             "Model", "Source", "NumberOfSubjects", "IntendedUse"}  # fmt: skip
    return SignatureMap(
        values=np.stack(rows),
        grid=grid,
        contrasts=contrasts,
        description=description,
        units=said["Units"],
        sign=said["Sign"],
        model=said["Model"],
        source=said["Source"],
        n_subjects=int(said["NumberOfSubjects"]),
        about={name: value for name, value in said.items() if name not in known},
    )


def _read_sidecar(path: Path) -> dict[str, Any]:
    """Read what is said of a map, and check what is relied on."""
    said = read_json(path, "the sidecar of a map")
    wrong = [name for name in ("Units", "Sign", "Model") if not isinstance(said.get(name), str)]
    wrong += [] if said.get("Source") in get_args(Source) else ["Source"]
    n_subjects = said.get("NumberOfSubjects")  # all numbers of JSON are read as float
    if not isinstance(n_subjects, float) or not (n_subjects.is_integer() and n_subjects > 0):
        wrong.append("NumberOfSubjects")
    if wrong:
        accepted = "what fmnet wrote beside the map"
        found = f"a sidecar without a usable {', '.join(wrong)}"
        raise VolumeError(Fault(str(path), found, accepted, "copy the folder again"))
    return said
