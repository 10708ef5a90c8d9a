"""Maps by name, and how they are computed from all runs of a scan."""

from collections.abc import Sequence
from dataclasses import dataclass

from fmnet.bold.map_source import MapSource
from fmnet.data.volume import FloatArray


@dataclass(frozen=True)
class MapRecipe:
    """How one map comes from a scan's runs."""

    name: str


def parse_maps(names: Sequence[str]) -> tuple[MapRecipe, ...]:
    """Turn names into recipes, in the order given."""
    raise NotImplementedError


def compute_maps(sources: Sequence[MapSource], recipes: Sequence[MapRecipe]) -> FloatArray:
    """Compute all maps of one scan: (C, V) float32."""
    raise NotImplementedError
