"""What a study found out about a signature: the warnings that go wherever its scores go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fmnet.earlier import EARLIER_NETWORK
from fmnet.inference.bundle_files import (
    COUNT_OR_NONE,
    FRACTION,
    TEXT,
    Kind,
    is_interval,
    is_number,
    list_of,
    optional,
)
from fmnet.types import NETWORK

#: AUC of a model that knows nothing.
CHANCE = 0.5
#: Permutations that come to more than this fraction of larger AUCs don't tell a model from chance.
ALPHA = 0.05
#: What three digits can say of a p-value.
SMALLEST_P = 0.001
#: Most characters of a verdict, and most findings of a kind: some ten of each are usual.
MAX_VERDICT, MAX_FINDINGS = 10_000, 500
#: Where a reader finds all of it.
CARD = "MODEL_CARD.md"
#: What is said of bundles of before there was such a record.
NOT_RECORDED = "what is known of the signature is not recorded"
#: The part of the evidence that goes with each single score.
IN_SHORT = (
    "model", "verdict", "red", "note", "figure", "value", "value_ci", "chance", "auc", "auc_ci",
    "n_candidates", "auc_corrected", "auc_corrected_ci", "p", "p_of", "n_permutations",
    "n_subjects", "n_positive", "n_negative", "n_scans",
)  # fmt: skip


def _is_calibration(value: Any) -> bool:
    """Tell whether a value holds a slope, perhaps its interval, a base rate, and a sentence."""
    if not isinstance(value, dict) or not is_number(value.get("slope")):
        return False
    interval, rate, said = (value.get(name) for name in ("slope_ci", "base_rate", "sentence"))
    return (
        (interval is None or is_interval(interval, is_number))
        and (rate is None or FRACTION.accepts(rate))
        and (said is None or TEXT.accepts(said))
    )


_INTERVAL = Kind(
    "an interval of numbers from 0 to 1", lambda value: is_interval(value, FRACTION.accepts)
)
VERDICT = Kind(
    f"a text of up to {MAX_VERDICT} characters",
    lambda value: isinstance(value, str) and len(value) <= MAX_VERDICT,
)
FINDINGS = Kind(
    f"a list of up to {MAX_FINDINGS}, each {TEXT.words}",
    lambda value: list_of(TEXT, True).accepts(value) and len(value) <= MAX_FINDINGS,
)
_CALIBRATION = Kind("a slope with its interval and base rate", _is_calibration)
#: What is relied on of a bundle's metadata, which may be without all of it.
EVIDENCE = {
    f"evidence.{name}": optional(kind)
    for name, kind in {
        "model": TEXT,
        "verdict": VERDICT,
        "red": FINDINGS,
        "amber": FINDINGS,
        "note": TEXT,
        "auc": FRACTION,
        "auc_ci": _INTERVAL,
        "n_candidates": COUNT_OR_NONE,
        "auc_corrected": FRACTION,
        "auc_corrected_ci": _INTERVAL,
        "p": FRACTION,
        "p_of": TEXT,
        "n_permutations": COUNT_OR_NONE,
        "n_subjects": COUNT_OR_NONE,
        "n_positive": COUNT_OR_NONE,
        "n_negative": COUNT_OR_NONE,
        "n_scans": COUNT_OR_NONE,
        "calibration": _CALIBRATION,
    }.items()
}
#: What is relied on of what the metadata say of the folder of the signature, which they may lack.
SIGNATURE_FACTS = {
    "signature.is_stable": optional(Kind("true or false", lambda value: isinstance(value, bool))),
    "signature.words": optional(VERDICT),
    "signature.failed": optional(FINDINGS),
    "signature.files": optional(FINDINGS),
}


@dataclass(frozen=True)
class SignatureFacts:
    """Whether a study could say which regions carry the signature.

    ``words`` say so to readers; ``failed`` are the checks that it did not pass; ``files`` what the
    bundle holds of it, by name within the bundle.
    """

    is_stable: bool
    words: str
    failed: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def signature_facts_of(metadata: Mapping[str, Any]) -> SignatureFacts | None:
    """Read off a bundle's metadata which regions carry it; None where nobody has looked."""
    found = metadata.get("signature")
    if not isinstance(found, dict):
        return None
    lists = (tuple(found.get(name) or ()) for name in ("failed", "files"))
    return SignatureFacts(bool(found.get("is_stable")), found.get("words") or "", *lists)


@dataclass(frozen=True)
class Evidence:
    """What a study found out about the model of a bundle; None is what it did not record.

    ``model`` is the name for readers of the model that all this is about. ``red`` findings explain
    or undo the result, ``amber`` ones have to be known with it; ``note`` says whose findings they
    are, where they are not this model's. ``auc`` is out of fold, with the 95 % interval over
    participants; of ``n_candidates`` models it is the best by that, and ``auc_corrected`` is
    corrected for that choice. ``p`` is of a permutation test, in which ``p_of`` was compared, or
    nothing. ``calibration`` has ``slope``, ``slope_ci``, ``base_rate``, and ``sentence``, which
    says what they mean.
    """

    model: str | None = None
    verdict: str | None = None
    red: list[str] | None = None
    amber: list[str] | None = None
    note: str | None = None
    auc: float | None = None
    auc_ci: list[float] | None = None
    n_candidates: int | None = None
    auc_corrected: float | None = None
    auc_corrected_ci: list[float] | None = None
    p: float | None = None
    p_of: str | None = None
    n_permutations: int | None = None
    n_subjects: int | None = None
    n_positive: int | None = None
    n_negative: int | None = None
    n_scans: int | None = None
    calibration: dict[str, Any] | None = None

    @property
    def reached(self) -> str:
        """The AUC with its interval, see `say_auc`."""
        return f"AUC {say_auc(self)}"


@dataclass(frozen=True)
class TargetEvidence:
    """What a study found out about a bundle's model that doesn't tell two groups apart.

    ``value`` is that of the ``figure`` that the study was about, out of fold, with the 95 %
    interval over participants; ``chance`` is what a model that knows nothing reaches. All others
    are as in `Evidence`.
    """

    model: str | None = None
    verdict: str | None = None
    red: list[str] | None = None
    amber: list[str] | None = None
    figure: str | None = None
    value: float | None = None
    value_ci: list[float] | None = None
    chance: float | None = None
    p: float | None = None
    p_of: str | None = None
    n_permutations: int | None = None
    n_subjects: int | None = None
    n_scans: int | None = None

    @property
    def reached(self) -> str:
        """The figure with its interval, and what knows nothing."""
        said = f"{self.figure or 'figure'} {_figure(self.value, self.value_ci)}"
        return said if self.chance is None else f"{said} ({self.chance:g} knows nothing)"


def evidence_of(metadata: Mapping[str, Any]) -> Evidence | TargetEvidence | None:
    """Read the evidence off a bundle's metadata; None for bundles of before it was recorded."""
    found = metadata.get("evidence")
    if not isinstance(found, dict):
        return None
    kind = TargetEvidence if "target" in metadata["training"] else Evidence
    return kind(**{field.name: found.get(field.name) for field in fields(kind)})


def count_red(evidence: Evidence | TargetEvidence) -> str:
    """Say how many red findings there are: ``2 red findings``."""
    if evidence.red is None:
        return "red findings not recorded"
    n = len(evidence.red)
    return f"{n or 'no'} red finding{'s' if n > 1 else ''}"


def red_note(evidence: Evidence | TargetEvidence | None) -> str:
    """Say with a score that its signature has red findings; empty if it has none."""
    if evidence is None or not evidence.red:
        return ""
    return f"signature has {count_red(evidence)}: see its {CARD}"


def say_auc(evidence: Evidence) -> str:
    """Write the AUC with its interval, and both corrected for the choice if there was one."""
    said = _figure(evidence.auc, evidence.auc_ci)
    if evidence.auc is None or (evidence.n_candidates or 1) < 2:
        return said
    if evidence.auc_corrected is None:
        return f"{said}, not corrected for its choice among {evidence.n_candidates} models"
    corrected = _figure(evidence.auc_corrected, evidence.auc_corrected_ci)
    return f"{said}, corrected for its choice among {evidence.n_candidates} models {corrected}"


def _figure(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "not recorded"
    return figure(value, interval) if interval else f"{value:.2f}"


def say_p_of(evidence: Evidence | TargetEvidence) -> str:
    """Write the p-value with what it is of, or say that there is none."""
    if evidence.p is None:
        return evidence.p_of or "p not recorded"
    n = f"; {evidence.n_permutations} permutations" if evidence.n_permutations else ""
    return f"{say_p(evidence.p)} ({evidence.p_of or 'not recorded of what'}{n})"


def summary(evidence: Evidence | TargetEvidence | None) -> str:
    """Say in one line what a signature's scores can't be read without."""
    if evidence is None:
        return f"{NOT_RECORDED} in its bundle"
    return (
        f"known of the signature: {count_red(evidence)} (see {CARD}); {evidence.reached}; "
        f"{say_p_of(evidence)}"
    )


def optimism(n_models: int) -> str:
    """Say what it does to a figure that a model was chosen by it; empty for a single model."""
    if n_models < 2:
        return ""
    return (
        f"It is the best of {n_models} models by these same folds, which makes its figures "
        "slightly optimistic."
    )


def correction(training: Mapping[str, Any], n_models: int) -> str:
    """Say what the choice among models does to a model's AUC, and its p-value if it has one.

    `training` is what is said of its training, with ``chosen`` where the run had it worked out;
    `n_models` among how many models it was chosen by these same folds.
    """
    chosen = training.get("chosen") or {}
    if not chosen:
        return optimism(n_models)
    said = (
        "Its AUC is not corrected for a choice, and needs none where this model was settled on "
        "before there were any figures"
    )
    if n_models > 1:
        said = (
            f"Corrected for its having been chosen among {n_models} models by these same folds, "
            f"its AUC is {figure(chosen['auc_corrected'], chosen['auc_corrected_ci'])}"
        )
    if chosen.get("p") is None:
        return f"{said}."
    choice = ", that choice made anew in each" if n_models > 1 else ""
    return f"{said}; {say_p(chosen['p'])} by {chosen['n_permutations']} permutations{choice}."


def figure(auc: float, interval: Sequence[float]) -> str:
    """Write an AUC with its interval: ``0.71 [0.59, 0.82]``."""
    low, high = interval
    return f"{auc:z.2f} [{low:z.2f}, {high:z.2f}]"  # z: no -0.00


def say_p(p: float) -> str:
    """Write a p-value, which is never 0: ``p = 0.032``, ``p < 0.001``."""
    return "p < 0.001" if p < SMALLEST_P else f"p = {p:.3f}"


def warnings_of(training: Mapping[str, Any]) -> list[str]:
    """Say what a score of this signature can't be read without; nothing if it is above chance.

    It is judged by its AUC corrected for the choice of the model, where that is known, or by the
    figure that its study was about where that has a ``target``; `training` is what a bundle or a
    final model of whatever version says of its training.
    """
    if "target" in training:
        return _target_warnings(training)
    try:
        models = training["crossvalidation"]
        network = NETWORK if NETWORK in models else EARLIER_NETWORK
        figures = models[training.get("model", network)]
        auc, low, high = map(float, (figures["auc"], *figures["auc_ci"]))
        reached = f"AUC {figure(auc, (low, high))}"
        chosen = training.get("chosen") or {}
        if len(chosen.get("among", [])) > 1:
            auc, low, high = map(float, (chosen["auc_corrected"], *chosen["auc_corrected_ci"]))
            reached += f"; {figure(auc, (low, high))} corrected for the choice of the model"
        is_tested = can_tell(chosen.get("n_permutations", 0))
        p = float(chosen["p"]) if is_tested else None
        reached += "" if p is None else f"; {say_p(p)}"
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
        return ["what the signature reaches out of fold is not known"]
    if low > CHANCE and (p is None or p < ALPHA):
        return []
    if p is not None and p < ALPHA:
        return [f"the interval of the signature's out-of-fold AUC reaches 0.5 ({reached})"]
    return [f"the signature is not above chance out of fold ({reached})"]


def _target_warnings(training: Mapping[str, Any]) -> list[str]:
    try:
        primary, tested = training["target"]["primary"], training.get("tested") or {}
        figures = training["crossvalidation"][training["model"]]
        value, chance = float(figures[primary["name"]]), float(primary["chance"])
        low, high = map(float, figures[f"{primary['name']}_ci"])
        reached = f"{primary['title']} {figure(value, (low, high))}"
        p = float(tested["p"]) if can_tell(tested.get("n", 0)) else None
        reached += "" if p is None else f"; {say_p(p)}"
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
        return ["what the signature reaches out of fold is not known"]
    if low > chance and (p is None or p < ALPHA):
        return []
    knows = f"{chance:g}, which is what knows nothing"
    if p is not None and p < ALPHA:
        return [f"the interval of the signature's figure out of fold reaches {knows} ({reached})"]
    return [f"the signature is not above {knows}, out of fold ({reached})"]


def can_tell(n_permutations: int) -> bool:
    """Tell whether so many permutations can tell anything from chance: none of few is small."""
    return 1 / (n_permutations + 1) < ALPHA
