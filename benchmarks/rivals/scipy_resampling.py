"""Import, decode and resample maps with the fewest imports: nibabel and its SciPy resampling.

python scipy_resampling.py BUNDLE [MAP ...]; without a map it only imports.
"""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime  # noqa: F401  (for whatever scores the maps)
from nibabel.processing import resample_from_to


def main(bundle: str, *maps: str) -> None:
    """Put each map on the bundle's grid."""
    grid = json.loads((Path(bundle) / "preparation.json").read_text("utf-8"))
    for path in maps:
        image = nib.load(path)
        image.get_fdata(dtype=np.float32)
        resample_from_to(image, (grid["shape"], np.array(grid["affine"])), order=1).get_fdata()


if __name__ == "__main__":
    main(*sys.argv[1:])
