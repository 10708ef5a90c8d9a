"""What a bundle says of its target, where its scores don't tell two groups apart."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fmnet.inference.bundle_files import (
    COUNT,
    COUNT_OR_NONE,
    FRACTION,
    NUMBER,
    TEXT,
    Kind,
    is_interval,
    is_number,
    list_of,
    optional,
)
from fmnet.inference.links import MAX_PARTS, Link
from fmnet.inference.study_results import FINDINGS, VERDICT

#: What every output is described by.
MEANING = ("name", "unit", "means", "means_not")
#: Most outputs of a link: as many as targets side by side can have.
MAX_OUTPUTS = 1000
TARGET_USE = (
    "Research use only. Scores and outputs say what people of one study had whose brain scans look "
    "like this one. They are neither a diagnosis nor a forecast for a person, and must not be used "
    "for any decision about a person's care."
)


def _are_meanings(value: Any) -> bool:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_OUTPUTS:
        return False
    if not all(isinstance(one, dict) and set(one) == set(MEANING) for one in value):
        return False
    names = [one["name"] for one in value]
    texts = [text for one in value for text in one.values()]
    return all(map(TEXT.accepts, texts)) and len(set(names)) == len(names)


def _are_scores(value: Any) -> bool:
    is_list = list_of(TEXT).accepts(value) and len(value) <= MAX_PARTS
    return is_list and len(set(value)) == len(value)


def _are_columns(value: Any) -> bool:
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_PARTS:
        return False
    return all(map(TEXT.accepts, [*value, *value.values()]))


_INTERVAL = Kind(
    "an interval of finite numbers in ascending order", lambda value: is_interval(value, is_number)
)
#: What is relied on of the metadata of a bundle with a target.
TARGET_METADATA = {
    "training.target.kind": TEXT,
    "training.target.title": TEXT,
    "training.target.columns": Kind("a column for each role", _are_columns),
    "training.target.scores": Kind(
        f"names of up to {MAX_PARTS} scores, all different", _are_scores
    ),
    "training.target.outputs": Kind(
        f"up to {MAX_OUTPUTS} outputs, each with {', '.join(MEANING)}", _are_meanings
    ),
    "training.target.primary.name": TEXT,
    "training.target.primary.title": TEXT,
    "training.target.primary.chance": NUMBER,
    "training.n_subjects": COUNT,
    **{
        f"evidence.{name}": optional(kind)
        for name, kind in {
            "model": TEXT,
            "verdict": VERDICT,
            "red": FINDINGS,
            "amber": FINDINGS,
            "figure": TEXT,
            "value": NUMBER,
            "value_ci": _INTERVAL,
            "chance": NUMBER,
            "p": FRACTION,
            "p_of": TEXT,
            "n_permutations": COUNT_OR_NONE,
            "n_subjects": COUNT_OR_NONE,
            "n_scans": COUNT_OR_NONE,
        }.items()
    },
}


def link_contradictions(link: Link, target: Mapping[str, Any]) -> list[str]:
    """Say how ``link.json`` and the target of ``metadata.json`` contradict each other."""
    n_scores, outputs = len(target["scores"]), link.outputs(np.zeros((1, link.n_scores)))
    found = []
    if link.n_scores != n_scores:
        found.append(f"link.json for {link.n_scores} scores, not {n_scores}")
    described = [one["name"] for one in target["outputs"]]
    if unknown := [name for name in described if name not in outputs]:
        found.append(f"link.json without '{unknown[0]:.99}', which metadata.json describes")
    if silent := [name for name in outputs if name not in described]:
        found.append(f"link.json with '{silent[0]:.99}', which metadata.json doesn't describe")
    if taken := set(outputs) & {*target["scores"], "scan", "status", "reason"}:
        found.append(f"link.json with an output called '{min(taken):.99}', as something else is")
    return found


def target_line(target: Mapping[str, Any]) -> str:
    """Name a target with its outputs and their units: ``how severe it is (value, points)``."""
    named = ", ".join(f"{one['name']} in {one['unit']}" for one in target["outputs"])
    return f"{target['title']} ({named})"


def meanings_sentences(target: Mapping[str, Any]) -> str:
    """Say of each output what it means, and what it doesn't."""
    return " ".join(
        f"{one['name']} ({one['unit']}): {_stop(one['means'])} Not: {_stop(one['means_not'])}"
        for one in target["outputs"]
    )


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
