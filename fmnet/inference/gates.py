"""`Gates`: what new maps must look like before they are scored, learned from training people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fmnet.data.grid import Grid
from fmnet.data.values import has_usual_unit, image_scale
from fmnet.data.volume import FloatArray
from fmnet.errors import BundleError, Fault
from fmnet.inference.bundle_files import (
    COUNT_OR_NONE,
    FRACTION,
    GATE_ARRAYS,
    GATES,
    MAX_BYTES_OF,
    NUMBER,
    TEXT,
    Kind,
    list_of,
    one_of,
    optional,
    read_bounded,
    read_fields,
)
from fmnet.inference.feature_gate import FIELDS, KEY, FeatureGate, read_feature_gate
from fmnet.inference.gate_limits import LEAST_PEOPLE, Limit, fit_limits
from fmnet.inference.gate_measures import (
    MEASURES,
    Measured,
    measure,
    measure_beside,
    missing_half,
    title_of,
)
from fmnet.inference.orientation import (
    FLIPS,
    N_ASPECTS,
    aspect_of,
    aspects_of,
    fit_flip,
    flip_score,
)
from fmnet.inference.quality import Reading
from fmnet.inference.run_gates import FIELDS as RUN_FIELDS
from fmnet.inference.run_gates import KEY as RUNS
from fmnet.inference.run_gates import RunGates, read_run_gates

Floats = NDArray[np.float64]
#: Correlation with the negative of the mean map from which a contrast seems to be reversed.
LEAST_REVERSED = 0.1
#: What is looked at of runs besides.
OF_RUNS = ("repetition time", "length", "head motion")
#: Largest value of the arrays that are read.
MAX_ARRAY = 1e9
LIMIT = {
    "measure": one_of(tuple(MEASURES)),
    "channel": optional(COUNT_OR_NONE),
    "low": optional(NUMBER),
    "high": optional(NUMBER),
    "false_alarms": optional(FRACTION),
}


@dataclass(frozen=True, eq=False)
class Gates:
    """What the training people's maps look like, and limits for those of new people.

    Parameters
    ----------
    grid : Grid
        Of the maps.
    contrasts : tuple of str
        A name for each of the C channels.
    limits : tuple of Limit
        The gates.
    n_people : int
        Whose maps the limits come from.
    false_alarms : float or None
        Fraction of new people like them who fail any gate; None where there are too few to say.
    mean, mean_size, usual : ndarray of float32, shape (C, V)
        Means of the maps, of unit size, and of the logarithms of their values' sizes; the fraction
        of scans with data in each voxel.
    flips : dict of ndarray of float32, shape (3, C, V)
        Weights that tell maps from flipped ones, by name, see `fmnet.inference.orientation`.
    caught : dict of float
        Of flips, by name: the fraction of the training people whose map would be told, had it been
        flipped.
    features : FeatureGate, optional
        The gate of what the network makes of a scan, which `read` leaves out: it needs the network.
    runs : RunGates, optional
        Those of BOLD runs, which `read` leaves out as well.
    """

    grid: Grid
    contrasts: tuple[str, ...]
    limits: tuple[Limit, ...]
    n_people: int
    false_alarms: float | None
    mean: FloatArray
    mean_size: FloatArray
    usual: FloatArray
    flips: Mapping[str, FloatArray] = field(default_factory=dict)
    caught: Mapping[str, float] = field(default_factory=dict)
    features: FeatureGate | None = None
    runs: RunGates | None = None

    def read(self, values: FloatArray, name: str) -> tuple[Reading, ...]:
        """Measure a scan's maps on the grid, (C, V), and hold them against the limits.

        `name` is the scan's, for the faults.
        """
        means = (self.mean, self.mean_size)
        measured = measure(values, self.grid)
        aspects = aspects_of(values)
        measured |= measure_beside(aspects, self.grid, means, self.usual)
        for flip, weights in self.flips.items():
            measured[flip, None] = flip_score(aspects, weights, self.grid, FLIPS[flip])
        readings = []
        for limit in self.limits:
            reading = self._reading(limit, measured[limit.measure, limit.channel], name)
            if limit.measure == "coverage" and (fault := reading.fault) is not None:
                least = missing_half(np.isfinite(values), self.grid, self.usual)
                found = f"{fault.found}, and only {least}" if least else fault.found
                reading = replace(reading, fault=replace(fault, found=found))
            readings.append(reading)
        return tuple(readings)

    def _reading(self, limit: Limit, value: float, name: str) -> Reading:
        kind = MEASURES[limit.measure]
        contrast = "" if limit.channel is None else f" of {self.contrasts[limit.channel]}"
        gate, fault = f"{title_of(limit.measure)}{contrast}", None
        is_low = limit.low is not None and not value >= limit.low
        is_high = limit.high is not None and not value <= limit.high
        if is_low or is_high:
            unit = f" {kind.unit}" if kind.unit else ""
            bounds = [
                f"{word} {bound:.3g}{unit}"
                for word, bound in (("at least", limit.low), ("at most", limit.high))
                if bound is not None
            ]
            said = kind.too_low if is_low else kind.too_high or kind.too_low
            if limit.measure == "similarity" and value <= -max(limit.low or 0.0, LEAST_REVERSED):
                said = "a map like the negative of the training people's mean: a reversed contrast"
            found = f"{said}: {gate} {value:.3g}{unit}"
            accepted = f"{' and '.join(bounds)}, as in {self.n_people} training people"
            fault = Fault(name, found, accepted, kind.action)
        shown = value if np.isfinite(value) else None
        return Reading(gate, shown, limit.low, limit.high, kind.unit, limit.false_alarms, fault)

    def least_coverage(self, otherwise: float) -> float:
        """Name the smallest fraction of the usual voxels in which a scan may have data."""
        lows = [limit.low for limit in self.limits if limit.measure == "coverage"]
        return otherwise if not lows or lows[0] is None else lows[0]

    def describe(self) -> dict[str, Any]:
        """Say what there are, for a bundle's metadata and its card."""
        measures = [*dict.fromkeys(title_of(limit.measure) for limit in self.limits)]
        measures.append("field of view")
        measures += ["network features"] if self.features is not None else []
        return {
            "measures": measures,
            "n_people": self.n_people,
            "false_alarms": self.false_alarms,
            "caught": dict(self.caught),
        }

    def write(self, folder: Path) -> None:
        """Write ``gates.json`` and ``gates.safetensors``."""
        described = {
            "contrasts": self.contrasts,
            "n_people": self.n_people,
            "false_alarms": self.false_alarms,
            "limits": [limit.__dict__ for limit in self.limits],
            "caught": dict(self.caught),
        }
        further = {KEY: self.features, RUNS: self.runs}
        described |= {name: one.to_json() for name, one in further.items() if one is not None}
        text = json.dumps(described, indent=2, allow_nan=False) + "\n"
        (folder / GATES).write_text(text, "utf-8")
        arrays = {"mean": self.mean, "mean_size": self.mean_size, "usual": self.usual}
        arrays |= {f"flip {number}": one for number, one in enumerate(self.flips.values())}
        arrays |= {} if self.features is None else self.features.arrays()
        (folder / GATE_ARRAYS).write_bytes(save(arrays))


def fit_gates(
    values: FloatArray, grid: Grid, contrasts: tuple[str, ...], people: Sequence[str]
) -> Gates:
    """Learn from the training people's maps what those of new people have to look like.

    Every limit is for people who had no part in what they are compared with: each person is left
    out of means and weights in turn. Limits are as wide as it takes for at most `FALSE_ALARMS` of
    new people to fail any of the gates.

    Parameters
    ----------
    values : ndarray of float32, shape (N, C, V)
        Maps on the grid, NaN where they have no data.
    grid : Grid
        Theirs.
    contrasts : tuple of str
        A name for each channel.
    people : sequence of str
        Whose scan each is, or of which family.
    """
    scales = np.stack([image_scale(scan) for scan in values])
    kept = has_usual_unit(scales).all(axis=1)
    values = values[kept]
    person = np.unique(np.asarray(people)[kept], return_inverse=True)[1]
    n_people = int(person.max(initial=-1)) + 1
    known = np.isfinite(values)
    count = known.sum(axis=0)
    aspects = [np.nan_to_num(aspect_of(values, one), copy=False) for one in (0, 1)]
    totals = [aspect.sum(axis=0, dtype=np.float64) for aspect in aspects]
    rows: list[Measured] = []
    for number, scan in enumerate(values):
        own = person == person[number]
        others = count - known[own].sum(axis=0)
        means = [
            ((total - aspect[own].sum(axis=0)) / np.maximum(others, 1)).astype(np.float32)
            for total, aspect in zip(totals, aspects, strict=True)
        ]
        part = others / max(np.count_nonzero(~own), 1)
        rows.append(measure(scan, grid) | measure_beside(aspects_of(scan), grid, means, part))
    del aspects
    flips: dict[str, FloatArray] = {}
    scores: dict[str, Floats] = {}
    if n_people >= LEAST_PEOPLE:
        for name, axis in FLIPS.items():
            weights, left_out = fit_flip(values, grid, axis, person)
            if weights.any():
                flips[name] = weights
                scores[name] = left_out
                for row, value in zip(rows, left_out[0], strict=True):
                    row[name, None] = float(value)
    limits, false_alarms = fit_limits(rows, person)
    lows = {limit.measure: limit.low or 0.0 for limit in limits}
    caught = {name: float(np.mean(-found < lows[name])) for name, found in scores.items()}
    mean, mean_size = ((total / np.maximum(count, 1)).astype(np.float32) for total in totals)
    usual = (count / len(values)).astype(np.float32)
    return Gates(
        grid, contrasts, limits, n_people, false_alarms, mean, mean_size, usual, flips, caught
    )


def read_gates(folder: Path, grid: Grid) -> Gates | None:
    """Read gates of maps on a grid, as `Gates.write` left them; None where there are none.

    Raises
    ------
    BundleError
        If a file is missing or damaged, or the two don't fit together.
    """
    if not (folder / GATES).exists():
        return None
    kinds = {
        "contrasts": list_of(TEXT),
        "n_people": COUNT_OR_NONE,
        "false_alarms": optional(FRACTION),
        "caught": Kind("an object with a fraction for each flip", _are_caught),
        "limits": list_of(
            Kind("an object with a measure and limits", lambda value: isinstance(value, dict))
        ),
    }
    fields = read_fields(folder / GATES, kinds | FIELDS | RUN_FIELDS)
    contrasts = tuple(fields["contrasts"])
    limits = tuple(_read_limit(one, len(contrasts), folder) for one in fields["limits"])
    path = folder / GATE_ARRAYS
    try:
        arrays = load(read_bounded(path, MAX_BYTES_OF[GATE_ARRAYS]))
        flip_names = [f"flip {number}" for number in range(len(fields["caught"]))]
        names = ["mean", "mean_size", "usual", *flip_names]
        found = [arrays[name] for name in names]
    except (OSError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    for number, array in enumerate(found):
        shape = (*((N_ASPECTS,) if number > 2 else ()), len(contrasts), grid.n_voxels)
        if array.shape != shape or array.dtype != np.float32:
            raise _damaged(folder, f"an array of shape {array.shape} and type {array.dtype}")
        if not np.abs(array).max() <= MAX_ARRAY:
            raise _damaged(folder, "values that aren't finite, or too large")
    flips = dict(zip(fields["caught"], found[3:], strict=True))
    needed = {limit.measure for limit in limits} & set(FLIPS)
    if lacking := sorted(needed - set(flips)):
        raise _damaged(folder, f"no weights for {', '.join(lacking)}")
    false_alarms, n_people = fields.get("false_alarms"), fields["n_people"]
    mean, mean_size, usual = found[:3]
    caught, features = fields["caught"], read_feature_gate(fields, arrays, folder)
    own = (limits, n_people, false_alarms, mean, mean_size, usual, flips, caught, features)
    return Gates(grid, contrasts, *own, read_run_gates(fields))


def gates_sentences(described: Mapping[str, Any], reads_runs: bool = False) -> str:
    """Say what new scans have to pass, how often they fail, and how often flipped ones are told.

    `described` is what `Gates.describe` gives; `reads_runs`: whether scans are BOLD runs.
    """
    measures = [*described["measures"], *(OF_RUNS if reads_runs else ())]
    said = (
        f"New scans have to be like those of {described['n_people']} training people in "
        f"{', '.join(measures)}, or they get no score, but `cannot_say`."
    )
    if described["false_alarms"] is None:
        return f"{said} With fewer than {LEAST_PEOPLE} people no more can be asked for."
    said += f" About {described['false_alarms']:.0%} of people like them fail at most."
    caught = [f"{name} in {fraction:.0%}" for name, fraction in described["caught"].items()]
    return f"{said} Flipped maps of such people are told: {', '.join(caught)}." if caught else said


def _are_caught(value: Any) -> bool:
    is_flips = isinstance(value, dict) and set(value) <= set(FLIPS)
    return is_flips and all(map(FRACTION.accepts, value.values()))


def _read_limit(content: dict[str, Any], n_channels: int, folder: Path) -> Limit:
    for name, kind in LIMIT.items():
        value = content.get(name)
        if not kind.accepts(value):
            raise _damaged(folder, f"'{name}' of a limit that is not {kind.words}")
    given: dict[str, Any] = {name: content.get(name) for name in LIMIT}
    limit = Limit(**given)
    is_of_channel = MEASURES[limit.measure].is_of_channel
    if is_of_channel != (limit.channel is not None) or (limit.channel or 0) >= n_channels:
        raise _damaged(folder, f"a limit of {limit.measure} for channel {limit.channel}")
    return limit


def _damaged(folder: Path, reason: str) -> BundleError:
    found = f"gates that can't be read ({reason:.200})"
    accepted = f"{GATES} and {GATE_ARRAYS} as fmnet wrote them"
    return BundleError(Fault(str(folder), found, accepted, "copy or export the folder again"))
