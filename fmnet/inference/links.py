"""Links: from a model's scores to what they mean, for targets other than two groups.

A link is plain numbers in a JSON file; applying it takes nothing but numpy.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Link(ABC):
    """Turns scores, (N, K), into named outputs, (N,) each, in a fixed order."""

    kind: ClassVar[str]

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

    def to_json(self) -> dict[str, Any]:
        """Write it as plain values."""
        links = [one.to_json() for one in self.links]
        columns = [list(one) for one in self.columns]
        return {"kind": self.kind, "names": list(self.names), "columns": columns, "links": links}


LINKS: dict[str, type[Link]] = {
    one.kind: one
    for one in (LinearLink, CumulativeLink, SoftmaxLink, HazardLink, EffectLink, SeveralLinks)
}


def link_from_json(fields: Mapping[str, Any]) -> Link:
    """Read a link from plain values, see `Link.to_json`."""
    own = {name: value for name, value in fields.items() if name != "kind"}
    if fields["kind"] == SeveralLinks.kind:
        own["links"] = tuple(link_from_json(one) for one in own["links"])
    return LINKS[fields["kind"]](**own)
