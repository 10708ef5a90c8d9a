"""Part *spatial*: is a correlation of maps tested as it should be, and what does that take."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, pearsonr

from benchmarks.fresh_process import measure_alone
from benchmarks.race import Goal
from benchmarks.signature.part import Cell, Part, World
from fmnet.data.template import build_grid
from fmnet.signature.spatial_null import spatial_p
from fmnet.synthetic.effects import draw_fields
from fmnet.types import Count, NonNegative, Positive, VoxelSize

#: Level of the tests.
ALPHA = 0.05
#: Pairs of maps that lie in one file.
N_TOGETHER = 25
#: Smoothness of the maps whose test is timed; its cost depends on the grid alone.
TIMED_MM = 12.0


@dataclass(frozen=True)
class SpatialPart(Part):
    """False positives of the spatial null for unrelated smooth maps; its time and memory.

    Parameters
    ----------
    fwhm_mm : list of (float, float)
        Smoothness of the two maps, pair by pair.
    n_pairs : int
        Of unrelated maps, for each pair of widths.
    n_null : int
        Random maps of each test.
    voxel_size_mm : int
        Of the maps that are tested.
    n_timed, timed_voxel_size_mm : int
        Random maps, and their grid, where time and memory are measured, in a process of its own.
    seconds, megabytes : float
        Hoped for.
    """

    fwhm_mm: Sequence[Sequence[NonNegative]] = ((8.0, 8.0), (20.0, 20.0))
    n_pairs: Count = 200
    n_null: Count = 199
    voxel_size_mm: VoxelSize = 8
    n_timed: Count = 1000
    timed_voxel_size_mm: VoxelSize = 4
    seconds: Positive = 60.0
    megabytes: Positive = 500.0

    title = "False positives of correlations of unrelated smooth maps"
    names = ("what", "one_mm", "other_mm", "first", "last")
    counts = ("n_pairs", "fwhm_mm", "seconds", "megabytes")

    def cells(self) -> list[Cell]:
        """List the pairs, some at a time, and what is timed."""
        pairs: list[Cell] = [
            ("pairs", float(one), float(other), first, min(first + N_TOGETHER, self.n_pairs))
            for first in range(0, self.n_pairs, N_TOGETHER)
            for one, other in self.fwhm_mm
        ]
        return [("cost", TIMED_MM, TIMED_MM, 0, 1), *pairs]

    def code(self, cell: Cell) -> tuple[str, ...]:  # noqa: ARG002
        """Name the code that decides a cell's figures."""
        return ("fmnet/signature/spatial_null.py", "benchmarks/signature/spatial.py")

    def measure(self, world: World, cell: Cell) -> list[dict[str, Any]]:
        """Test unrelated maps, or time one test."""
        what, one_mm, other_mm, first, last = cell
        seed = world.planter.seed
        if what == "cost":
            cost = measure_alone(correlate_once, self.timed_voxel_size_mm, self.n_timed, seed)
            return [{"took_s": cost.seconds, "peak_mb": cost.peak_mb}]
        grid, rows = build_grid(self.voxel_size_mm), []
        key = zlib.crc32(repr((one_mm, other_mm)).encode())
        for number in range(first, last):
            rng = np.random.default_rng([seed, key, number])
            (one,), (other,) = (draw_fields(rng, grid, 1, width) for width in (one_mm, other_mm))
            found = spatial_p(one, other, grid, self.n_null, number)
            naive = float(pearsonr(one, other).pvalue)
            rows.append({"pair": number, "r": found.r, "p": found.p, "naive_p": naive})
        return rows

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Rate of p < 0.05 with its exact interval, beside that of naive p; time and memory."""
        pairs = rows[rows["what"] == "pairs"]
        table = []
        for (one, other), own in pairs.groupby(["one_mm", "other_mm"], sort=False):
            hits = int((own["p"] <= ALPHA).sum())
            low, high = binomtest(hits, len(own)).proportion_ci()
            table.append(
                {"one_mm": one, "other_mm": other, "pairs": len(own)}
                | {"rate": hits / len(own), "low": float(low), "high": float(high)}
                | {"naive": float((own["naive_p"] <= ALPHA).mean())}
            )
        cost = rows[rows["what"] == "cost"][["took_s", "peak_mb"]]
        return {"spatial": pd.DataFrame(table), "cost": cost.reset_index(drop=True)}

    def goals(self, tables: dict[str, pd.DataFrame]) -> list[Goal]:
        """Compare time and memory with what was hoped for, and rates with the level."""
        cost, table = tables["cost"].iloc[0], tables["spatial"]
        what = f"{self.n_timed:,} random maps at {self.timed_voxel_size_mm} mm"
        beyond = int((table["low"] > ALPHA).sum())
        return [
            Goal(f"seconds for {what}", float(cost["took_s"]), self.seconds, False),
            Goal(f"MB for {what}", float(cost["peak_mb"]), self.megabytes, False),
            Goal("pairs of widths with more false positives than 0.05", beyond, 0, False),
        ]


def correlate_once(voxel_size_mm: int, n: int, seed: int) -> None:
    """Test two unrelated maps."""
    grid = build_grid(voxel_size_mm)
    one, other = draw_fields(np.random.default_rng(seed), grid, 2, TIMED_MM)
    spatial_p(one, other, grid, n, seed)
