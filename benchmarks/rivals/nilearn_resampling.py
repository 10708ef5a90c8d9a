"""Import, decode and resample maps with nilearn, as the least that any prediction takes.

python nilearn_resampling.py BUNDLE [MAP ...]; without a map it only imports.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # noqa: F401  (for whatever scores the maps)
from nilearn.image import load_img, resample_img


def main(bundle: str, *maps: str) -> None:
    """Put each map on the bundle's grid."""
    grid = json.loads((Path(bundle) / "preparation.json").read_text("utf-8"))
    for path in maps:
        image = load_img(path, dtype=np.float32)
        resample_img(
            image,
            target_affine=np.array(grid["affine"]),
            target_shape=grid["shape"],
            interpolation="linear",
            copy_header=True,
            force_resample=True,
        ).get_fdata(dtype=np.float32)


if __name__ == "__main__":
    main(*sys.argv[1:])
