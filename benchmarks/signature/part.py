"""What all parts of the benchmark of signatures have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.stats import t as student

from benchmarks.power.contender import Contender
from benchmarks.power.planted import Planter
from benchmarks.race import Goal
from fmnet.baselines.base import Baseline

Cell = tuple[Any, ...]

#: Code that decides what models learn and what is made of them.
SIGNATURE_CODE = (
    *("fmnet/signature", "fmnet/networks", "fmnet/training", "fmnet/baselines"),
    *("fmnet/crossval", "fmnet/inference/preparation.py", "fmnet/data/resample.py"),
)


@dataclass(frozen=True, eq=False)
class World:
    """What all parts share.

    Parameters
    ----------
    planter : Planter
        Draws cohorts.
    contender : Contender
        The network whose signature it is.
    baselines : dict
        Linear models, by name.
    """

    planter: Planter
    contender: Contender
    baselines: Mapping[str, Baseline]


@dataclass(frozen=True)
class Part(ABC):
    """One question, answered cell by cell."""

    #: What the tables are called.
    title: ClassVar[str]
    #: Names of what makes up a cell.
    names: ClassVar[tuple[str, ...]]
    #: Settings that no figure of a cell depends on.
    counts: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def cells(self) -> list[Cell]:
        """List what is measured."""

    @abstractmethod
    def code(self, cell: Cell) -> tuple[str, ...]:
        """Name the code that decides a cell's figures, as paths below the root."""

    @abstractmethod
    def measure(self, world: World, cell: Cell) -> list[dict[str, Any]]:
        """Measure one cell: rows of a table, without the cell's own names."""

    @abstractmethod
    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Make tables of all rows."""

    def goals(self, tables: dict[str, pd.DataFrame]) -> list[Goal]:  # noqa: ARG002
        """Compare with what was hoped for."""
        return []


def spread_of(values: pd.Series) -> dict[str, float]:
    """Mean of some draws, under an empty name, and its 95 % t-interval, ``_low`` and ``_high``."""
    known = values.dropna().to_numpy(float)
    if not len(known):
        return {"": np.nan, "_low": np.nan, "_high": np.nan}
    half = np.nan
    if len(known) > 1:
        half = student.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    mean = float(known.mean())
    return {"": mean, "_low": mean - half, "_high": mean + half}
