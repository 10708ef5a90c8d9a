"""How others read a BOLD file, each as its documentation shows it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip
from monai.data import CacheDataset, PersistentDataset
from monai.transforms import LoadImage
from nilearn.image import load_img
from nilearn.maskers import NiftiMasker

from fmnet.bold.bold_file import BoldRun
from fmnet.data.nifti import read_volume
from fmnet.data.values import inside_mask

try:
    import torchio
except ImportError:
    torchio = None

UNPACKING = "isal, unpacking alone"
MONAI = "MONAI LoadImage"
TORCHIO = "torchio ScalarImage"


def whole_run_readers(run: BoldRun) -> dict[str, Callable[[], Any]]:
    """Ways to read a whole run; the first only unpacks it."""
    readers: dict[str, Callable[[], Any]] = {
        UNPACKING: lambda: igzip.decompress(run.path.read_bytes()),
        "nibabel get_fdata": lambda: load_img(run.path).get_fdata(dtype=np.float32),
        MONAI: lambda: LoadImage(image_only=True)(run.path),
        "nilearn NiftiMasker": partial(_mask_with_nilearn, run),
    }
    if torchio is not None:
        readers[TORCHIO] = lambda: torchio.ScalarImage(run.path).load()
    return readers


def absent_readers() -> list[str]:
    """Name those that aren't installed."""
    return [] if torchio is not None else [f"{TORCHIO}: not installed (pip install torchio)"]


def window_readers(run: BoldRun, start: int, n: int) -> dict[str, Callable[[], Any]]:
    """Ways to read `n` in-mask volumes from the file itself."""
    inside = inside_mask(read_volume(Path(run.mask or ""), run.space))
    return {
        ".nii.gz sliced with nibabel": lambda: (
            np.asarray(load_img(run.path).dataobj[..., start : start + n], np.float32)[inside].T
        )
    }


def read_persistent(runs: Sequence[BoldRun], cache: Path, n: int) -> float:
    """Take the first volumes of each run out of MONAI's `PersistentDataset`; return their sum."""
    data = PersistentDataset([run.path for run in runs], LoadImage(image_only=True), cache)
    return sum(float(data[k][..., :n].sum()) for k in range(len(runs)))


def read_cached(runs: Sequence[BoldRun], n: int) -> float:
    """Take the first volumes of each run out of MONAI's `CacheDataset`; return their sum."""
    paths = [run.path for run in runs]
    data = CacheDataset(paths, LoadImage(image_only=True), num_workers=1, progress=False)
    return sum(float(data[k][..., :n].sum()) for k in range(len(runs)))


def _mask_with_nilearn(run: BoldRun) -> Any:
    return NiftiMasker(run.mask, standardize=None).fit().transform(run.path)
