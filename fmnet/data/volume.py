"""`Volume`: voxel values that never travel without their geometry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnet.errors import Fault, VolumeError

FloatArray = NDArray[np.float32]
Affine = NDArray[np.float64]

#: Standard spaces that share the MNI152 world coordinates closely enough for maps smoothed to a
#: few millimetres. ``MNI152`` stands for "one of them, not said which".
MNI_SPACES = (
    "MNI152",
    "MNI152Lin",
    "MNI152NLin6Sym",
    "MNI152NLin6Asym",
    "MNI152NLin2009aSym",
    "MNI152NLin2009aAsym",
    "MNI152NLin2009bSym",
    "MNI152NLin2009bAsym",
    "MNI152NLin2009cSym",
    "MNI152NLin2009cAsym",
)

#: One person's own space: runs and maps that are compared with nobody else's, and whose coordinates
#: mean nothing to a template. No cohort and no signature accepts it.
OWN_SPACE = "own"
SPACES = (*MNI_SPACES, OWN_SPACE)

#: Largest condition number of an affine; one slice of 1 x 1 x 1000 mm voxels has 1000.
MAX_CONDITION = 1e5


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxel values on a grid in a named space, checked once, at birth.

    Parameters
    ----------
    data : ndarray of float32, shape (C, X, Y, Z)
        Values, one channel per contrast; NaN where there are none.
    affine : ndarray of float64, shape (4, 4)
        From voxel index to world coordinates in mm; first axis to the right, second to the front,
        third upwards (RAS+).
    space, name : str
        One of `SPACES`; where the data come from, for messages.
    stat, note : str
        What the file's header says the values are, see `fmnet.data.values.header_stat`; what a
        reader of the results should know about the file's geometry; empty if nothing.

    Raises
    ------
    VolumeError
        If the shape, the affine, the orientation or the space is not as stated above.
    """

    data: FloatArray
    affine: Affine
    space: str
    name: str = "volume"
    stat: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        check_space(self.space, self.name, SPACES)
        if self.data.ndim != 4 or 0 in self.data.shape:
            accepted, action = (
                "four axes (C, X, Y, Z), none of length 0",
                "give one 3-D map per contrast",
            )
            self._refuse(f"an array of shape {self.data.shape}", accepted, action)
        if self.data.dtype != np.float32:
            self._refuse(f"values of type {self.data.dtype}", "float32", "convert the values")
        check_affine(self.affine, self.name)
        if not is_ras(self.affine):
            self._refuse("axes in another order than RAS+", "RAS+", "reorient the image first")

    def _refuse(self, found: str, accepted: str, action: str) -> None:
        raise VolumeError(Fault(self.name, found, accepted, action))


def check_space(space: str, name: str, accepted: tuple[str, ...] = MNI_SPACES) -> None:
    """Raise `VolumeError` unless `space` is one of those accepted."""
    if space not in accepted:
        named = [other for other in accepted if other != OWN_SPACE] or accepted
        action = "normalise the map to MNI152 space, or correct the space stated for it"
        raise VolumeError(Fault(name, f"space '{space}'", ", ".join(named), action))


def check_affine(affine: Affine, name: str) -> None:
    """Raise `VolumeError` unless `affine` is a finite, invertible (4, 4) matrix of an affine."""
    usable = affine.shape == (4, 4) and bool(np.isfinite(affine).all())
    found = ""
    # The condition number catches axes that all but coincide, whatever the voxel size.
    if not usable or not np.linalg.cond(affine[:3, :3]) <= MAX_CONDITION:
        found = "a singular affine"
    elif not np.allclose(affine[3], [0, 0, 0, 1], rtol=0, atol=1e-6):  # products are rounded
        found = "a matrix whose last row is not 0, 0, 0, 1, and so no affine,"
    else:
        with np.errstate(all="ignore"):  # squares that are too small or too large for a number
            edges = np.linalg.norm(affine[:3, :3], axis=0)
        if not (np.isfinite(edges).all() and edges.all()):
            found = "an affine whose voxels have no size"
    if found:
        found += f" {np.asarray(affine).round(3).tolist()}"
        action = "write the image again with the software that made it"
        raise VolumeError(Fault(name, found, "a finite, invertible (4, 4) matrix", action))


def is_ras(affine: Affine) -> bool:
    """Tell whether each voxel axis points along its own world axis, in positive direction."""
    return bool((np.diag(affine[:3, :3]) > 0).all())
