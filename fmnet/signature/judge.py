"""Whether a signature is to be believed: what has to hold before a map of it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fmnet.inference.study_results import ALPHA, CHANCE, can_tell

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
    passed : bool or None
        Whether it holds; None where it was not examined.
    observed, null : float or None
        The figure, and what it is on average where nothing is to be found.
    p : float or None
        How often chance alone comes to as much.
    ci : (float, float) or None
        Interval of the figure.
    reason : str
        Why it was not examined; else empty.
    """

    name: CheckName
    passed: bool | None
    observed: float | None = None
    null: float | None = None
    p: float | None = None
    ci: tuple[float, float] | None = None
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """What came out, in a word."""
        return "not examined" if self.passed is None else "passed" if self.passed else "failed"

    def as_facts(self) -> dict[str, Any]:
        """Give it in plain values."""
        ci = list(self.ci) if self.ci else None
        return asdict(self) | {"outcome": self.outcome, "ci": ci}


def check_above_chance(
    exported: Mapping[str, Any], figures: Mapping[str, Any], n_permutations: int = 0
) -> Check:
    """Ask whether the model is above chance, corrected for its choice among several.

    `exported` is what the study says of the model that is exported; `figures` are its own out of
    fold. Its p-value counts unless there were too few permutations for a small one.
    """
    is_corrected = "auc_corrected" in exported and len(exported["among"]) > 1
    source, name = (exported, "auc_corrected") if is_corrected else (figures, "auc")
    low, high = source[f"{name}_ci"]
    p = exported.get("p") if can_tell(n_permutations) else None
    is_above = low is not None and low > CHANCE and (p is None or p < ALPHA)
    ci = None if low is None or high is None else (float(low), float(high))
    return Check("above_chance", is_above, float(source[name]), CHANCE, p, ci)


def check_p(name: CheckName, observed: float, null: float | None, p: float) -> Check:
    """Ask whether chance alone hardly comes to as much."""
    return Check(name, p < ALPHA, observed, null, p)


def not_examined(name: CheckName, reason: str) -> Check:
    """Say why something was not asked."""
    return Check(name, None, reason=reason)


def is_believed(checks: Sequence[Check]) -> bool:
    """Tell whether a map may be drawn.

    The model has to be above chance and halves of the cohort have to agree; of the other checks
    none that was made may have failed.
    """
    passed = {check.name: check.passed for check in checks}
    needed = all(passed.get(name) for name in ("above_chance", "halves"))
    return needed and False not in passed.values()
