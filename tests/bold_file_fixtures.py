"""Fixtures for BOLD runs, and for code that ends its process."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bold_geometry import BOLD_AFFINE, BOLD_SHAPE

import fmnet


@pytest.fixture
def write_bold(rng: np.random.Generator) -> Callable[..., Path]:
    """Write a 4-D file: int16 of 5 volumes, 9000 plus noise in a box, 0 around it."""

    def write(
        path: Path,
        data: Any = None,
        affine: Any = BOLD_AFFINE,
        t_r: float | None = 2.0,
        unit: str = "sec",
        n_volumes: int = 5,
        scaling: tuple[float, float] | None = None,
        image_class: Any = nib.Nifti1Image,
        endianness: str = "<",
    ) -> Path:
        if data is None:
            data = np.zeros((*BOLD_SHAPE, n_volumes), np.int16)
            data[1:, :-1, 1:-1] = 9000 + rng.normal(size=(5, 6, 6, n_volumes)) * 90
        header = image_class.header_class(endianness=endianness)
        header.set_data_dtype(data.dtype)
        image = image_class(data, affine, header)
        if data.ndim == 4 and t_r is not None:
            image.header.set_zooms((*image.header.get_zooms()[:3], t_r))
            image.header.set_xyzt_units("mm", unit)
        if scaling is not None:
            image.header.set_slope_inter(*scaling)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.to_filename(path)
        return path

    return write


@pytest.fixture
def write_mask(write_map: Callable[..., Path]) -> Callable[..., Path]:
    """Write a mask on the grid of `write_bold`; no box, and it differs from left to right."""

    def write(path: Path, data: Any = None, affine: Any = BOLD_AFFINE) -> Path:
        if data is None:
            data = np.zeros(BOLD_SHAPE, np.uint8)
            data[1:5, 1:5, 2:7] = 1
            data[1:3, 2, 2] = 0
        return write_map(path, data, affine)

    return write


@pytest.fixture
def run_python() -> Callable[..., Any]:
    """Run code in another process, which may limit or kill itself."""

    def run(code: str, *arguments: Any) -> Any:
        root = Path(fmnet.__file__).parents[1]
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
