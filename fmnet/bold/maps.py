"""Maps by name, and how they are computed from all runs of a scan."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnet.bold.first_level import RunContrast, parse_formula
from fmnet.bold.measures import Seed, alff, falff, reho, temporal_sd
from fmnet.bold.open_run import MapSource, OpenRun
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault, VolumeError

#: Maps that need nothing but their name.
PLAIN: dict[str, Callable[[OpenRun], FloatArray]] = {
    "temporal_sd": temporal_sd,
    "alff": alff,
    "falff": falff,
    "reho": reho,
}
ACCEPTED = f"{', '.join(PLAIN)}, seed:NAME=X,Y,Z (MNI, in mm), contrast:NAME=FORMULA"
#: What the part after "seed:" or "contrast:" has to look like.
NAMED = re.compile(r"(seed|contrast):(\w+)=(.+)", re.DOTALL)
#: No brain reaches further than this from the origin of MNI space, in mm.
FARTHEST_MM = 150.0


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
    """Turn names into recipes, in the order given.

    Parameters
    ----------
    names : sequence of str
        ``temporal_sd``, ``alff``, ``falff``, ``reho``, ``seed:NAME=X,Y,Z`` (MNI, in mm),
        ``contrast:NAME=FORMULA`` (conditions of the events, see
        `fmnet.bold.first_level.condition_name`).
    key : str
        The setting that they come from, for messages.

    Raises
    ------
    ConfigError
        With everything that is wrong with the names.
    """
    recipes: list[MapRecipe] = []
    faults = [] if names else [Fault(key, "no map", ACCEPTED, "name one map at least")]
    for name in names:
        try:
            recipes.append(_parse(name))
        except ValueError as error:
            faults.append(Fault(key, str(error), ACCEPTED, "correct the name of the map"))
    counts = Counter(recipe.name for recipe in recipes)
    if twice := [name for name, count in counts.items() if count > 1]:
        found = f"more than one map called {', '.join(map(repr, twice))}"
        faults.append(Fault(key, found, "each name once", "rename or remove all but one"))
    if faults:
        raise ConfigError(faults)
    return tuple(recipes)


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


def _parse(name: str) -> MapRecipe:
    if name in PLAIN:
        return MapRecipe(name, PLAIN[name], weighted_mean)
    found = NAMED.fullmatch(name)
    if found is None:
        raise ValueError(f"'{name}'")
    kind, own, value = found.groups()
    if kind == "seed":
        seed = Seed(own, _parse_centre(name, value))
        return MapRecipe(f"seed-{own}", seed.correlation, weighted_mean)
    try:
        weights = parse_formula(value)
    except ValueError as error:
        raise ValueError(f"'{name}': the formula {error}") from error
    contrast = RunContrast(own, tuple(weights.items()))
    return MapRecipe(f"contrast-{own}", contrast.effect, contrast.combine, needs_events=True)


def _parse_centre(name: str, value: str) -> tuple[float, float, float]:
    try:
        x, y, z = map(float, value.split(","))
    except ValueError as error:
        raise ValueError(f"'{name}', without three coordinates") from error
    if not max(abs(x), abs(y), abs(z)) <= FARTHEST_MM:
        raise ValueError(f"'{name}', more than {FARTHEST_MM:g} mm from the origin")
    return x, y, z
