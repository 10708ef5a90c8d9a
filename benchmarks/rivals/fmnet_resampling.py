"""Decode and resample maps as fmnet does, and nothing else: what its answers add to that.

python fmnet_resampling.py BUNDLE [MAP ...]; without a map it only imports.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # noqa: F401  (for whatever scores the maps)

from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume
from fmnet.data.resample import place_on_grid


def main(bundle: str, *maps: str) -> None:
    """Put each map on the bundle's grid, all of whose voxels are looked at."""
    grid = json.loads((Path(bundle) / "preparation.json").read_text("utf-8"))
    mask = np.ones(grid["shape"], dtype=bool)
    own = Grid(mask, np.array(grid["affine"], dtype=float), grid["space"])
    for path in maps:
        place_on_grid(read_volume(Path(path), own.space), own)


if __name__ == "__main__":
    main(*sys.argv[1:])
