"""Put a signature, its checks and what became of them into sentences."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fmnet.data.listing import Labels
from fmnet.data.signature_map import Description
from fmnet.inference.study_results import say_p
from fmnet.report.brain import SignWords
from fmnet.report.drawing import plain

Values = Mapping[str, Any]

NO_SIGNATURE = "No stable signature"


class CheckWords(NamedTuple):
    """What is said of a check: its question, its figure's name, both answers, why it failed."""

    question: str
    measure: str
    holds: str
    fails: str
    failed: str


CHECKS = {
    "above_chance": CheckWords(
        "Is the model above chance?",
        "AUC",
        "It tells new people apart better than chance.",
        "It tells new people apart no better than chance, so that its map shows nothing.",
        "the model is not above chance",
    ),
    "halves": CheckWords(
        "Do other people give the same map?",
        "r",
        "Maps learned from two halves of the cohort agree beyond what shuffled labels give.",
        "Maps learned from two halves of the cohort agree no better than with shuffled labels.",
        "two halves of the cohort don't agree beyond their null",
    ),
    "model_randomisation": CheckWords(
        "Does the map show what was learned?",
        "r",
        "The same network with shuffled parameters gives another map.",
        "The same network with shuffled parameters gives much the same map, which then shows how "
        "the network is built.",
        "the map stays the same when the model's parameters are shuffled",
    ),
    "label_randomisation": CheckWords(
        "Does the map depend on the labels?",
        "r",
        "Models that learned shuffled labels give other maps.",
        "Models that learned shuffled labels give much the same map.",
        "the map stays the same when the labels are shuffled",
    ),
    "deletion": CheckWords(
        "Does the model need the voxels that the map points to?",
        "area",
        "Deleting them costs more than deleting as many of a random map of the same smoothness.",
        "Deleting them costs no more than deleting as many of a random map of the same smoothness.",
        "deleting what the map points to costs the model no more than deleting anything else",
    ),
}  # fmt: skip

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


def check_words(name: str) -> CheckWords:
    """Say what a check asks; one that isn't known here by its name."""
    title = name.replace("_", " ")
    unknown = CheckWords(
        f"{title[:1].upper()}{title[1:]}", "", "It holds.", "It fails.", f"{title} fails"
    )
    return CHECKS.get(name, unknown)


def sign_words(description: Description, labels: Labels) -> SignWords:
    """Say what positive and negative values of a kind of map mean, in the study's own labels."""
    positive, negative = plain(labels.positive), plain(labels.negative)
    if description in {"pattern", "groupdifference"}:
        return SignWords(f"more in {positive}", f"more in {negative}")
    if description in {"attribution", "occlusion"}:
        return SignWords(f"moves the score towards {positive}", f"moves it towards {negative}")
    if description in {"groupmean", "coverage", "seed"}:
        return SignWords("above 0", "below 0")
    said = "a higher value speaks for"
    return SignWords(f"{said} {positive}", f"{said} {negative}")


def signature_verdict(facts: Values) -> str:
    """Say in a sentence or two whether there is a signature, and what failed if there is none.

    Parameters
    ----------
    facts : mapping
        ``is_drawn``, ``is_forced``, ``failed`` (names of checks), ``checks`` (by name), ``title``
        of the model.
    """
    checks = facts.get("checks", {})
    failed = facts.get("failed", ())
    if failed or not facts["is_drawn"]:
        reasons = [
            " ".join(filter(None, [check_words(name).failed, _bracket(name, checks.get(name, {}))]))
            for name in failed
        ]
        what = "; ".join(reasons) or facts.get("reason", "no map could be made")
        drawn = (
            "Maps are drawn all the same since signature.force=true asked for it."
            if facts.get("is_forced")
            else "No map is drawn."
        )
        return f"{NO_SIGNATURE}: {what}. {drawn}"
    held = [_bracket(name, one) for name, one in checks.items() if name == "halves"]
    halves = f" Maps of two halves of the cohort agree {held[0]}." if held and held[0] else ""
    n = sum(one.get("passed") is True for one in checks.values())
    title = facts.get("title", "model")
    return f"A stable signature of the {title}: it passes all {n} checks that were made.{halves}"


def forced_sentence(facts: Values) -> str:
    """Say what is written across maps that are drawn though checks fail; empty if none does."""
    if not facts.get("is_forced") or not facts.get("failed"):
        return ""
    first = facts["failed"][0]
    more = len(facts["failed"]) - 1
    rest = f", and {more} more check{'s' if more > 1 else ''} failed" if more else ""
    bracket = _bracket(first, facts.get("checks", {}).get(first, {}))
    return f"{NO_SIGNATURE}: {check_words(first).failed} {bracket}{rest}"


def check_rows(facts: Values) -> list[dict[str, str]]:
    """List the checks: ``question``, ``figure``, ``null``, ``result`` and ``sentence``.

    A check holds ``passed`` (None if it wasn't made), ``observed``, ``null`` (a list or a number),
    ``p``, perhaps ``ci`` and a ``reason`` why there is none or a ``sentence`` of its own.
    """
    rows = []
    for name, one in facts.get("checks", {}).items():
        words, passed = check_words(name), one.get("passed")
        sentence = one.get("sentence") or (words.holds if passed else words.fails)
        if passed is None:
            sentence = f"Not asked: {one.get('reason', 'it does not apply to this model')}."
        rows.append(
            {
                "question": words.question,
                "figure": _figure(words.measure, one),
                "null": _null(one),
                "result": "not asked" if passed is None else "holds" if passed else "fails",
                "sentence": sentence,
            }
        )
    return rows


def agreement_rows(facts: Values) -> list[dict[str, str]]:
    """List how far maps of halves, folds, repeats and seeds agree, by each of `MEASURES`."""
    found = {"halves": facts.get("halves", {})} | _nested(facts.get("folds", {}))
    rows = []
    for name, title in COMPARED.items():
        one = found.get(name)
        if not one:
            continue
        if "reason" in one:
            rows.append({"of": title, "reason": one["reason"]})
            continue
        n = one.get("n_splits") or one.get("n_maps")
        unit = f" ({n} splits)" if "n_splits" in one else f" ({n} maps)" if n else ""
        cells = {key: _agreed(one[key]) if key in one else "-" for key in MEASURES}
        rows.append({"of": f"{title}{unit}"} | cells)
    return rows


def threshold_words(threshold: float, facts: Values) -> str:
    """Say how the threshold of a z map was chosen."""
    n = facts.get("z", {}).get("n_permutations")
    orders = f", {n} orders of the labels" if n else ""
    return f"drawn: |z| above {threshold:.2f}, p < 0.05 family-wise over all voxels{orders}"


def top_words(threshold: float, units: str, fraction: float) -> str:
    """Say that a map is drawn where it is largest, which is no test."""
    return (
        f"drawn: the largest {100 * fraction:g} % by size, beyond {threshold:.2g} {units}; no test"
    )


def _nested(folds: Values) -> dict[str, Any]:
    """Give agreement by what was compared, whether or not it stands by name already."""
    return {"folds": folds} if "voxel_r" in folds or "reason" in folds else dict(folds)


def _agreed(found: Any) -> str:
    if not isinstance(found, Mapping):
        return _two(found)
    p = "" if found.get("p") is None else f", {say_p(found['p'])}"
    null = f" (by chance {_null(found)})" if _null(found) else ""
    return f"{_two(found['observed'])}{p}{null}"


def _bracket(name: str, one: Values) -> str:
    figure = _figure(check_words(name).measure, one)
    return f"({figure})" if figure else ""


def _figure(measure: str, one: Values) -> str:
    """Write a check's figure with its interval and p-value."""
    if one.get("observed") is None:
        return ""
    between = " = " if measure == "r" else " "
    interval = "" if one.get("ci") is None else " [{:.2f}, {:.2f}]".format(*one["ci"])
    p = "" if one.get("p") is None else f", {say_p(one['p'])}"
    return f"{measure}{between}{_two(one['observed'])}{interval}{p}".strip()


def _null(one: Values) -> str:
    """Write what chance gives: a mean, and what 95 % of the draws stay below."""
    null = one.get("null")
    if null is None or (isinstance(null, Sequence) and not len(null)):
        return ""
    if not isinstance(null, Sequence):
        return _two(null)
    return f"{_two(np.mean(null))}, 95 % below {_two(np.quantile(null, 0.95))}"


def _two(value: Any) -> str:
    """Write a number to two decimals, and 0 without a sign."""
    return f"{round(float(value), 2) + 0.0:.2f}"
