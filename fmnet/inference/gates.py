"""`Gates`: what new maps must look like before they are scored, learned from training people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.special import stdtrit

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
from fmnet.inference.gate_measures import MEASURES, Measured, measure, measures_of
from fmnet.inference.orientation import FLIPS, antisymmetric, fit_discriminant, flipped_voxels
from fmnet.inference.quality import Reading

Floats = NDArray[np.float64]
#: Fraction of new people like those of training who fail any of the gates, at most.
FALSE_ALARMS = 0.05
#: With fewer people there are no limits that could keep to it.
LEAST_PEOPLE = 15
#: Largest value of the arrays that are read.
MAX_ARRAY = 1e9
LIMIT = {
    "measure": one_of(tuple(MEASURES)),
    "channel": optional(COUNT_OR_NONE),
    "low": optional(NUMBER),
    "high": optional(NUMBER),
    "false_alarms": optional(FRACTION),
}


@dataclass(frozen=True)
class Limit:
    """Between which values what is measured has to lie: one gate.

    ``measure`` is one of `MEASURES`; ``channel`` the number of the map, None for all together;
    ``false_alarms`` the fraction of people like those of training who fail it.
    """

    measure: str
    channel: int | None
    low: float | None
    high: float | None
    false_alarms: float | None = None


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
    mean, usual : ndarray of float32, shape (C, V)
        The mean map, and the fraction of people with data in each voxel.
    flips : dict of ndarray of float32, shape (C, V)
        Weights that tell maps from flipped ones, by name, see `fmnet.inference.orientation`.
    features : FeatureGate, optional
        The gate of what the network makes of a scan, which `read` leaves out: it needs the network.
    """

    grid: Grid
    contrasts: tuple[str, ...]
    limits: tuple[Limit, ...]
    n_people: int
    false_alarms: float | None
    mean: FloatArray
    usual: FloatArray
    flips: Mapping[str, FloatArray] = field(default_factory=dict)
    features: FeatureGate | None = None

    def read(self, values: FloatArray, name: str) -> tuple[Reading, ...]:
        """Measure a scan's maps on the grid, (C, V), and hold them against the limits.

        `name` is the scan's, for the faults.
        """
        measured = measure(values, self.grid) | measures_of(
            values, self.grid, self.mean, self.usual
        )
        for flip, weights in self.flips.items():
            part = antisymmetric(values, flipped_voxels(self.grid, FLIPS[flip]))
            measured[flip, None] = float(np.sum(part * weights, dtype=np.float64))
        return tuple(
            self._reading(limit, measured[limit.measure, limit.channel], name)
            for limit in self.limits
        )

    def _reading(self, limit: Limit, value: float, name: str) -> Reading:
        kind = MEASURES[limit.measure]
        contrast = "" if limit.channel is None else f" of {self.contrasts[limit.channel]}"
        gate, fault = f"{limit.measure}{contrast}", None
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
            found = f"{said}: {limit.measure}{contrast} {value:.3g}{unit}"
            accepted = f"{' and '.join(bounds)}, as in {self.n_people} training people"
            fault = Fault(name, found, accepted, kind.action)
        shown = value if np.isfinite(value) else None
        return Reading(gate, shown, limit.low, limit.high, kind.unit, limit.false_alarms, fault)

    def write(self, folder: Path) -> None:
        """Write ``gates.json`` and ``gates.safetensors``."""
        described = {
            "contrasts": self.contrasts,
            "n_people": self.n_people,
            "false_alarms": self.false_alarms,
            "limits": [limit.__dict__ for limit in self.limits],
            "flips": list(self.flips),
        } | ({} if self.features is None else {KEY: self.features.to_json()})
        text = json.dumps(described, indent=2, allow_nan=False) + "\n"
        (folder / GATES).write_text(text, "utf-8")
        arrays = {"mean": self.mean, "usual": self.usual}
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
    total, count = np.where(known, values, 0).sum(axis=0, dtype=np.float64), known.sum(axis=0)
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    usual = (count / len(values)).astype(np.float32)
    rows: list[Measured] = []
    for number, scan in enumerate(values):
        own = person == person[number]
        others = np.maximum(count - known[own].sum(axis=0), 1)
        mean_of_others = (total - np.where(known[own], values[own], 0).sum(axis=0)) / others
        part = others / max(np.count_nonzero(~own), 1)
        own_measures = measures_of(scan, grid, mean_of_others.astype(np.float32), part)
        rows.append(measure(scan, grid) | own_measures)
    flips = {}
    if n_people >= LEAST_PEOPLE:
        for name, axes in FLIPS.items():
            found = fit_discriminant(antisymmetric(values, flipped_voxels(grid, axes)), person)
            flips[name] = found.weights
            for row, value in zip(rows, found.left_out, strict=True):
                row[name, None] = float(value)
    limits, false_alarms = fit_limits(rows, person)
    return Gates(grid, contrasts, limits, n_people, false_alarms, mean, usual, flips)


def fit_limits(
    rows: Sequence[Measured], people: NDArray[np.intp]
) -> tuple[tuple[Limit, ...], float | None]:
    """Set limits for what was measured of each scan, so that few new people fail any of them.

    Also gives the fraction of new people who do, as far as the number of people can tell.
    """
    keys, n_people = list(rows[0]), int(people.max()) + 1
    if n_people < LEAST_PEOPLE:
        keys = [key for key in keys if MEASURES[key[0]].is_for_few]
    table = np.array([[MEASURES[key[0]].forward(row[key]) for key in keys] for row in rows])
    sides = np.array([MEASURES[key[0]].sides for key in keys])
    floor = np.array([MEASURES[key[0]].floor for key in keys])
    away = np.empty_like(table)
    for person in range(n_people):
        own = people == person
        middle, spread = _middle_and_spread(table[~own] if n_people > 1 else table, floor)
        away[own] = (table[own] - middle) / spread
    worst = np.array([_beyond(away[people == one], sides).max() for one in range(n_people)])
    n_tails = int(np.abs(sides).sum() + np.count_nonzero(sides == 0) * 2)
    width = float(stdtrit(max(n_people - 1, 1), 1 - FALSE_ALARMS / n_tails))
    rank = int(np.ceil((1 - FALSE_ALARMS) * (n_people + 1)))
    width = max(width, float(np.sort(worst)[min(rank, n_people) - 1]))
    middle, spread = _middle_and_spread(table, floor)
    limits = []
    for column, key in enumerate(keys):
        kind, side = MEASURES[key[0]], sides[column]
        low, high = (middle[column] + sign * width * spread[column] for sign in (-1, 1))
        beyond = np.array(
            [
                (_beyond(away[people == one][:, [column]], sides[[column]]) > width).any()
                for one in range(n_people)
            ]
        )
        limits.append(
            Limit(
                *key,
                kind.back(low) if side <= 0 else None,
                kind.back(high) if side >= 0 else None,
                float((beyond.sum() + 1) / (n_people + 1)) if n_people >= LEAST_PEOPLE else None,
            )
        )
    n_beyond = np.count_nonzero(worst > width)
    is_told = n_people >= LEAST_PEOPLE
    return tuple(limits), float((n_beyond + 1) / (n_people + 1)) if is_told else None


def _middle_and_spread(table: Floats, floor: Floats) -> tuple[Floats, Floats]:
    """Median of each column, and a standard deviation that heavy tails make larger."""
    middle = np.median(table, axis=0)
    off = np.abs(table - middle)
    # the largest of N normal numbers is about so many standard deviations away
    usual_extreme = np.sqrt(2 * np.log(max(2 * len(table), 4)))
    spread = np.max([1.4826 * np.median(off, axis=0), off.max(axis=0) / usual_extreme], axis=0)
    return middle, np.maximum(spread, floor)


def _beyond(away: Floats, sides: NDArray[np.int_]) -> Floats:
    """How far values are away on the sides that count."""
    return np.asarray(np.where(sides == 0, np.abs(away), sides * away))


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
        "flips": list_of(one_of(tuple(FLIPS)), may_be_empty=True),
        "limits": list_of(
            Kind("an object with a measure and limits", lambda value: isinstance(value, dict))
        ),
    }
    fields = read_fields(folder / GATES, kinds | FIELDS)
    contrasts = tuple(fields["contrasts"])
    limits = tuple(_read_limit(one, len(contrasts), folder) for one in fields["limits"])
    path = folder / GATE_ARRAYS
    try:
        arrays = load(read_bounded(path, MAX_BYTES_OF[GATE_ARRAYS]))
        names = ["mean", "usual", *(f"flip {number}" for number in range(len(fields["flips"])))]
        found = [arrays[name] for name in names]
    except (OSError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    for array in found:
        if array.shape != (len(contrasts), grid.n_voxels) or array.dtype != np.float32:
            raise _damaged(folder, f"an array of shape {array.shape} and type {array.dtype}")
        if not np.abs(array).max() <= MAX_ARRAY:
            raise _damaged(folder, "values that aren't finite, or too large")
    flips = dict(zip(fields["flips"], found[2:], strict=True))
    needed = {limit.measure for limit in limits} & set(FLIPS)
    if lacking := sorted(needed - set(flips)):
        raise _damaged(folder, f"no weights for {', '.join(lacking)}")
    false_alarms = fields.get("false_alarms")
    features = read_feature_gate(fields, arrays, folder)
    own = (limits, fields["n_people"], false_alarms, found[0], found[1], flips, features)
    return Gates(grid, contrasts, *own)


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
