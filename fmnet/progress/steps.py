"""Steps of long work: how much of it is done, and how long the rest takes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Seconds after which the time that is left can be told from the time gone.
KNOWN_AFTER = 2.0


@dataclass(eq=False)
class Step:
    """A part of the work, of `total` units; `within` is the step that is going on inside it.

    Parameters
    ----------
    title, unit : str
        What is done, and what is counted.
    total, done : float
        Units of it, and those that are done, the `first` of them before it began.
    covers : float
        How many units of the step around it it stands for.
    note : str
        Said of it in a log.
    """

    title: str
    total: float
    unit: str = ""
    done: float = 0.0
    covers: float = 1.0
    note: str = ""
    within: "Step | None" = None
    first: float = field(init=False)
    begun: float = field(init=False, default_factory=lambda: time.monotonic())

    def __post_init__(self) -> None:
        self.first = self.done

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self.begun

    @property
    def fraction(self) -> float:
        """Which part of it is done, what is going on within it included: 0 to 1."""
        inner = self.within.covers * self.within.fraction if self.within else 0.0
        return min(1.0, (self.done + inner) / self.total) if self.total else 1.0

    @property
    def fraction_done_now(self) -> float:
        """Which part of it was done since it began: 0 to 1."""
        return self.fraction - (self.first / self.total if self.total else 1.0)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the same speed; None while that can't be told."""
        done, seconds = self.fraction_done_now, self.seconds
        if done <= 0 or seconds < KNOWN_AFTER:
            return None
        return seconds * (1 - self.fraction) / done

    @property
    def count(self) -> str:
        """How many units are done, in words."""
        units = f" {self.unit}{'' if self.total == 1 else 's'}" if self.unit else ""
        return f"{self.done:.0f} of {self.total:.0f}{units}"

    def opens(self, inner: "Step") -> None:
        """Note that a step begins within it."""
        self.within = inner

    def closes(self, inner: "Step", is_whole: bool) -> None:  # noqa: ARG002 (a study asks)
        """Note that a step within it is over."""
        self.within = None


@dataclass(eq=False)
class Study(Step):
    """All stages of a study, by the titles of their steps; each costs so many units of work.

    The time that is left of a stage that goes on is told by itself, that of later ones by how long
    a unit of work took so far.
    """

    costs: Mapping[str, float] = field(default_factory=dict)
    work_done: float = 0.0

    def opens(self, inner: Step) -> None:
        """Note that a stage begins; those before it that didn't are passed over."""
        super().opens(inner)
        inner.covers = self.costs.get(inner.title, 0.0)
        before = list(self.costs)[: list(self.costs).index(inner.title)] if inner.covers else []
        self.done = max(self.done, sum(self.costs[title] for title in before))

    def closes(self, inner: Step, is_whole: bool) -> None:
        """Note that a stage is over."""
        super().closes(inner, is_whole)
        self.work_done += inner.covers * inner.fraction_done_now
        self.done = min(self.total, self.done + (inner.covers if is_whole else 0.0))

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes; None while that can't be told."""
        inner, work, later = self.within, self.work_done, self.total - self.done
        own = inner.seconds_left if inner else 0.0
        if inner:
            work += inner.covers * inner.fraction_done_now
            later -= inner.covers
        if work <= 0 or self.seconds < KNOWN_AFTER:
            return None
        each = self.seconds / work
        if own is None:
            own = each * inner.covers * (1 - inner.fraction) if inner else 0.0
        return own + each * max(later, 0.0)

    @property
    def count(self) -> str:
        """How much of it is done, in words."""
        return f"{self.fraction:.0%}"


def say_time(seconds: float) -> str:
    """Say a length of time in words, with as many digits as one needs."""
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 0.95 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours / 24:.1f} days"
