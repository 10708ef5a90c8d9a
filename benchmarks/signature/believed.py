"""Parts *halves* and *surrogate*: does a signature come out again, is it a linear map."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.power.contender import FOLDS
from benchmarks.power.regimes import RegimeName
from benchmarks.signature.maps import learn
from benchmarks.signature.part import SIGNATURE_CODE, Cell, Part, World, spread_of
from fmnet.data.folds import build_folds
from fmnet.data.volume import FloatArray
from fmnet.networks.backbones import ScoreNetwork
from fmnet.signature.agreement import agreement_of_halves
from fmnet.signature.regions import coordinate_regions
from fmnet.signature.surrogate import Surrogate, explained_variance, fit_surrogate
from fmnet.types import Count, Several

#: Level of a test.
ALPHA = 0.05


@dataclass(frozen=True)
class PlantedPart(Part):
    """Something that is asked of the network on cohorts of several regimes.

    Parameters
    ----------
    regimes : list of str
        See `benchmarks.power.regimes`.
    n : int
        People in a cohort.
    n_draws : int
        Cohorts of each regime.
    """

    regimes: Sequence[RegimeName] = ("null", "aligned")
    n: Several = 70
    n_draws: Count = 10

    names = ("regime", "draw")
    counts = ("n_draws", "regimes")

    def cells(self) -> list[Cell]:
        """Draw by draw, so that a few draws of everything are done first."""
        return [(regime, draw) for draw in range(self.n_draws) for regime in self.regimes]

    def code(self, cell: Cell) -> tuple[str, ...]:  # noqa: ARG002
        """Name the code that decides a cell's figures."""
        here = ("benchmarks/signature/believed.py", "benchmarks/signature/maps.py")
        return (*here, *SIGNATURE_CODE)


@dataclass(frozen=True)
class HalvesPart(PlantedPart):
    """Agreement of the signatures of two halves of a cohort, beside the same of permuted labels.

    Parameters
    ----------
    n_splits, n_permutations : int
        See `fmnet.signature.agreement.agreement_of_halves`.
    """

    n_splits: Count = 10
    n_permutations: Count = 99

    title = "Agreement of halves of the cohort, and of halves under permuted labels"

    def measure(self, world: World, cell: Cell) -> list[dict[str, Any]]:
        """Draw a cohort and halve it: one row per measure of agreement."""
        regime, number = cell
        planted = world.planter.draw(regime, self.n, number)
        data = planted.prepare(world.contender.preparation)
        model = learn(world.contender, data, planted.seed).model
        regions = coordinate_regions(planted.grid)
        found = agreement_of_halves(
            model, data, planted.seed, self.n_splits, self.n_permutations, regions
        )
        rows = []
        for measure in ("voxel_r", "region_r", "dice", "icc"):
            one = found[measure]
            null = np.array(one["null"])
            rows.append(
                {"measure": measure, "observed": one["observed"], "p": one["p"]}
                | {"null_mean": float(null.mean()), "null_95": float(np.quantile(null, 0.95))}
            )
        return rows

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Mean over draws, what it is by chance, and how often it is beyond that."""
        table = []
        for (regime, measure), own in rows.groupby(["regime", "measure"], sort=False):
            mean = spread_of(own["observed"])
            table.append(
                {"regime": regime, "measure": measure, "draws": len(own)}
                | {f"observed{end}": value for end, value in mean.items()}
                | {"null_mean": own["null_mean"].mean(), "null_95": own["null_95"].mean()}
                | {"beyond_null": float((own["p"] < ALPHA).mean())}
            )
        return {"halves": pd.DataFrame(table)}


@dataclass(frozen=True)
class SurrogatePart(PlantedPart):
    """How much of a network's scores a linear map explains, in people whom neither has seen."""

    title = "Variance of the network's scores that its linear surrogate explains"

    def measure(self, world: World, cell: Cell) -> list[dict[str, Any]]:
        """Draw a cohort; learn each training fold, fit the surrogate to it, try it on the rest."""
        regime, number = cell
        planted = world.planter.draw(regime, self.n, number)
        data = planted.prepare(world.contender.preparation)
        units, seen = np.array(data.units), []

        def fits() -> Iterator[tuple[Surrogate, ScoreNetwork, FloatArray]]:
            for fold in build_folds(planted.cohort, **FOLDS, seed=planted.seed):
                train, test = data.rows(fold.train), data.rows(fold.test)
                learned = learn(world.contender, data, planted.seed, fold)
                network, preparation = learned.network, learned.preparation
                given = (data.values[train], list(units[train]), planted.seed)
                surrogate = fit_surrogate(network, preparation, *given)
                seen.append(surrogate.r2)
                yield surrogate, network, preparation.prepare(data.values[test])

        explained = explained_variance(fits(), data.grid.mask)
        return [{"r2": explained, "r2_seen_by_network": float(np.mean(seen))}]

    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Mean over draws with its interval."""
        table = []
        for regime, own in rows.groupby("regime", sort=False):
            entry: dict[str, Any] = {"regime": regime, "draws": len(own)}
            for name in ("r2", "r2_seen_by_network"):
                entry |= {f"{name}{end}": value for end, value in spread_of(own[name]).items()}
            table.append(entry)
        return {"surrogate": pd.DataFrame(table)}
