"""Part *truth*: how well each kind of map ranks the voxels in which something was planted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.power.planted import PlantedCohort
from benchmarks.power.regimes import TEMPLATED, RegimeName, ShiftedEffect
from benchmarks.power.regions import Brain
from benchmarks.power.summary import ORACLE
from benchmarks.race import Goal
from benchmarks.signature.maps import DifferenceMaps, LinearMaps, MapMaker, NetworkMaps
from benchmarks.signature.oracle_maps import OracleMaps
from benchmarks.signature.part import SIGNATURE_CODE, Cell, Part, World, spread_of
from fmnet.data.volume import FloatArray
from fmnet.types import Count, Fraction, NonNegativeCount, Several

#: Of an effect that is all over the brain, the fraction of voxels that count as planted: those in
#: which it is largest.
TOP = 0.1
#: Kinds of maps whose sign is that of the score that is added, not of the difference of values.
UNSIGNED = ("attribution", "difference", "occlusion", "variance")
#: Code that decides what the oracle makes of a cohort.
ORACLE_FILES = (
    *("oracle_maps", "oracle_regions", "oracle_people", "oracle_field"),
    *("noise", "candidates"),
)
#: Which networks' maps a goal is about.
NETWORK = "network"


@dataclass(frozen=True, eq=False)
class Truth:
    """Where an effect lies.

    Parameters
    ----------
    mask : ndarray of bool, shape (C, V)
        Voxels that are to be ranked before all others.
    difference : ndarray of float, shape (C, V)
        How far the groups' means lie apart, in the voxels' SDs; 0 everywhere for interactions.
    """

    mask: NDArray[np.bool_]
    difference: FloatArray


def read_truth(regime: RegimeName, planted: PlantedCohort, radius_mm: float) -> Truth:
    """Say where a cohort's effect lies; a shifted one where it would be without a shift."""
    effect = planted.effect
    strength = effect.patient.mean(axis=0) - effect.control.mean(axis=0)
    difference = np.tensordot(strength, effect.size * effect.patterns, axes=1)
    if regime in TEMPLATED:
        size = np.abs(difference)
        return Truth(size > np.quantile(size, 1 - TOP), difference)
    mask: NDArray[np.bool_] = (effect.patterns != 0).any(axis=0)
    if isinstance(effect, ShiftedEffect):
        brain = Brain(planted.grid)
        mask = np.atleast_2d(brain.balls(effect.centres, radius_mm).any(axis=0))
    return Truth(mask, difference)


def score_map(values: FloatArray, truth: Truth) -> dict[str, float]:
    """Compare a map, (C, V), with the truth.

    Returns
    -------
    dict
        ``average_precision`` of its size; ``correlation`` with the difference of the groups, NaN
        where either is the same everywhere or where the map is of sizes alone.
    """
    ranked = np.abs(np.nan_to_num(values)).ravel()
    precision = average_precision_score(truth.mask.ravel(), ranked)
    one, other = values.ravel().astype(float), truth.difference.ravel().astype(float)
    is_signed = one.min() < 0 < one.max() and other.any()
    related = float(np.corrcoef(one, other)[0, 1]) if is_signed else np.nan
    return {"average_precision": float(precision), "correlation": related}


@dataclass(frozen=True)
class TruthPart(Part):
    """Average precision of each kind of map against what was planted, beside the oracle's.

    Parameters
    ----------
    regimes : list of str
        See `benchmarks.power.regimes`.
    n : int
        People in a cohort.
    n_draws : int
        Cohorts of each regime.
    n_permutations : int
        Orders of the labels that z maps come from.
    makers : list of str
        ``oracle``, ``difference``, ``network`` and names of baselines.
    drawn : str
        The kind of the network's map that the goal is about, as it is the one that is drawn.
    wanted : float
        Part of the oracle's average precision that is hoped for, for aligned effects.
    """

    regimes: Sequence[RegimeName] = ("aligned",)
    n: Several = 70
    n_draws: Count = 10
    n_permutations: NonNegativeCount = 99
    makers: Sequence[str] = (ORACLE, "difference", NETWORK, "linear_svm")
    drawn: str = "standard_weights"
    wanted: Fraction = 0.9

    title = "Average precision of maps against the planted voxels"
    names = ("regime", "draw", "maker")
    counts = ("n_draws", "regimes", "makers", "drawn", "wanted")

    def cells(self) -> list[Cell]:
        """Draw by draw, so that a few draws of everything are done first."""
        return [
            (regime, number, maker)
            for number in range(self.n_draws)
            for regime in self.regimes
            for maker in self.makers
        ]

    def code(self, cell: Cell) -> tuple[str, ...]:
        """Name the code that decides a cell's figures."""
        own = ("benchmarks/signature/truth.py",)
        if cell[2] == ORACLE:
            return (*own, *(f"benchmarks/signature/{name}.py" for name in ORACLE_FILES))
        if cell[2] == "difference":
            return (*own, "benchmarks/signature/maps.py")
        return (*own, "benchmarks/signature/maps.py", *SIGNATURE_CODE)

    def measure(self, world: World, cell: Cell) -> list[dict[str, Any]]:
        """Draw a cohort and rank its voxels by the maps of one maker."""
        regime, number, name = cell
        planted = world.planter.draw(regime, self.n, number)
        truth = read_truth(regime, planted, world.planter.radius_mm)
        maps = self._maker(world, name, regime).make(planted)
        rows = [{"map": kind} | score_map(values, truth) for kind, values in maps.items()]
        for row in rows:
            if str(row["map"]).startswith(UNSIGNED):
                row["correlation"] = np.nan
        return rows

    def _maker(self, world: World, name: str, regime: RegimeName) -> MapMaker:
        if name == ORACLE:
            return OracleMaps(regime, world.planter.radius_mm, world.planter.jitter_mm)
        if name == "difference":
            return DifferenceMaps()
        if name == NETWORK:
            return NetworkMaps(world.contender, self.n_permutations)
        return LinearMaps(world.baselines[name], self.n_permutations)

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Mean over draws with its interval, and the part of the oracle's that it is."""
        oracle = rows[(rows["maker"] == ORACLE) & (rows["map"] == ORACLE)]
        best = oracle.groupby("regime")["average_precision"].mean()
        table = []
        for key, own in rows.groupby(["regime", "maker", "map"], sort=False):
            regime, maker, kind = key
            mean = spread_of(own["average_precision"])
            table.append(
                {"regime": regime, "maker": maker, "map": kind, "draws": len(own)}
                | {f"average_precision{end}": value for end, value in mean.items()}
                | {"of_oracle": mean[""] / best.get(regime, np.nan)}
                | {"correlation": own["correlation"].mean()}
            )
        return {"truth": pd.DataFrame(table)}

    def goals(self, tables: dict[str, pd.DataFrame]) -> list[Goal]:
        """Compare the drawn map of the network with the oracle's, for aligned effects."""
        table = tables["truth"]
        own = table[(table["regime"] == "aligned") & (table["maker"] == NETWORK)]
        chosen = own[own["map"] == self.drawn]["of_oracle"]
        what = f"part of the oracle's average precision, {self.drawn} of the network, aligned"
        return [Goal(what, float(chosen.iloc[0]), self.wanted)] if len(chosen) else []
