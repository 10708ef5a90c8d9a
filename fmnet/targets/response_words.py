"""What is said of a study of who responds: its people, the answer, and reporting items."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fmnet.evaluation.trial_power import (
    people_for_correlations,
    smallest_correlation,
    smallest_interaction,
    smallest_slope,
    standardised_difference,
)
from fmnet.targets.base import Said
from fmnet.targets.sentences import ALPHA

#: Standard errors beyond which a slope counts, two-sided and one-sided.
TWO_SIDED, ONE_SIDED = 1.96, 1.645
#: Standardised difference between arms from which on it is mentioned.
IMBALANCE = 0.25
#: Fraction of people of whom too little is known from which on it is mentioned.
DROPPED = 0.05
#: Correlation of which it is said how many people it would need.
CORRELATION = 0.4


def describe_people(
    rows: pd.DataFrame, arms: Sequence[str], columns: Mapping[str, str]
) -> dict[str, Any]:
    """Compare the people of both arms, and compute what so many can find.

    Parameters
    ----------
    rows : DataFrame
        Out-of-fold table of one model.
    arms : sequence of str
        Names of control and active arm.
    columns : dict
        By role, what people are described by, of which ``outcome`` came after treatment.

    Returns
    -------
    dict
        ``arms``: ``name``, ``n`` and the mean of each role, in either arm; ``balance``: ``column``,
        ``difference`` in SD and its ``p`` of what was known before treatment; ``power``, see
        `fmnet.evaluation.trial_power`. Of a crossover, ``n`` and ``interaction`` of ``power`` only.
    """
    people = rows.drop_duplicates("participant_id")
    if "outcome_arm" not in people:
        power: dict[str, Any] = {"n": len(people), "interaction": smallest_slope(len(people))}
        return {"arms": [], "balance": [], "power": power}
    arm = people["outcome_arm"].to_numpy(float)
    values = {role: people[f"outcome_{role}"].to_numpy(float) for role in columns}
    described = []
    for number, name in enumerate(arms):
        means = {role: float(own[arm == number].mean()) for role, own in values.items()}
        described.append({"name": name, "n": int((arm == number).sum()), **means})
    balance = []
    for role in (one for one in columns if one != "outcome"):
        gap, p = standardised_difference(values[role], arm)
        balance.append({"column": columns[role], "difference": gap, "p": p})
    n_control, n_active = (int((arm == number).sum()) for number in (0, 1))
    power = {
        "n_control": n_control,
        "n_active": n_active,
        "interaction": smallest_interaction(n_control, n_active),
        "correlation": smallest_correlation(n_control, n_active),
        "needed": people_for_correlations(CORRELATION),
    }
    return {"arms": described, "balance": balance, "power": power}


def is_moderator(figures: Mapping[str, Any], p: float | None) -> bool:
    """Tell whether the interaction is beyond chance: by its interval, and permutations if any."""
    low = (figures.get("interaction_ci") or [None])[0]
    return low is not None and low > 0 and (p is None or p < ALPHA)


def response_verdict(facts: Mapping[str, Any], lacking: Sequence[int] = ()) -> list[Said]:
    """Say whether a score tells who responds; if not, whether it tells who improves in any arm.

    A moderator needs an interaction whose 95 % interval lies above 0 and, where arms were permuted,
    p < 0.05. Else a score that goes with gains, in the control arm as well, is called prognostic.
    """
    name = facts["studied"]
    figures = facts["models"][name]
    details = (facts.get("details") or {}).get(name) or {}
    permuted = ((facts.get("permutation") or {}).get("models") or {}).get(name) or {}
    p, value = permuted.get("p"), figures.get("interaction")
    if value is None:
        return [Said("Whether the score tells who responds can't be computed", "red")]
    ends, main = figures.get("interaction_ci"), figures.get("main_t") or 0.0
    shown = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends and None not in ends else ""
    by_p = f"p = {p:.3g} by permutation of arms" if p is not None else "arms not permuted"
    words = f"(interaction {value:.2f}{shown} SD for one SD of the score, chance 0; {by_p})"
    if is_moderator(figures, p):
        more = "in this cohort the arm does more for people with larger scores"
        said = [Said(f"The score is a moderator: {more} {words}")]
        if abs(main) > TWO_SIDED:
            more = "averaged over both arms it goes with the outcome, too"
            said.append(Said(f"It may be prognostic as well: {more}"))
        beyond = ((details.get("slopes") or {}).get("beyond") or {}).get("t")
        if beyond is not None and beyond < ONE_SIDED:
            more = "than baseline and covariates tell as well, it isn't shown to tell"
            said.append(Said(f"More of the effect {more} (t = {beyond:.1f})", "amber"))
    elif abs(main) > TWO_SIDED:
        with_what = "improvement" if main > 0 else "a worse outcome"
        in_control = (figures.get("prognostic_t") or 0.0) * np.sign(main)
        if in_control > ONE_SIDED:
            goes = f"prognostic: it goes with {with_what} in both arms, t = {main:.1f}"
            text = f"The score isn't shown to be a moderator ({goes}): who responds isn't told"
            text = f"{text} {words}"
        else:
            goes = f"it goes with {with_what}, t = {main:.1f}"
            text = f"The score isn't shown to be a moderator, and {goes}; in which arms is open"
            text = f"{text} {words}"
        said = [Said(text, "amber")]
    else:
        text = f"The score isn't shown to be a moderator: who responds isn't told {words}"
        said = [Said(text, "amber")]
    return [*said, *_people_said(details, lacking)]


def _people_said(details: Mapping[str, Any], lacking: Sequence[int]) -> list[Said]:
    """Say where arms differ, whose outcome isn't known, and what so many people could find."""
    said = [
        Said(
            f"The arms differ in {own['column']} before treatment, by {own['difference']:.2f} SD"
            f" (p = {own['p']:.2g}); gains are adjusted for it",
            "amber",
        )
        for own in details.get("balance", [])
        if abs(own["difference"]) >= IMBALANCE
    ]
    arms = details.get("arms") or []
    if arms and sum(lacking) > DROPPED * (sum(own["n"] for own in arms) + sum(lacking)):
        each = [
            f"{n} of {n + own['n']} people in {own['name']}"
            for n, own in zip(lacking, arms, strict=True)
        ]
        text = f"Too little is known of {' and '.join(each)}: who dropped out may be others"
        said.append(Said(text, "amber"))
    power = details.get("power")
    if not power:
        return said
    found = f"{power['interaction']:.2f} SD for one SD of the score"
    if "n" in power:
        return [*said, Said(f"{power['n']} people show a slope of {found} with 80 % power")]
    who = f"{power['n_active']} and {power['n_control']} people"
    found = (
        f"{who} show an interaction of {found} with 80 % power, as a correlation of"
        f" {power['correlation']:.2f} in one arm and 0 in the other; {CORRELATION:g} and 0 would"
        f" need {power['needed']} people in each arm"
    )
    return [*said, Said(found)]


def response_tripod(
    described: Mapping[str, Any], facts: Mapping[str, Any], arms: Sequence[str]
) -> list[tuple[str, str, str]]:
    """List items of TRIPOD+AI as they apply to predictions of the effect of an arm."""
    columns, control, active = described["columns"], *arms
    is_crossover = described["design"] == "crossover"
    design = "a crossover, everybody in both arms" if is_crossover else "a trial of parallel arms"
    details = (facts.get("details") or {}).get(facts.get("studied")) or {}
    known = ", ".join(one for role, one in columns.items() if role not in {"outcome", "active"})
    learner = {"r": "the R-learner", "dr": "a doubly robust learner"}.get(described["learner"])
    given = described["propensity"]
    how_likely = "its share among training people" if given is None else f"known, {given}"
    fitted = f"{learner}, propensity of {active} {how_likely}" if learner else "within persons"
    alike = "; ".join(
        f"{own['column']} by {own['difference']:.2f} SD" for own in details.get("balance", [])
    )
    power = details.get("power") or {}
    n_found = f"{power['interaction']:.2f} SD for one SD of the score" if power else "not computed"
    items = [
        ("5a", "Source of data", f"{design}, {active} against {control}"),
        (
            "8a",
            "Outcome",
            f"{columns['outcome']}, {described['benefit']} is better; predicted is the difference"
            f" that {active} makes, not the outcome itself",
        ),
        ("9a", "Predictors", f"the scan; beside it, without a scan: {known}"),
        ("10", "Sample size", f"an interaction of {n_found} is found with 80 % power"),
        (
            "12a",
            "Analysis",
            f"effects learned by {fitted}; tested in people left out by outcome on arm, score,"
            " arm x score and baseline, HC3",
        ),
        (
            "20b",
            "Participants",
            f"arms differ before treatment in {alike}" if alike else "as above",
        ),
    ]
    if lacking := described.get("lacking") or ():
        left_out = f"left out: {lacking[0]} in {control}, {lacking[1]} in {active}"
        items.append(("11", "Missing data", left_out))
    return items
