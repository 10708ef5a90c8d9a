"""Put a signature, its checks and what became of them into sentences."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fmnet.data.listing import Labels
from fmnet.inference.study_results import say_p
from fmnet.report.brain import SignWords
from fmnet.report.drawing import plain

Values = Mapping[str, Any]

NO_SIGNATURE = "No stable signature"


class CheckWords(NamedTuple):
    """What is said of a check: what it asks, what its figures are, and what either outcome means.

    ``expected`` says what the figure is compared with, and ``failed`` why there is no signature.
    """

    question: str
    measure: str
    expected: str
    holds: str
    fails: str
    failed: str


CHECKS = {
    "above_chance": CheckWords(
        "Is the model above chance?",
        "AUC",
        "by chance",
        "It tells new people apart better than chance.",
        "It tells new people apart no better than chance, so that its map shows nothing.",
        "the model is not above chance",
    ),
    "halves": CheckWords(
        "Do other people give the same map?",
        "r =",
        "with shuffled labels",
        "Maps learned from two halves of the cohort agree beyond what shuffled labels give.",
        "Maps learned from two halves of the cohort agree no better than with shuffled labels.",
        "two halves of the cohort don't agree beyond their null",
    ),
    "model_randomisation": CheckWords(
        "Does the map show what was learned?",
        "|r| =",
        "with random maps",
        "The same network with shuffled parameters gives another map.",
        "The same network with shuffled parameters gives much the same map: it shows the scans or "
        "the network's build.",
        "the map stays the same when the model's parameters are shuffled",
    ),
    "label_randomisation": CheckWords(
        "Does the map depend on the labels?",
        "|r| =",
        "with the same labels",
        "Models that learned shuffled labels give other maps.",
        "Models that learned shuffled labels give much the same map.",
        "the map stays the same when the labels are shuffled",
    ),
    "deletion": CheckWords(
        "Does the model need the voxels that the map points to?",
        "AUC",
        "with random maps",
        "Deleting them costs more than deleting as many by random maps of the same smoothness.",
        "Deleting them costs no more than deleting as many by random maps of the same smoothness.",
        "deleting what the map points to costs the model no more than deleting anything else",
    ),
}  # fmt: skip
#: Checks without which there is no signature.
NEEDED = ("above_chance", "halves")
#: Checks whose ``p`` is a fraction of maps and no p-value.
NO_P_VALUE = ("label_randomisation",)

#: What is compared of maps, and its heading.
MEASURES = {
    "voxel_r": "r over voxels",
    "region_r": "r over regions",
    "dice": "Dice, top 5 %",
    "icc": "ICC",
}
#: Maps of what is compared, in the order in which they are told.
COMPARED = {
    "halves": "halves of the cohort",
    "folds": "folds",
    "repeats": "repeats",
    "seeds": "seeds",
}
#: What a picture of a map is called.
TITLES: dict[str, str] = {
    "thresholded": "where weights survive the test",
    "z": "weights against shuffled labels",
    "pattern": "what goes with the score (activation pattern)",
    "weights": "what the score is made of (weights)",
    "surrogate": "the linear map nearest to the network (surrogate)",
    "attribution": "what moved people's scores (integrated gradients)",
    "occlusion": "what the score loses without a region (occlusion)",
    "seed": "learned seed",
}


def sign_words(description: str, labels: Labels) -> SignWords:
    """Say what positive and negative values of a kind of map mean, in the study's own labels."""
    positive, negative = plain(labels.positive), plain(labels.negative)
    if description in {"pattern", "groupdifference"}:
        return SignWords(f"more in {positive}", f"more in {negative}")
    if description in {"attribution", "occlusion"}:
        return SignWords(f"moves scores towards {positive}", f"moves scores towards {negative}")
    if description == "seed":
        return SignWords("above 0", "below 0")
    said = "a higher value speaks for"
    return SignWords(f"{said} {positive}", f"{said} {negative}")


def signature_verdict(facts: Values) -> str:
    """Say in a sentence or two whether there is a signature, and what failed if there is none.

    Parameters
    ----------
    facts : mapping
        ``is_drawn``, ``is_forced``, ``title`` of the model, and ``checks`` by name, each as
        `fmnet.signature.judge.Check` gives it.
    """
    checks, reasons = facts["checks"], doubts(facts)
    if reasons or not facts["is_drawn"]:
        forced = "Maps are drawn all the same, as signature.force=true asked for."
        what = "; ".join(reasons) or "no map could be made"
        return f"{NO_SIGNATURE}: {what}. {forced if facts['is_drawn'] else 'No map is drawn.'}"
    n = sum(one["outcome"] == "passed" for one in checks.values())
    halves = _bracket("halves", checks.get("halves", {}))
    agreed = f", maps of two halves of the cohort agree {halves}" if halves else ""
    return f"There is a stable signature of the {facts['title']}: {n} checks hold{agreed}."


def doubts(facts: Values) -> list[str]:
    """List why a map isn't to be believed: checks that failed, or that it needs and can't have."""
    found = []
    for name, one in facts["checks"].items():
        if one["outcome"] == "failed":
            found.append(f"{CHECKS[name].failed} {_bracket(name, one)}".strip())
        elif one["outcome"] != "passed" and name in NEEDED:
            why = f" ({one['reason']})" if one.get("reason") else ""
            question = CHECKS[name].question
            found.append(f"not examined: {question[:1].lower()}{question[1:]}{why}")
    return found


def forced_sentence(facts: Values) -> str:
    """Say what is written across maps that are drawn though they aren't to be believed."""
    reasons = doubts(facts)
    if not facts["is_drawn"] or not reasons:
        return ""
    more = len(reasons) - 1
    rest = f", and {more} more doubt{'s' if more > 1 else ''}" if more else ""
    return f"{NO_SIGNATURE}: {reasons[0]}{rest}"


def check_rows(facts: Values) -> list[dict[str, str]]:
    """List the checks: ``question``, ``figure``, ``expected``, ``outcome`` and ``sentence``."""
    rows = []
    for name, one in facts["checks"].items():
        words, outcome = CHECKS[name], one["outcome"]
        said = {"passed": words.holds, "failed": words.fails}
        null = facts.get("halves", {}).get("voxel_r", {}).get("null") if name == "halves" else None
        expected = _null(null) if null else _two(one.get("expected"))
        rows.append(
            {
                "question": words.question,
                "figure": _figure(name, one),
                "expected": f"{expected} {words.expected}" if expected else "",
                "outcome": {"passed": "holds", "failed": "fails"}.get(outcome, outcome),
                "sentence": said.get(
                    outcome, f"{one.get('reason', '')[:1].upper()}{one.get('reason', '')[1:]}."
                ),
            }
        )
    return rows


def agreement_rows(facts: Values) -> list[dict[str, str]]:
    """List how far maps of halves, folds, repeats and seeds agree, by each of `MEASURES`."""
    found = {"halves": facts.get("halves")} | dict(facts.get("folds") or {})
    rows = []
    for name, title in COMPARED.items():
        one = found.get(name)
        if not one:
            continue
        if "reason" in one:
            rows.append({"of": title, "reason": one["reason"]})
            continue
        n = f"{one['n_splits']} splits" if "n_splits" in one else f"{one['n_maps']} maps"
        cells = {key: _agreed(one[key]) if key in one else "" for key in MEASURES}
        rows.append({"of": f"{title} ({n})"} | cells)
    return rows


def threshold_words(tested: Values) -> str:
    """Say what the voxels of a thresholded map have survived; `tested` is ``z`` of the facts."""
    orders = f"{tested['n_permutations']} orders of the labels"
    match tested["threshold"]:
        case "fwe":
            said = f"|z| above {tested['threshold_fwe']:.2f}, p < 0.05 family-wise over all voxels"
        case "cluster":
            said = f"clusters of |z| above {tested['cluster_z']:g}, p < 0.05 family-wise by mass"
        case _:
            said = "false discovery rate below 5 % of the voxels drawn"
    return f"Drawn: {said}; {orders}"


def top_words(threshold: float, fraction: float) -> str:
    """Say that a map is drawn where it is largest, which is no test."""
    return f"Drawn: the largest {100 * fraction:g} % by size, above {threshold:.2g}; not a test"


def _agreed(found: Any) -> str:
    if not isinstance(found, Mapping):
        return _two(found)
    p = "" if found.get("p") is None else f", {say_p(found['p'])}"
    null = f" ({_null(found['null'])} with shuffled labels)" if found.get("null") else ""
    return f"{_two(found['observed'])}{p}{null}"


def _bracket(name: str, one: Values) -> str:
    figure = _figure(name, one)
    return f"({figure})" if figure else ""


def _figure(name: str, one: Values) -> str:
    """Write a check's figure with its interval and p-value."""
    if one.get("value") is None:
        return ""
    interval = " [{:.2f}, {:.2f}]".format(*one["interval"]) if one.get("interval") else ""
    p = "" if one.get("p") is None or name in NO_P_VALUE else f", {say_p(one['p'])}"
    return f"{CHECKS[name].measure} {_two(one['value'])}{interval}{p}"


def _null(null: Sequence[float]) -> str:
    """Write what chance gives: a mean, and what 95 % of the draws stay below."""
    return f"{_two(np.mean(null))}, 95 % below {_two(np.quantile(null, 0.95))},"


def _two(value: Any) -> str:
    """Write a number to two decimals, 0 without a sign, and nothing for None."""
    return "" if value is None else f"{round(float(value), 2) + 0.0:.2f}"
