"""Links: from a model's scores to what they mean, for targets other than two groups.

A link is plain numbers in a JSON file; applying it takes nothing but numpy.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from fmnet.inference.bundle_files import (
    MAX_LENGTH,
    Kind,
    is_number,
    list_of,
    one_of,
    read_fields,
    refuse,
)

Numbers = NDArray[np.float64]
#: Most of any number of a link, of any sign.
MAX_VALUE = 1e12
#: Most groups, levels, times or targets, and so most scores of a network.
MAX_PARTS = 100


@dataclass(frozen=True)
class Link(ABC):
    """Turns scores, (N, K), into named outputs, (N,) each, in a fixed order."""

    kind: ClassVar[str]

    @property
    def n_scores(self) -> int:
        """How many scores it reads."""
        return 1

    def contradictions(self) -> list[str]:
        """Say which of its numbers can't be true together; by default any can."""
        return []

    @abstractmethod
    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Compute the outputs of scans."""

    def to_json(self) -> dict[str, Any]:
        """Write it as plain values."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class LinearLink(Link):
    """A number and its interval: ``value = intercept + slope * score``, plus quantiles of errors.

    ``below`` and ``above`` are added for the ends of the 90 % prediction interval. No number is
    below ``lowest`` or above ``highest``, the ends of the scale, where it has them.
    """

    kind: ClassVar[str] = "linear"

    slope: float
    intercept: float
    below: float
    above: float
    name: str = "value"
    lowest: float | None = None
    highest: float | None = None

    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Predict the number: NAME, NAME_low, NAME_high."""
        value = self.intercept + self.slope * scores[:, 0]
        every = {"": value, "_low": value + self.below, "_high": value + self.above}
        if self.lowest is not None or self.highest is not None:
            every = {end: np.clip(own, self.lowest, self.highest) for end, own in every.items()}
        return {f"{self.name}{end}": own for end, own in every.items()}

    def contradictions(self) -> list[str]:
        """Find ends of the interval, or of the scale, on the wrong side."""
        found = [] if self.below <= self.above else ["'below' that is above 'above'"]
        ends = [end for end in (self.lowest, self.highest) if end is not None]
        return found if ends == sorted(ends) else [*found, "'lowest' that is above 'highest'"]


@dataclass(frozen=True)
class LogisticLink(Link):
    """Probability of one group against another: ``expit(slope * score + intercept)``."""

    kind: ClassVar[str] = "logistic"

    slope: float
    intercept: float
    group: str

    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Give the probability of the group, ``p_GROUP``."""
        return {f"p_{self.group}": expit(self.slope * scores[:, 0] + self.intercept)}


@dataclass(frozen=True)
class LogOddsLink(Link):
    """Log odds that grow with the score: ``slope * (score - centre)``; differences have meaning."""

    kind: ClassVar[str] = "log_odds"

    slope: float
    centre: float
    name: str = "log_odds"

    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Give the log odds, NAME."""
        return {self.name: self.slope * (scores[:, 0] - self.centre)}


@dataclass(frozen=True)
class CumulativeLink(Link):
    """Probabilities of ordered levels: ``P(level > k) = expit(slope * score - threshold_k)``."""

    kind: ClassVar[str] = "cumulative"

    slope: float
    thresholds: Sequence[float]
    levels: Sequence[str]

    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Give the probability of each level, ``p_LEVEL``, and the ``expected_level`` from 0."""
        beyond = expit(self.slope * scores[:, :1] - np.asarray(self.thresholds)[None])
        ends = np.ones((len(scores), 1)), np.zeros((len(scores), 1))
        p = -np.diff(np.concatenate([ends[0], beyond, ends[1]], axis=1), axis=1)
        found = {f"p_{name}": p[:, k] for k, name in enumerate(self.levels)}
        return found | {"expected_level": p @ np.arange(len(self.levels))}

    def contradictions(self) -> list[str]:
        """Find thresholds that don't ascend, or that are too few or too many."""
        found = [] if _ascend(self.thresholds) else ["'thresholds' that don't ascend"]
        if len(self.levels) != len(self.thresholds) + 1:
            found.append(f"{len(self.thresholds)} thresholds of {len(self.levels)} levels")
        return found


@dataclass(frozen=True)
class SoftmaxLink(Link):
    """Probabilities of groups: ``softmax(slope * score_k + intercept_k)``."""

    kind: ClassVar[str] = "softmax"

    slope: float
    intercepts: Sequence[float]
    groups: Sequence[str]

    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Give the probability of each group, ``p_GROUP``."""
        p = softmax(self.slope * scores + np.asarray(self.intercepts)[None], axis=1)
        return {f"p_{name}": p[:, k] for k, name in enumerate(self.groups)}

    @property
    def n_scores(self) -> int:
        """One score for each group."""
        return len(self.groups)

    def contradictions(self) -> list[str]:
        """Find another number of intercepts than of groups."""
        n, n_groups = len(self.intercepts), len(self.groups)
        return [] if n == n_groups else [f"{n} intercepts of {n_groups} groups"]


@dataclass(frozen=True)
class HazardLink(Link):
    """Risk of an event by stated times: ``1 - exp(-hazard_t * exp(slope * (score - centre)))``."""

    kind: ClassVar[str] = "hazard"

    slope: float
    centre: float
    times: Sequence[float]
    cumulative_hazards: Sequence[float]
    unit: str = "years"

    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Give the risk by each time, ``risk_TIME``, and the ``relative_hazard``."""
        relative = np.exp(self.slope * (scores[:, 0] - self.centre))
        risks = {
            f"risk_{time:g}": -np.expm1(-hazard * relative)
            for time, hazard in zip(self.times, self.cumulative_hazards, strict=True)
        }
        return risks | {"relative_hazard": relative}

    def contradictions(self) -> list[str]:
        """Find times or hazards that don't ascend, and lists of other lengths."""
        found = []
        if not _ascend(self.times) or min(self.times) <= 0:
            found.append("'times' that don't ascend from above 0")
        hazards = list(self.cumulative_hazards)
        if min(hazards) < 0 or hazards != sorted(hazards):
            found.append("'cumulative_hazards' that don't grow from 0")
        if len({f"{time:g}" for time in self.times}) != len(self.times):
            found.append("'times' of which two are written alike")
        if len(hazards) != len(self.times):
            found.append(f"{len(hazards)} cumulative hazards of {len(self.times)} times")
        return found


@dataclass(frozen=True)
class EffectLink(Link):
    """Difference that an arm makes: ``effect = intercept + slope * score``, with its interval.

    The variance of the effect is ``variance[0] + 2 * variance[1] * score + variance[2] * score**2``
    (of the intercept, their covariance, of the slope).
    """

    kind: ClassVar[str] = "effect"

    slope: float
    intercept: float
    variance: Sequence[float]

    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Give ``effect``, ``effect_low`` and ``effect_high`` (95 %)."""
        score = scores[:, 0]
        effect = self.intercept + self.slope * score
        of_intercept, both, of_slope = self.variance
        half = 1.96 * np.sqrt(np.maximum(of_intercept + 2 * both * score + of_slope * score**2, 0))
        return {"effect": effect, "effect_low": effect - half, "effect_high": effect + half}

    def contradictions(self) -> list[str]:
        """Find numbers that are no variances with their covariance."""
        if len(self.variance) != 3:
            return [f"'variance' of {len(self.variance)} numbers, not 3"]
        of_intercept, both, of_slope = self.variance
        # rounded numbers may miss the bound by a little
        is_possible = min(of_intercept, of_slope) >= 0
        is_possible = is_possible and both**2 <= of_intercept * of_slope * (1 + 1e-6) + 1e-12
        return [] if is_possible else ["'variance' that is none"]


@dataclass(frozen=True)
class SeveralLinks(Link):
    """Links of several targets side by side, each of its own columns of the scores."""

    kind: ClassVar[str] = "several"

    names: Sequence[str]
    columns: Sequence[Sequence[int]]
    links: Sequence[Link]

    def outputs(self, scores: Numbers) -> dict[str, Numbers]:
        """Give the outputs of each, ``NAME_OUTPUT``."""
        found: dict[str, Numbers] = {}
        for name, columns, link in zip(self.names, self.columns, self.links, strict=True):
            own = link.outputs(scores[:, list(columns)])
            found |= {f"{name}_{output}": values for output, values in own.items()}
        return found

    @property
    def n_scores(self) -> int:
        """Up to the last column that any of them reads."""
        return 1 + max(max(columns) for columns in self.columns)

    def contradictions(self) -> list[str]:
        """Find lists of other lengths, columns that are read twice, and what is wrong with each."""
        n = len(self.names)
        if not n == len(self.columns) == len(self.links):
            return [f"{n} names, {len(self.columns)} lists of columns, {len(self.links)} links"]
        found = [] if len(set(self.names)) == n else ["'names' of which one stands twice"]
        read = sorted(column for columns in self.columns for column in columns)
        if read != list(range(len(read))):
            found.append("'columns' that are not each of the scores once")
        for name, columns, link in zip(self.names, self.columns, self.links, strict=True):
            if len(columns) != link.n_scores:
                found.append(f"{len(columns)} columns for '{name:.99}', not {link.n_scores}")
        for link in self.links:
            found += link.contradictions()
        if not found:
            each = [link.outputs(np.zeros((1, link.n_scores))) for link in self.links]
            if len(self.outputs(np.zeros((1, self.n_scores)))) < sum(map(len, each)):
                found.append("two outputs of one name")
        return found

    def to_json(self) -> dict[str, Any]:
        """Write it as plain values."""
        links = [one.to_json() for one in self.links]
        columns = [list(one) for one in self.columns]
        return {"kind": self.kind, "names": list(self.names), "columns": columns, "links": links}


LINKS: dict[str, type[Link]] = {
    one.kind: one
    for one in (
        LinearLink,
        LogisticLink,
        LogOddsLink,
        CumulativeLink,
        SoftmaxLink,
        HazardLink,
        EffectLink,
        SeveralLinks,
    )
}


def link_from_json(fields: Mapping[str, Any]) -> Link:
    """Read a link from plain values, see `Link.to_json`, which are believed: see `read_link`."""
    own = {name: value for name, value in fields.items() if name != "kind"}
    if fields["kind"] == SeveralLinks.kind:
        own["links"] = tuple(link_from_json(one) for one in own["links"])
    return LINKS[fields["kind"]](**own)


def read_link(path: Path) -> Link:
    """Read ``link.json`` and check every field of it.

    Raises
    ------
    BundleError
        If it can't be read, or holds something else than a link of a kind that is known.
    """
    content = read_fields(path, {"kind": one_of(tuple(LINKS))})
    if faults := link_faults(content):
        raise refuse(path.parent, f"{path.name} with {', '.join(faults)}")
    return link_from_json(content)


def link_faults(content: Any, may_be_several: bool = True) -> list[str]:
    """Say what is wrong with the plain values of a link; several links hold no several links."""
    kind = content.get("kind") if isinstance(content, dict) else None
    link = LINKS.get(kind) if isinstance(kind, str) else None
    if link is None or (link is SeveralLinks and not may_be_several):
        return ["no link of a known kind"]
    hints = get_type_hints(link)
    wanted = {one.name: one for one in fields(link)}
    faults = [f"an unknown field '{name:.99}'" for name in content.keys() - wanted - {"kind"}]
    for name, field in wanted.items():
        if name not in content:
            is_needed = field.default is MISSING and field.default_factory is MISSING
            faults += [f"no '{name}'"] if is_needed else []
        elif name == "links":
            parts = content[name] if isinstance(content[name], list) else []
            faults += [] if 0 < len(parts) <= MAX_PARTS else ["'links' that is no list of a few"]
            faults += [fault for one in parts[:MAX_PARTS] for fault in link_faults(one, False)]
        elif not (accepted := KINDS[hints[name]]).accepts(content[name]):
            faults.append(f"'{name}' that is not {accepted.words}")
    return sorted(faults) or link_from_json(content).contradictions()


def _ascend(values: Sequence[float]) -> bool:
    return all(one < next_one for one, next_one in pairwise(values))


def _few(kind: Kind, may_repeat: bool = True) -> Kind:
    """Make the kind of a list of a few."""
    every = list_of(kind)

    def accepts(value: Any) -> bool:
        is_list = every.accepts(value) and len(value) <= MAX_PARTS
        return is_list and (may_repeat or len(set(value)) == len(value))

    return Kind(f"{every.words}, up to {MAX_PARTS}", accepts)


_BOUNDED = Kind(
    f"a finite number up to {MAX_VALUE:g}",
    lambda value: is_number(value) and abs(value) <= MAX_VALUE,
)
_NAME = Kind(
    f"a text of 1 to {MAX_LENGTH} printable characters",
    lambda value: isinstance(value, str) and 0 < len(value) <= MAX_LENGTH and value.isprintable(),
)
_COLUMN = Kind("a whole number from 0", lambda value: type(value) is int and 0 <= value < MAX_PARTS)
#: What fields of links may hold, by their type.
KINDS: dict[Any, Kind] = {
    float: _BOUNDED,
    float | None: Kind(
        f"{_BOUNDED.words}, or null", lambda value: value is None or _BOUNDED.accepts(value)
    ),
    str: _NAME,
    Sequence[float]: _few(_BOUNDED),
    Sequence[str]: _few(_NAME, may_repeat=False),
    Sequence[Sequence[int]]: _few(_few(_COLUMN)),
}
