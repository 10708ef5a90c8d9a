"""Outcomes of people nobody met, from how strongly they show planted patterns; no files, no maps.

What drives an outcome is known, so that it is known what a study of it ought to find. Draws take
milliseconds: benchmarks make thousands of cohorts of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["classes", "severity", "onset", "response", "several", "sessions", "change"]
#: What an outcome depends on: how strongly a pattern is shown (of trials, differently in the two
#: arms or alike), where people were scanned, what is known of them anyway, or nothing.
Planted = Literal["effect", "moderator", "prognostic", "site", "baseline", "none"]

#: Patterns by what they are for: pains share the first; the next three are one pain's each.
PATTERNS = ("shared", "fm", "oa", "pp")
#: The pain that each further pattern belongs to, and everybody without pain.
PAINS, HEALTHY = ("FM", "OA", "PP"), "HC"
LEVELS = ("none", "mild", "moderate", "severe")
#: Upper ends of the levels but the last, in SDs of what they come from.
LEVEL_ENDS = (-1.0, 0.0, 1.0)
#: Arms of the trial; mean gain of the second over the first in SDs.
ARMS, ARM_EFFECT = ("placebo", "drug"), 0.4
#: Correlation of a pattern with what is known of people anyway, where that is what it shows.
COVARIATE_SHOWN = 0.8
#: SD of a pattern's expression between people of one group, where groups differ in it.
WITHIN_GROUP = 0.5
#: Events a year of somebody with mean risk; log of the hazard ratio for an SD of age.
HAZARD, AGE_HAZARD = 0.15, 0.3
#: First and last year at which people are last seen.
FOLLOWED_YEARS = (2.0, 10.0)
#: Fraction of the people of a site in the arm, or the groups, that are more frequent there.
FREQUENT = 0.75


@dataclass(frozen=True)
class OutcomePlan:
    """How outcomes come about.

    Parameters
    ----------
    kind : str
        Which outcome: classes, severity, onset, response, several, sessions or change.
    planted : str
        What it depends on: effect, site, baseline or none; of response, moderator, prognostic,
        site, baseline or none.
    effect : float
        Of numbers: correlation of the outcome with what it depends on (of trials, of the gain, in
        the arms where it does; of onsets, of the logarithm of time). Of groups: difference of the
        means of patterns, in SDs; of change, from before to after.
    n_people : int
        How many.
    n_sites : int
        How many scanner sites.
    n_groups : int
        Of classes: the last is without pain.
    shared : float
        Of groups: fraction of the squared effect that all pains have in common.
    missing : float
        Of several outcomes: fraction of people of whom each isn't known.
    n_sessions : int
        Of sessions: scans of each person.
    icc : float
        Of sessions and change: fraction of the variance between scans that is between people.
    """

    kind: Kind
    planted: Planted = "effect"
    effect: float = 0.6
    n_people: int = 80
    n_sites: int = 2
    n_groups: int = 4
    shared: float = 0.5
    missing: float = 0.3
    n_sessions: int = 2
    icc: float = 0.6

    @property
    def sessions(self) -> tuple[str, ...]:
        """Names of the sessions of each person; one without a name where there is one scan."""
        if self.kind == "change":
            return ("before", "after")
        if self.kind == "sessions":
            return tuple(str(number + 1) for number in range(self.n_sessions))
        return ("",)


@dataclass(frozen=True, eq=False)
class DrawnPeople:
    """People and scans of whom everything is known.

    Parameters
    ----------
    people : DataFrame
        One row per person: ``participant_id, age, sex, site, mean_framewise_displacement`` and
        outcomes; empty or NaN where missing.
    scans : DataFrame
        One row per scan, person after person: ``participant_id, session``, and outcomes of scans.
    expression : ndarray, shape (N, 4)
        How strongly each scan shows each of `PATTERNS`, in SDs between people.
    driver : ndarray, shape (N,)
        What the outcome depends on, in SDs; NaN where it depends on nothing or on a group.
    truth : dict
        What a study ought to find, in plain values.
    """

    people: pd.DataFrame
    scans: pd.DataFrame
    expression: Floats
    driver: Floats
    truth: dict[str, Any] = field(default_factory=dict)

    @property
    def person_of(self) -> NDArray[np.intp]:
        """Row of the person of each scan, (N,)."""
        row_of = {name: row for row, name in enumerate(self.people["participant_id"])}
        return np.array([row_of[name] for name in self.scans["participant_id"]], dtype=np.intp)


def draw_people(plan: OutcomePlan, rng: Generator) -> DrawnPeople:
    """Draw people, how strongly their scans show the patterns, and their outcomes."""
    n, sessions = plan.n_people, plan.sessions
    age = rng.normal(size=n)
    site = rng.permutation(n) % plan.n_sites
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-synthetic{number:03d}" for number in range(1, n + 1)],
            "age": np.clip(48 + 10 * age, 18, 80).round(1),
            "sex": rng.choice(["F", "M"], n, p=[0.8, 0.2]),
            "site": [f"site-{number + 1}" for number in site],
            "mean_framewise_displacement": np.clip(rng.normal(0.25, 0.05, n), 0.02, None).round(4),
        }
    )
    scans = people[["participant_id"]].loc[people.index.repeat(len(sessions))]
    scans = scans.reset_index(drop=True).assign(session=sessions * n)
    drawn = Draw(plan, rng, people, scans, age, site)
    driver = _DRAWS[plan.kind](drawn)
    truth = {
        "kind": plan.kind,
        "planted": plan.planted,
        "effect": plan.effect,
        "is_effect": plan.planted in {"effect", "moderator"} and plan.effect != 0,
        "patterns": drawn.patterns,
        **drawn.truth,
    }
    return DrawnPeople(drawn.people, drawn.scans, drawn.expression, driver, truth)


@dataclass(eq=False)
class Draw:
    """A draw under way: what of a person's, or scan's, is known so far."""

    plan: OutcomePlan
    rng: Generator
    people: pd.DataFrame
    scans: pd.DataFrame
    age: Floats
    site: NDArray[np.intp]
    truth: dict[str, Any] = field(default_factory=dict)
    patterns: list[str] = field(default_factory=list)
    expression: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Let patterns depend on nothing, but on who it is where there are several sessions."""
        n, n_sessions = len(self.people), len(self.plan.sessions)
        shape = (n, n_sessions, len(PATTERNS))
        own, of_scan = self.rng.normal(size=(n, 1, len(PATTERNS))), self.rng.normal(size=shape)
        icc = self.plan.icc if n_sessions > 1 else 0.0
        both = math.sqrt(icc) * own + math.sqrt(1 - icc) * of_scan
        self.expression = both.reshape(-1, len(PATTERNS))

    def driver(self, covariate: Floats) -> Floats:
        """Take what an outcome depends on, (N,), mean 0 and SD 1; the first pattern may show it."""
        n = len(self.expression)
        if self.plan.planted == "site":
            return centred(self.site.astype(float).repeat(n // len(self.site)))
        if self.plan.planted == "baseline":
            noise = self.rng.normal(size=n)
            shown = COVARIATE_SHOWN * covariate + math.sqrt(1 - COVARIATE_SHOWN**2) * noise
            self.expression[:, 0] = shown
            return covariate
        if self.plan.planted == "none":
            return self.rng.normal(size=n)
        self.patterns = [PATTERNS[0]]
        return self.expression[:, 0]

    def correlated(self, driver: Floats, correlation: float | Floats) -> Floats:
        """Draw a number of SD 1 that correlates with the driver, (N,)."""
        noise = self.rng.normal(size=len(driver))
        return np.asarray(correlation * driver + np.sqrt(1 - np.square(correlation)) * noise)

    def groups(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Draw everybody's group, the last one without pain; pains show patterns if planted so."""
        plan, rng = self.plan, self.rng
        n = len(self.people)
        group = rng.permutation(n) % len(names)
        if plan.planted == "site":  # the first half of the groups is frequent at every other site
            half = (len(names) + 1) // 2
            is_first = rng.random(n) < np.where(self.site % 2 == 0, FREQUENT, 1 - FREQUENT)
            first, second = rng.integers(half, size=n), rng.integers(half, len(names), size=n)
            group = np.where(is_first, first, second)
        if plan.planted == "baseline":  # age decides, and is what the first pattern shows
            score = self.correlated(self.driver(self.age), min(plan.effect / 2, 0.95))
            group = np.argsort(np.argsort(score)) * len(names) // n
        if plan.planted == "effect":
            self.expression *= WITHIN_GROUP
            is_pain = group < len(names) - 1
            self.expression[:, 0] += plan.effect * math.sqrt(plan.shared) * is_pain
            for number in range(len(names) - 1):
                own = plan.effect * math.sqrt(1 - plan.shared) * (group == number)
                self.expression[:, 1 + number] += own
            self.patterns = list(PATTERNS[: len(names)])
        self.truth |= {"shared": plan.shared, "groups": list(names)}
        return np.asarray(group)


def centred(values: Floats) -> Floats:
    """Give values, (N,), mean 0 and SD 1; zeros if all are alike."""
    sd = values.std()
    return np.asarray((values - values.mean()) / (sd if sd > 0 else 1))


def fiqr_points(standard: Floats) -> Floats:
    """Turn numbers of mean 0 and SD 1 into FIQ-R points, 0 to 100."""
    return np.clip(50 + 18 * standard, 0, 100).round(1)


def _classes(draw: Draw) -> Floats:
    names = (*PAINS[: draw.plan.n_groups - 1], HEALTHY)
    draw.people["group"] = np.array(names)[draw.groups(names)]
    return np.full(len(draw.people), np.nan)


def _severity(draw: Draw) -> Floats:
    driver, effect = draw.driver(draw.age), draw.plan.effect
    draw.people["fiqr"] = fiqr_points(draw.correlated(driver, effect))
    level = np.digitize(draw.correlated(driver, effect), LEVEL_ENDS)
    draw.people["severity"] = np.array(LEVELS)[level]
    draw.truth["correlation"] = effect
    return driver


def _onset(draw: Draw) -> Floats:
    """Draw times of a constant hazard that the driver and age multiply; some are seen too short."""
    driver, plan, n = draw.driver(draw.age), draw.plan, len(draw.people)
    # of the logarithm of an exponential time the SD is pi / sqrt(6)
    log_ratio = math.pi / math.sqrt(6) * plan.effect / math.sqrt(1 - plan.effect**2)
    ratio = np.exp(log_ratio * driver + AGE_HAZARD * draw.age)
    onset = draw.rng.exponential(size=n) / (HAZARD * ratio)
    last_seen = draw.rng.uniform(*FOLLOWED_YEARS, size=n)
    draw.people["time"] = np.maximum(np.minimum(onset, last_seen), 0.01).round(2)
    draw.people["event"] = (onset <= last_seen).astype(int)
    draw.truth |= {"log_hazard_ratio": log_ratio, "log_hazard_ratio_age": AGE_HAZARD}
    return driver


def _response(draw: Draw) -> Floats:
    """Draw a trial of two arms: gain by arm, and by the driver in one of them or in both."""
    plan, rng, n = draw.plan, draw.rng, len(draw.people)
    before = rng.normal(size=n)
    driver = draw.driver(before)
    arm = np.empty(n, dtype=int)
    for number in range(plan.n_sites):  # drawn within sites, and evenly unless sites are the trap
        own = np.flatnonzero(draw.site == number)
        fraction = 0.5 if plan.planted != "site" else (FREQUENT, 1 - FREQUENT)[number % 2]
        n_active = math.floor(fraction * len(own) + rng.random())
        arm[own] = rng.permutation(np.arange(len(own)) < n_active)
    correlation = plan.effect * (arm if plan.planted == "moderator" else np.ones(n))
    gain = draw.correlated(driver, correlation) + ARM_EFFECT * arm
    baseline = np.clip(60 + 12 * before, 5, 100)
    draw.people["arm"] = np.array(ARMS)[arm]
    draw.people["baseline"] = baseline.round(1)
    draw.people["outcome"] = np.clip(baseline - 8 - 12 * gain, 0, 100).round(1)
    is_moderator = plan.planted == "moderator"
    draw.truth |= {
        "correlation_active": 0.0 if plan.planted == "none" else plan.effect,
        "correlation_control": 0.0 if is_moderator or plan.planted == "none" else plan.effect,
        "effect_of_arm_points": 12 * ARM_EFFECT,
        "moderation_points": 12 * plan.effect * is_moderator,
    }
    return driver


def _several(draw: Draw) -> Floats:
    """Draw groups, and how severe pains are by a pattern of its own; neither is known of all."""
    plan, rng, n = draw.plan, draw.rng, len(draw.people)
    names = (*PAINS[:2], HEALTHY)
    group = draw.groups(names)
    driver = centred(draw.expression[:, 3]) if plan.planted == "effect" else rng.normal(size=n)
    correlation = min(plan.effect / 2, 0.95)
    fiqr = fiqr_points(draw.correlated(driver, correlation))
    is_pain = group < len(names) - 1
    lacks_group = rng.random(n) < plan.missing * is_pain
    lacks_fiqr = ~is_pain | ((rng.random(n) < plan.missing) & ~lacks_group)
    draw.people["group"] = np.where(lacks_group, "", np.array(names)[group])
    draw.people["fiqr"] = np.where(lacks_fiqr, np.nan, fiqr)
    draw.truth["correlation"] = correlation if plan.planted == "effect" else 0.0
    return driver


def _sessions(draw: Draw) -> Floats:
    n_sessions = len(draw.plan.sessions)
    driver = draw.driver(draw.age.repeat(n_sessions))
    draw.scans["fiqr"] = fiqr_points(draw.correlated(driver, draw.plan.effect))
    draw.truth |= {"icc": draw.plan.icc, "correlation": draw.plan.effect}
    return driver


def _change(draw: Draw) -> Floats:
    is_after = np.array(draw.scans["session"] == "after", dtype=float)
    if draw.plan.planted == "effect":
        draw.expression[:, 0] -= draw.plan.effect * is_after
        draw.patterns = [PATTERNS[0]]
    draw.truth["icc"] = draw.plan.icc
    return is_after


_DRAWS: dict[Kind, Callable[[Draw], Floats]] = {
    "classes": _classes,
    "severity": _severity,
    "onset": _onset,
    "response": _response,
    "several": _several,
    "sessions": _sessions,
    "change": _change,
}
