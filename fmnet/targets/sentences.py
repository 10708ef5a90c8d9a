"""Sentences that targets share: whether a model is above chance, and what it is beside others."""

from collections.abc import Mapping
from typing import Any, Literal

from fmnet.evaluation.comparison import RIVALS
from fmnet.targets.base import Primary, Said

#: Below this a p-value counts.
ALPHA = 0.05
#: Kinds of models that look at no region of the brain, or at symptoms, and how grave it is where
#: they do as well.
NO_BRAIN: dict[str, tuple[str, Literal["red", "amber"]]] = {
    "shortcut": ("which sees no region of the brain", "red"),
    "symptoms": ("which reads symptoms", "amber"),
}


def name_of(facts: Mapping[str, Any], model: str) -> str:
    """Name a model as reports do."""
    return str(facts.get("titles", {}).get(model) or model.replace("_", " "))


def stated(figures: Mapping[str, Any], primary: Primary) -> str:
    """Write the primary figure with its interval: ``R² 0.21 [0.05, 0.34]``."""
    value, interval = figures.get(primary.name), figures.get(f"{primary.name}_ci")
    if value is None:
        return f"{primary.title} unknown"
    ends = "" if not interval or None in interval else f" [{interval[0]:z.2f}, {interval[1]:z.2f}]"
    return f"{primary.title} {value:z.2f}{ends}"


def answer(facts: Mapping[str, Any], primary: Primary, claim: str) -> Said:
    """Say whether `claim` is shown: the permutation p decides, or the interval where there is none.

    `claim` completes "It is shown that ...".
    """
    name = facts["studied"]
    figures = facts["models"][name]
    permuted = (facts.get("permutation") or {}).get("models", {}).get(name) or {}
    p, interval = permuted.get("p"), figures.get(f"{primary.name}_ci")
    low = interval[0] if interval else None
    by_p = f", p = {p:.3g} by permutation" if p is not None else ", not permuted"
    is_above = figures.get(primary.name) is not None and figures[primary.name] > primary.chance
    shown = is_above and (p < ALPHA if p is not None else low is not None and low > primary.chance)
    words = f"({name_of(facts, name)}: {stated(figures, primary)}, chance {primary.chance:g}{by_p})"
    n = (facts.get("permutation") or {}).get("n")
    if p is not None and n is not None and 1 / (n + 1) >= ALPHA:
        return Said(f"Too few permutations ({n}) to tell whether {claim} {words}.", "amber")
    if shown:
        return Said(f"In this cohort {claim} {words}.")
    return Said(f"It is not shown that {claim} {words}.", "amber")


def beside(facts: Mapping[str, Any], primary: Primary) -> list[Said]:
    """Compare the model studied with the best linear one, and with those without a brain.

    Where none is linear, with the best of the others.
    """
    name, models, kinds = facts["studied"], facts["models"], facts["kinds"]
    values = {
        one: figures[primary.name]
        for one, figures in models.items()
        if one != name and figures.get(primary.name) is not None and kinds.get(one) != "chance"
    }
    own = models[name].get(primary.name)
    if own is None or not values:
        return []
    said = []
    linear = {one: value for one, value in values.items() if kinds.get(one) in RIVALS}
    best = max(linear or values, key=lambda one: values[one])
    row = next(
        (
            one
            for one in facts.get("comparisons", [])
            if {one["model"], one["rival"]} == {name, best}
        ),
        None,
    )
    p = row and (row["p"] if row.get("p_holm") is None else row["p_holm"])
    other = f"{name_of(facts, best)} ({stated(models[best], primary)})"
    which = "the best linear model" if linear else "the best of the others"
    if p is None or p >= ALPHA:
        said.append(Said(f"It is not distinguishable from {other}, {which}."))
    elif own > values[best]:
        said.append(Said(f"It is better than {other}, {which}."))
    else:
        said.append(Said(f"{_capital(other)}, {which}, is better.", "amber"))
    for kind, (words, severity) in NO_BRAIN.items():
        as_good = [one for one, value in values.items() if kinds.get(one) == kind and value >= own]
        if as_good and own > primary.chance:
            top = max(as_good, key=lambda one: values[one])
            told = f"{name_of(facts, top)} ({stated(models[top], primary)}), {words}, does as well."
            said.append(Said(_capital(told), severity))
    return said


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
