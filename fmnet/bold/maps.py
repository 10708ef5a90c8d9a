"""Maps by name, and how they are computed from all runs of a scan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fmnet.bold.acquired import AcquiredRun
from fmnet.bold.first_level import RunContrast
from fmnet.bold.measures import Seed, alff, falff, reho, temporal_sd
from fmnet.bold.settings import parse_map_names
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError

#: Maps that need nothing but their name.
MEASURES = {"temporal_sd": temporal_sd, "alff": alff, "falff": falff, "reho": reho}


@dataclass(frozen=True)
class MapRecipe:
    """How one map, one channel of the network's input, comes from a scan's runs.

    Parameters
    ----------
    name : str
        Of the channel: ``alff``, ``seed-pcc``, ``contrast-faces``.
    of_run : callable
        What one run says of the map.
    over_runs : callable
        What all runs say, and how many volumes each has left, to the map: (V,).
    needs_events : bool
        Whether runs need an ``events.tsv``.
    """

    name: str
    of_run: Callable[[AcquiredRun], Any]
    over_runs: Callable[[Sequence[Any], Sequence[int]], FloatArray]
    needs_events: bool = False


def parse_maps(names: Sequence[str], key: str = "cohort.maps") -> tuple[MapRecipe, ...]:
    """Turn names into recipes, in the order given; see `fmnet.bold.settings.parse_map_names`.

    Raises
    ------
    ConfigError
        With everything that is wrong with the names.
    """
    recipes: list[MapRecipe] = []
    for asked in parse_map_names(names, key):
        if asked.kind == "contrast":
            contrast = RunContrast(asked.own, asked.weights)
            recipes.append(MapRecipe(asked.name, contrast.effect, contrast.combine, True))
        elif asked.kind == "seed":
            seed = Seed(asked.own, asked.centre)
            recipes.append(MapRecipe(asked.name, seed.correlation, weighted_mean))
        else:
            recipes.append(MapRecipe(asked.name, MEASURES[asked.own], weighted_mean))
    return tuple(recipes)


def compute_maps(sources: Sequence[AcquiredRun], recipes: Sequence[MapRecipe]) -> FloatArray:
    """Compute all maps of one scan, (C, V); each run is cleaned once, and one after the other.

    Runs are all on the same grid. Values are NaN where a run that a map is made from has no data:
    every value is made from the same runs.

    Raises
    ------
    VolumeError
        With all faults of all runs.
    """
    faults: list[Fault] = []
    by_recipe: list[list[Any]] = [[] for _ in recipes]
    for source in sources:
        run = replace(source)  # what is computed of a run goes with this copy
        for of_runs, recipe in zip(by_recipe, recipes, strict=True):
            try:
                of_runs.append(recipe.of_run(run))
            except VolumeError as error:
                faults += error.faults
    if faults:  # what a run has wrong may stand in the way of several maps
        raise VolumeError(dict.fromkeys(faults))
    n_kept = [len(source.nuisance.kept) for source in sources]
    maps: list[FloatArray] = []
    for of_runs, recipe in zip(by_recipe, recipes, strict=True):
        try:
            maps.append(recipe.over_runs(of_runs, n_kept))
        except VolumeError as error:
            faults += error.faults
    if faults:
        raise VolumeError(faults)
    return np.stack(maps).astype(np.float32, copy=False)


def weighted_mean(of_runs: Sequence[FloatArray], n_kept: Sequence[int]) -> FloatArray:
    """Average runs, (V,) each, by their numbers of volumes; NaN where one of them is."""
    mean: FloatArray = np.average(of_runs, axis=0, weights=n_kept).astype(np.float32)
    return mean
