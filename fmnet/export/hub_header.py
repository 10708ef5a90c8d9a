"""What stands above a model card for the Hugging Face Hub: a header of YAML."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fmnet.errors import printable
from fmnet.inference.preparation import SERIES
from fmnet.inference.study_results import Evidence, TargetEvidence, count_red, evidence_of

TAGS = ("fmri", "neuroimaging", "monai", "onnx", "research-use-only", "not-for-diagnosis")


def hub_header(metadata: Mapping[str, Any]) -> str:
    """Write the header of a bundle's model card, from its metadata.

    The licence is unknown to an export: who publishes a bundle states it. Figures stand there with
    the red findings that they can't be read without.
    """
    return "".join(f"{line}\n" for line in ("---", *_lines(metadata), "---", ""))


def _lines(metadata: Mapping[str, Any]) -> Iterator[str]:
    training, wanted = metadata["training"], metadata["input"]
    evidence, target = evidence_of(metadata), training.get("target")
    name = target["title"] if target else f"{training['positive']} against {training['negative']}"
    tags = [*TAGS, "bold" if wanted["bold"] else "statistical-maps"]
    tags += ["time-series"] if wanted["kind"] == SERIES else []
    tags += ["synthetic-data"] if training["origin"] == "synthetic" else []
    yield "license: unknown"
    yield "library_name: fmnet"
    yield "inference: false"
    yield f"model_name: {_text(f'Signature: {name}')}"
    yield "tags:"
    yield from (f"- {tag}" for tag in tags)
    if evidence is not None:
        yield from _figures(f"Signature: {name}", evidence)
    yield "fmnet:"
    yield f"  format_version: {metadata['format_version']}"
    yield f"  version: {_text(metadata['versions']['fmnet'])}"
    yield f"  intended_use: {_text(metadata['intended_use'])}"
    yield f"  space: {_text(wanted['space'])}"
    yield "  warnings:" if metadata["warnings"] else "  warnings: []"
    yield from (f"  - {_text(text)}" for text in metadata["warnings"])
    red = None if evidence is None else evidence.red
    yield f"  red_findings: {'unknown' if red is None else len(red)}"


def _figures(name: str, evidence: Evidence | TargetEvidence) -> Iterator[str]:
    """Write the figure that the study was about in the Hub's form; nothing if it isn't known."""
    kind, value = (
        ("roc_auc", evidence.auc) if isinstance(evidence, Evidence) else ("other", evidence.value)
    )
    if value is None:
        return
    yield "model-index:"
    yield f"- name: {_text(name)}"
    yield "  results:"
    yield "  - task:"
    yield "      type: other"
    yield f"      name: {_text('scores of brain scans, out of fold')}"
    yield "    dataset:"
    yield "      type: other"
    yield f"      name: {_text('people of the study, who are not part of the bundle')}"
    yield "    metrics:"
    yield f"    - type: {kind}"
    yield f"      value: {value!r}"
    yield f"      name: {_text(f'{evidence.reached}; {count_red(evidence)}')}"


def _text(text: str) -> str:
    """Quote a text as JSON does, which YAML reads; nothing in it ends the header."""
    return json.dumps(printable(text).replace("<", "&lt;"), ensure_ascii=False)
