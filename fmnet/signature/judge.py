"""Whether a signature is to be believed: what has to hold before a map of it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fmnet.inference.study_results import ALPHA, CHANCE

CheckName = Literal[
    "above_chance", "halves", "label_randomisation", "model_randomisation", "deletion"
]
Outcome = Literal["passed", "failed", "not examined"]


@dataclass(frozen=True)
class Check:
    """One thing that has to hold.

    Parameters
    ----------
    name : str
        What is asked.
    outcome : {"passed", "failed", "not examined"}
        What came out.
    value, expected : float or None
        The figure, and what it is on average where nothing is to be found.
    p : float or None
        How often chance alone comes to as much.
    interval : (float, float) or None
        Of the value.
    reason : str
        Why it was not examined; else empty.
    """

    name: CheckName
    outcome: Outcome
    value: float | None = None
    expected: float | None = None
    p: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""

    def as_facts(self) -> dict[str, Any]:
        """Give it in plain values."""
        found = asdict(self)
        return found | {"interval": list(self.interval) if self.interval else None}


def check_above_chance(exported: Mapping[str, Any], figures: Mapping[str, Any]) -> Check:
    """Ask whether the model is above chance, corrected for its choice among several.

    `exported` is what the study says of the model that is exported; `figures` are its own out of
    fold.
    """
    is_corrected = "auc_corrected" in exported and len(exported["among"]) > 1
    source, name = (exported, "auc_corrected") if is_corrected else (figures, "auc")
    low, high = source[f"{name}_ci"]
    p = exported.get("p")
    is_above = low is not None and low > CHANCE and (p is None or p < ALPHA)
    interval = None if low is None or high is None else (float(low), float(high))
    outcome: Outcome = "passed" if is_above else "failed"
    return Check("above_chance", outcome, float(source[name]), CHANCE, p, interval)


def check_p(
    name: CheckName, value: float, expected: float | None, p: float, alpha: float = ALPHA
) -> Check:
    """Ask whether chance alone hardly comes to as much."""
    outcome: Outcome = "passed" if p < alpha else "failed"
    return Check(name, outcome, value, expected, p)


def not_examined(name: CheckName, reason: str) -> Check:
    """Say why something was not asked."""
    return Check(name, "not examined", reason=reason)


def is_believed(checks: Sequence[Check]) -> bool:
    """Tell whether a map may be drawn.

    The model has to be above chance and halves of the cohort have to agree; of the other checks
    none that was made may have failed.
    """
    outcome = {check.name: check.outcome for check in checks}
    needed = all(outcome.get(name) == "passed" for name in ("above_chance", "halves"))
    return needed and "failed" not in outcome.values()
