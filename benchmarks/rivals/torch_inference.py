"""Score one scan the usual way: MONAI transforms and the exported program, without any check.

python torch_inference.py BUNDLE MAP [MAP ...]
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from monai.transforms import LoadImage, SpatialResample


def main(bundle: str, *maps: str) -> None:
    """Put the scan's maps on the bundle's grid and run the network on them."""
    grid = json.loads((Path(bundle) / "preparation.json").read_text("utf-8"))
    load, resample = LoadImage(image_only=True, ensure_channel_first=True), SpatialResample()
    affine = np.array(grid["affine"])
    placed = [resample(load(path), dst_affine=affine, spatial_size=grid["shape"]) for path in maps]
    network = torch.export.load(Path(bundle) / "model.pt2").module()
    with torch.inference_mode():
        score = network(torch.cat([image.as_tensor() for image in placed])[None].nan_to_num())
    sys.stdout.write(f"{float(score):.9g}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
