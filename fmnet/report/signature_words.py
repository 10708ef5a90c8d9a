"""Put a signature, its checks and what became of them into sentences."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fmnet.inference.study_results import ALPHA, say_p

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
        "Maps learned from two halves of the cohort agree beyond what chance gives.",
        "Maps learned from two halves of the cohort agree no better than by chance.",
        "two halves of the cohort don't agree beyond their null",
    ),
    "model_randomisation": CheckWords(
        "Does the map show what was learned?",
        "|r| =",
        "at most, with 95 % of random maps",
        "The same model with shuffled parameters gives another map.",
        "The same model with shuffled parameters gives much the same map: it shows the scans or "
        "the model's build.",
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
        "correlation with the whole score, with them alone less without them:",
        "with random maps",
        "They matter more to the score than as many voxels of random maps as smooth.",
        "They matter no more to the score than as many voxels of random maps as smooth.",
        "what the map points to matters no more to the score than anything else",
    ),
}  # fmt: skip
#: Checks without which there is no signature.
NEEDED = ("above_chance", "halves")

#: What the agreement of halves is compared with.
NULLS = {"labels": "with shuffled labels", "spatial": "between random maps as smooth"}
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
        why = f" ({facts['reason']})" if facts.get("reason") else ""
        what = "; ".join(reasons) or f"no map could be made{why}"
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
    rest = f", and {more} more reason{'s' if more > 1 else ''}" if more else ""
    return f"{NO_SIGNATURE}: {reasons[0]}{rest}"


def check_rows(facts: Values) -> list[dict[str, str]]:
    """List the checks: ``question``, ``figure``, ``expected``, ``outcome`` and ``sentence``."""
    rows, halves = [], facts.get("halves", {})
    for name, one in facts["checks"].items():
        words, outcome = CHECKS[name], one["outcome"]
        said = {"passed": words.holds, "failed": words.fails}
        compared, expected = words.expected, _two(one.get("null"))
        if name == "halves" and (null := halves.get("voxel_r", {}).get("null")):
            compared, expected = NULLS[halves.get("null_from", "labels")], _null(null)
        rows.append(
            {
                "question": words.question,
                "figure": _figure(name, one),
                "expected": f"{expected} {compared}" if expected else "",
                "outcome": {"passed": "holds", "failed": "fails"}.get(outcome, outcome),
                "sentence": said.get(
                    outcome, f"{one.get('reason', '')[:1].upper()}{one.get('reason', '')[1:]}."
                ),
            }
        )
    return rows


def agreement_rows(facts: Values) -> list[dict[str, str]]:
    """List how far maps of halves, folds, repeats and seeds agree, by each of `MEASURES`."""
    folds = dict(facts.get("folds") or {})
    found = {"halves": facts.get("halves")} | ({"folds": folds} if "reason" in folds else folds)
    rows = []
    for name, title in COMPARED.items():
        one = found.get(name)
        if not one:
            continue
        if "reason" in one:
            rows.append({"of": title, "reason": one["reason"]})
            continue
        n = f"{one['n_splits']} splits" if "n_splits" in one else f"{one['n_maps']} maps"
        draws = NULLS[one.get("null_from", "labels")]
        cells = {key: _agreed(one[key], draws) if key in one else "" for key in MEASURES}
        rows.append({"of": f"{title} ({n})"} | cells)
    return rows


def notes(facts: Values) -> list[str]:
    """List what else a reader has to know: what survives, and what of the score maps show."""
    found, tested = [], facts.get("z")
    if facts["is_drawn"] and tested:
        n = tested["n_voxels"]
        found.append(
            f"Tested against {tested['n_permutations']} orders of the labels, {n['fwe']} voxels "
            f"survive family-wise, {n['cluster']} lie in clusters that do, and {n['fdr']} survive "
            "a false discovery rate of 5 %."
        )
        if 1 / (tested["n_permutations"] + 1) > ALPHA:
            found.append("With fewer than 19 orders nothing could survive family-wise.")
        elif not n[tested["threshold"]]:
            again = "the map as a whole comes out again from other people, and "
            if doubts(facts):
                again = ""
            found.append(
                f"No place survives the test that was chosen: {again}no region of it may be named "
                "by itself."
            )
    fraction = facts.get("linear_fraction")
    if fraction is not None and fraction < 1:
        found.append(
            f"{100 * fraction:.0f} % of the score is linear; weights show that part of it alone."
        )
    if surrogate := facts.get("surrogate"):
        found.append(
            f"One linear map comes as near to the whole score as R2 = {surrogate['r2']:.2f} in "
            "people whom neither learned from."
        )
    return found


def _agreed(found: Any, draws: str) -> str:
    if not isinstance(found, Mapping):
        return _two(found)
    p = "" if found.get("p") is None else f", {say_p(found['p'])}"
    null = f" ({_null(found['null'])} {draws})" if found.get("null") else ""
    return f"{_two(found['observed'])}{p}{null}"


def _bracket(name: str, one: Values) -> str:
    figure = _figure(name, one)
    return f"({figure})" if figure else ""


def _figure(name: str, one: Values) -> str:
    """Write a check's figure with its interval and p-value."""
    if one.get("observed") is None:
        return ""
    interval = " [{:.2f}, {:.2f}]".format(*one["ci"]) if one.get("ci") else ""
    p = "" if one.get("p") is None else f", {say_p(one['p'])}"
    return f"{CHECKS[name].measure} {_two(one['observed'])}{interval}{p}"


def _null(null: Sequence[float]) -> str:
    """Write what chance gives: a mean, and what 95 % of the draws stay below."""
    return f"{_two(np.mean(null))}, 95 % below {_two(np.quantile(null, 0.95))},"


def _two(value: Any) -> str:
    """Write a number to two decimals, 0 without a sign, and nothing for None."""
    return "" if value is None else f"{round(float(value), 2) + 0.0:.2f}"
