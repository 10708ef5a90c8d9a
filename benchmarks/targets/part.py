"""What all parts of the benchmark of targets have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from benchmarks.race import Goal
from fmnet.baselines.base import Model
from fmnet.networks.backbones import NetworkBuilder
from fmnet.targets.base import Target

#: What is measured once: a name, and the number of the draw.
Unit = tuple[str, int]


@dataclass(frozen=True, eq=False)
class World:
    """What all parts share.

    Parameters
    ----------
    build_network : callable
        Input shape to a fresh network.
    baselines : dict
        By name.
    targets : dict
        What is predicted of each kind of synthetic cohort, by kind.
    voxel_size_mm : int
        Of the grid.
    seed : int
        Other seeds, other cohorts.
    """

    build_network: NetworkBuilder
    baselines: Mapping[str, Model]
    targets: Mapping[str, Target]
    voxel_size_mm: int
    seed: int


@dataclass(frozen=True)
class Part(ABC):
    """One question, answered draw by draw."""

    title: ClassVar[str]

    @abstractmethod
    def units(self) -> list[Unit]:
        """List what is measured."""

    @abstractmethod
    def measure(self, world: World, unit: Unit) -> list[dict[str, Any]]:
        """Measure one draw: rows of a table."""

    @abstractmethod
    def summarise(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Make tables of all rows."""

    def goals(self, tables: Mapping[str, pd.DataFrame]) -> list[Goal]:  # noqa: ARG002
        """Compare with what was hoped for."""
        return []


def draws(names: Sequence[str], n: int) -> list[Unit]:
    """List n draws of each."""
    return [(name, number) for number in range(n) for name in names]
