"""Sentences and reporting items of a study of who responds."""

from collections.abc import Mapping
from typing import Any

from fmnet.targets.base import Said

#: Below this a p-value counts.
ALPHA = 0.05
#: Beyond so many standard errors a slope counts.
BEYOND = 1.96
#: Standardised difference between arms from which on it is mentioned.
IMBALANCE = 0.25


def is_moderator(figures: Mapping[str, Any], p: float | None) -> bool:
    """Tell whether the interaction is beyond chance: its interval, and the permutations if any."""
    interval = figures.get("interaction_ci")
    is_beyond = bool(interval) and interval[0] is not None and interval[0] > 0
    return is_beyond and (p is None or p < ALPHA)


def response_verdict(facts: Mapping[str, Any]) -> list[Said]:
    """Say whether a score tells who responds; if not, whether it tells who improves in any arm.

    A moderator needs an interaction whose 95 % interval lies above 0 and, where labels were
    permuted, p < 0.05. Scores that go with gains in both arms are called prognostic.
    """
    name = facts["studied"]
    figures = facts["models"][name]
    details = (facts.get("details") or {}).get(name) or {}
    permuted = ((facts.get("permutation") or {}).get("models") or {}).get(name) or {}
    p, value = permuted.get("p"), figures.get("interaction")
    if value is None:
        return [Said("Whether the score tells who responds can't be computed", "red")]
    ends = figures.get("interaction_ci")
    shown = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends and None not in ends else ""
    by_p = f", p = {p:.3g} by permutation of arms" if p is not None else ", arms not permuted"
    words = f"(interaction {value:.2f}{shown} SD for one SD of the score, chance 0{by_p})"
    is_prognostic = abs(figures.get("main_t") or 0.0) > BEYOND
    if is_moderator(figures, p):
        said = [
            Said(
                f"The score is a moderator in this cohort: the arm does more for people with"
                f" larger scores {words}"
            )
        ]
        if is_prognostic:
            said.append(Said("It is prognostic as well: it goes with the outcome in both arms"))
        if (figures.get("beyond_t") or 0.0) < 1.645:
            said.append(
                Said(
                    "Beyond what baseline and covariates tell of the effect, it isn't"
                    " shown to tell more",
                    "amber",
                )
            )
    elif is_prognostic:
        better = "improvement" if figures["main_t"] > 0 else "a worse outcome"
        said = [
            Said(
                f"The score is not a moderator (prognostic: it goes with {better} in both arms"
                f" alike); it doesn't tell who responds {words}",
                "amber",
            )
        ]
    else:
        said = [Said(f"The score is not a moderator {words}", "amber")]
    return said + _beside(details)


def _beside(details: Mapping[str, Any]) -> list[Said]:
    """Say what this number of people could find, and where arms differ."""
    said = []
    for row in details.get("balance", []):
        if abs(row["difference"]) >= IMBALANCE:
            said.append(
                Said(
                    f"The arms differ in {row['column']} before treatment, by"
                    f" {row['difference']:.2f} SD (p = {row['p']:.2g})",
                    "amber",
                )
            )
    power = details.get("power") or {}
    if "n_control" in power:
        said.append(
            Said(
                f"With {power['n_active']} and {power['n_control']} people an interaction of"
                f" {power['interaction']:.2f} SD for one SD of the score is found with 80 % power, as a"
                f" correlation of {power['correlation']:.2f} in one arm and 0 in the other; 0.4 and 0"
                f" would need {power['for_correlation_of_0.4']} people in each arm"
            )
        )
    elif power:
        said.append(
            Said(
                f"With {power['n']} people a slope of {power['interaction']:.2f} SD for one"
                " SD of the score is found with 80 % power"
            )
        )
    return said
