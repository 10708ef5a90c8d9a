"""How far the noise of synthetic BOLD is from that of real runs, and of fmrisim's."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.fmrisim_runs import ABSENT, load_fmrisim, simulate_like
from benchmarks.noise_measures import measure_noise, thin_out
from benchmarks.race import describe_settings, write_results
from fmnet.bold.bold_file import open_bold
from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume
from fmnet.data.values import inside_mask
from fmnet.data.volume import FloatArray
from fmnet.errors import BenchmarkError, Fault
from fmnet.synthetic.bold import write_bold_cohort
from fmnet.types import Count, NonNegative, NonNegativeCount, Seed, VoxelSize

#: Darker voxels, relative to the median of the mask, are taken to lie outside of the brain.
MIN_BRIGHTNESS = 0.5
#: A run in memory: values (T, X, Y, Z), grid with its mask, repetition time in seconds.
Run = tuple[FloatArray, Grid, float]


@dataclass(frozen=True)
class NoiseBenchmark:
    """Describe real, synthetic and fmrisim's runs with the same measures.

    Parameters
    ----------
    data : str or None
        Folder with real runs.
    runs, mask : str
        Patterns below it that find the runs and the one brain mask on their grid.
    n_people : int
        Synthetic people, each with one run of the same length and repetition time.
    voxel_size_mm : int
        Of their grid.
    thin_out_by : int
        Their voxels are also looked at this far apart, not averaged, as near to the real grid as
        that goes.
    spike_rate : float
        Of the synthetic people; 0 for real people who hold still.
    n_simulated : int
        Real runs that fmrisim is fitted to, if it is installed.
    seed : int
        Of everything that is drawn.
    """

    data: str | None = None
    runs: str = "**/bold_25mm.nii.gz"
    mask: str = "**/masks/25mm/brain.nii.gz"
    n_people: Count = 12
    voxel_size_mm: VoxelSize = 12
    thin_out_by: Count = 2
    spike_rate: NonNegative = 0.0
    n_simulated: NonNegativeCount = 3
    seed: Seed = 0

    def run(self, out: Path) -> list[str]:
        """Measure everything; a table in `out` and in words."""
        real = self._read_real()
        n_volumes, t_r = len(real[0][0]), real[0][2]
        every, apart = f"fmnet {self.voxel_size_mm} mm", f"fmnet, every {self.thin_out_by}"
        figures = {"real": [_measure(*run) for run in real]}
        made = list(self._make(n_volumes, t_r))
        figures[every] = [_measure(*run) for run in made]
        figures[apart] = [_measure(*run, thin_out_by=self.thin_out_by) for run in made]
        fmrisim = load_fmrisim()
        if fmrisim is not None and self.n_simulated:
            figures["fmrisim"] = [
                _measure(simulate_like(fmrisim, values, grid, t_r, self.seed + k), grid, t_r)
                for k, (values, grid, t_r) in enumerate(
                    tqdm(real[: self.n_simulated], desc="fitting fmrisim", unit="run", leave=False)
                )
            ]
        table = compare(figures, apart)
        lines = write_results(out, {"noise": table}, [], describe_settings(self))
        return lines if fmrisim is not None else [*lines, ABSENT]

    def _read_real(self) -> list[Run]:
        folder = Path(self.data or "")
        runs = sorted(folder.glob(self.runs)) if self.data else []
        masks = sorted(folder.glob(self.mask)) if self.data else []
        if not runs or len(masks) != 1:
            found = f"{len(runs)} runs and {len(masks)} masks in {self.data or 'no folder'}"
            accepted = f"runs {self.runs} and one mask {self.mask}"
            action = "name the folder with real runs in suite.data, or other patterns"
            raise BenchmarkError(Fault("suite.data", found, accepted, action))
        return [_read(path, masks[0]) for path in runs]

    def _make(self, n_volumes: int, t_r: float) -> Iterator[Run]:
        with tempfile.TemporaryDirectory(prefix="fmnet-noise-") as place:
            root = write_bold_cohort(
                Path(place) / "cohort",
                n_subjects=max(self.n_people, 4),
                n_volumes=n_volumes,
                t_r=t_r,
                voxel_size_mm=self.voxel_size_mm,
                n_non_steady=0,
                spike_rate=self.spike_rate,
                seed=self.seed,
            )
            for path in sorted(root.glob("sub-*/func/*_bold.nii.gz"))[: self.n_people]:
                yield _read(path, Path(str(path).replace("preproc_bold", "brain_mask")))


def compare(figures: dict[str, list[dict[str, float]]], nearest: str) -> pd.DataFrame:
    """Tabulate medians over runs, the real ones' range, and how far `nearest` is from them.

    Returns
    -------
    DataFrame
        One row per quantity: ``quantity``, ``real``, ``lowest`` and ``highest`` of the real runs,
        a column for each of the others, ``ratio`` of `nearest` to ``real``, and ``in range``:
        whether the median of `nearest` lies among the real runs.
    """
    frames = {name: pd.DataFrame(rows) for name, rows in figures.items()}
    real = frames.pop("real")
    table = pd.DataFrame({"real": real.median(), "lowest": real.min(), "highest": real.max()})
    for name, frame in frames.items():
        table[name] = frame.median()
    table["ratio"] = table[nearest] / table["real"]
    inside = table[nearest].between(table["lowest"], table["highest"])
    table["in range"] = np.where(inside, "yes", "no")
    return table.reset_index(names="quantity")


def _measure(values: FloatArray, grid: Grid, t_r: float, thin_out_by: int = 1) -> dict[str, float]:
    inside, coarse = thin_out(values[:, grid.mask], grid, thin_out_by)
    mean = inside.mean(axis=0)
    bright = (inside.min(axis=0) > 0) & (mean > MIN_BRIGHTNESS * np.median(mean))
    mask = coarse.mask.copy()
    mask[coarse.mask] = bright
    return measure_noise(inside[:, bright], Grid(mask, coarse.affine, coarse.space), t_r)


def _read(path: Path, mask_path: Path) -> Run:
    with open_bold(path) as file:
        header = file.header
        order, affine = header.ras
        volumes = [header.slope * volume[order] + header.intercept for volume in file.volumes()]
    inside = inside_mask(read_volume(mask_path, "MNI152"))
    values = np.stack(volumes).astype(np.float32)
    return values, Grid(inside, affine, "MNI152"), float(header.t_r or 0)
