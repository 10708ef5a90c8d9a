"""Maps by name, and how they are computed from all runs of a scan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnet.bold.first_level import RunContrast
from fmnet.bold.measures import Seed, alff, falff, reho, temporal_sd
from fmnet.bold.open_run import MapSource, OpenRun
from fmnet.bold.settings import MapName, parse_map_names
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError

#: Maps that need nothing but their name.
PLAIN: dict[str, Callable[[OpenRun], FloatArray]] = {
    "temporal_sd": temporal_sd,
    "alff": alff,
    "falff": falff,
    "reho": reho,
}


@dataclass(frozen=True)
class MapRecipe:
    """How one map, one channel of the network's input, comes from a scan's runs.

    Parameters
    ----------
    name : str
        Of the channel: ``alff``, ``seed-pcc``, ``contrast-faces``.
    of_run : callable
        A run to its part of the map.
    over_runs : callable
        The parts of all runs, and how many volumes each has left, to the map: (V,).
    needs_events : bool
        Whether runs need an ``events.tsv``.
    """

    name: str
    of_run: Callable[[OpenRun], Any]
    over_runs: Callable[[Sequence[Any], Sequence[int]], FloatArray]
    needs_events: bool = False

    def compute(self, sources: Sequence[MapSource]) -> FloatArray:
        """Compute the map over all runs of a scan: (V,), see `compute_maps`."""
        whole: FloatArray = compute_maps(sources, (self,))[0]
        return whole


def parse_maps(names: Sequence[str], key: str = "cohort.maps") -> tuple[MapRecipe, ...]:
    """Turn names into recipes, in the order given; see `fmnet.bold.settings.parse_map_names`.

    Raises
    ------
    ConfigError
        With everything that is wrong with the names.
    """
    return tuple(map(_recipe, parse_map_names(names, key)))


def _recipe(asked: MapName) -> MapRecipe:
    if asked.kind == "measure":
        return MapRecipe(asked.name, PLAIN[asked.own], weighted_mean)
    if asked.kind == "seed":
        return MapRecipe(asked.name, Seed(asked.own, asked.centre).correlation, weighted_mean)
    contrast = RunContrast(asked.own, asked.weights)
    return MapRecipe(asked.name, contrast.effect, contrast.combine, needs_events=True)


def compute_maps(sources: Sequence[MapSource], recipes: Sequence[MapRecipe]) -> FloatArray:
    """Compute all maps of one scan; each run is cleaned once, and one after the other.

    Parameters
    ----------
    sources : sequence of MapSource
        The scan's runs, all on the same grid.
    recipes : sequence of MapRecipe
        What is computed, C maps.

    Returns
    -------
    ndarray of float32, shape (C, V)
        NaN where a run that a map is made from has no data: every value is made from the same runs.

    Raises
    ------
    VolumeError
        With all faults of all runs.
    """
    faults: list[Fault] = []
    parts: list[list[Any]] = [[] for _ in recipes]
    for source in sources:
        run = OpenRun(source)
        for own, recipe in zip(parts, recipes, strict=True):
            try:
                own.append(recipe.of_run(run))
            except VolumeError as error:
                faults += error.faults
    if faults:  # what a run has wrong may stand in the way of several maps
        raise VolumeError(dict.fromkeys(faults))
    n_kept = [len(source.nuisance.kept) for source in sources]
    maps: list[FloatArray] = []
    for own, recipe in zip(parts, recipes, strict=True):
        try:
            maps.append(recipe.over_runs(own, n_kept))
        except VolumeError as error:
            faults += error.faults
    if faults:
        raise VolumeError(faults)
    return np.stack(maps).astype(np.float32, copy=False)


def weighted_mean(parts: Sequence[FloatArray], n_kept: Sequence[int]) -> FloatArray:
    """Average runs, (V,) each, by their numbers of volumes; NaN where one of them is."""
    mean: FloatArray = np.average(parts, axis=0, weights=n_kept).astype(np.float32)
    return mean
