"""Maps of where an effect may lie all over the brain."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume
from fmnet.data.resample import place_on_grid
from fmnet.data.volume import FloatArray
from fmnet.errors import CohortError, Fault, FmnetError


def read_templates(files: Sequence[str | Path], grid: Grid, space: str) -> FloatArray | None:
    """Put templates on a grid: (T, V), 0 where they have no value; None if there are none.

    Raises
    ------
    CohortError
        With all files that can't be used.
    """
    rows: list[FloatArray] = []
    faults: list[Fault] = []
    for file in files:
        try:
            rows.append(np.nan_to_num(place_on_grid(read_volume(Path(file), space), grid)[0]))
        except FmnetError as error:
            faults += error.faults
            continue
        if not rows[-1].any():
            found = "no value in the brain other than 0"
            action = "give a map with values in the brain"
            faults.append(Fault(str(file), found, "a template with values", action))
    if faults:
        raise CohortError(faults)
    return np.stack(rows) if rows else None


def name_templates(files: Sequence[str | Path]) -> tuple[str, ...]:
    """Name templates after their files, and after their folders too where names would be alike."""
    short = [Path(file).name.removesuffix(".gz").removesuffix(".nii") for file in files]
    return tuple(short if len(set(short)) == len(short) else map(str, files))
