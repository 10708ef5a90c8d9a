"""Write the pages of the reference that follow from configs, signatures and schemas.

They go to ``docs/generated/``, which git doesn't see.
"""

import json
import re
from pathlib import Path
from typing import Any

import configuration
import yaml

DOCS = Path(__file__).resolve().parents[1]
CONFIGS = DOCS.parent / "configs"
OUT = DOCS / "generated"
#: Measure things and are not installed.
NOT_INSTALLED = ("suite", "benchmark.yaml")

#: Title of each room in the reference, by what the dotted name begins with.
ROOMS = {
    "fmnet.data": "Readers and folds",
    "fmnet.bold": "BOLD runs",
    "fmnet.synthetic": "Made-up cohorts",
    "fmnet.inference": "Preparation",
    "fmnet.networks": "Networks",
    "fmnet.targets": "Targets",
    "fmnet.baselines": "Baselines",
    "fmnet.crossval": "Permutations, reruns and further networks",
    "fmnet.evaluation": "Audit",
    "fmnet.signature": "Signatures",
    "fmnet.studies": "Studies",
    "fmnet.runs": "Runs",
    "fmnet.training": "Training, loggers and pretraining",
}


def named_targets() -> list[str]:
    """List what the configs of the package name by ``_target_`` in fmnet, sorted."""
    found: set[str] = set()
    for path in CONFIGS.rglob("*.yaml"):
        if path.relative_to(CONFIGS).parts[0] not in NOT_INSTALLED:
            found |= set(configuration.targets(yaml.safe_load(path.read_text("utf-8"))))
    return sorted(name for name in found if name.startswith("fmnet.") and name not in HIDDEN)


def components() -> str:
    """Write the page that lists what configs name, room by room."""
    targets = named_targets()
    lines = ["Parts that configs name", "=======================", "", INTRODUCTION, ""]
    for room, title in ROOMS.items():
        names = [name for name in targets if name.startswith(room + ".")]
        if names:
            lines += [title, "-" * len(title), "", *AUTOSUMMARY]
            lines += [f"   ~{name}" for name in names] + [""]
    return "\n".join(lines)


INTRODUCTION = """What the configuration builds: readers, networks, baselines, targets and plans. A
config names each by ``_target_`` and gives it plain values; so can yours."""
AUTOSUMMARY = (".. autosummary::", "   :toctree: api", "   :nosignatures:", "")
#: Named by configs and of use to Hydra alone.
HIDDEN = {"fmnet.config.jobs.JobReport"}


def prediction_schema() -> str:
    """Write the page on what ``fmnet predict`` writes as JSON, from its schema."""
    path = DOCS.parent / "fmnet" / "inference" / "prediction.schema.json"
    schema = json.loads(path.read_text("utf-8"))
    lines = ["# Predictions in JSON", "", schema["description"], ""]
    lines += [f"The schema itself: [{path.name}](../../{path.relative_to(DOCS.parent)}).", ""]
    lines += ["## The file", "", *_fields(schema)]
    for name, part in schema["$defs"].items():
        if "properties" in part:
            lines += [f"## `{name}`", "", part.get("description", ""), "", *_fields(part)]
    return "\n".join(lines)


def _fields(part: dict[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for name, field in part["properties"].items():
        always = "" if prefix or name in part.get("required", ()) else ", may be missing"
        meaning = field.get("description") or configuration.NOTHING
        lines += [f"`{prefix}{name}` *({_type(field)}{always})*", f": {meaning}", ""]
        if "properties" in field:
            lines += _fields(field, f"{name}.")
    return lines if prefix else [":::{div} keys", "", *lines, ":::", ""]


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return {"fraction": "number from 0 to 1, or null"}.get(name, name)
    if "const" in field or "enum" in field:
        return " or ".join(str(value) for value in field.get("enum", [field.get("const")]))
    types = field.get("type", "any")
    said = " or ".join(types) if isinstance(types, list) else str(types)
    return f"{said} of {_type(field['items'])}" if "items" in field else said


def write_pages(_app: Any, _config: Any) -> None:
    """Write all pages, and leave alone those that are as they were."""
    written = {"components.rst": components(), "prediction_schema.md": prediction_schema()}
    for name, text in configuration.pages(CONFIGS).items():
        written[f"configuration/{name}"] = text
    for name, text in written.items():
        path = OUT / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    others = [
        one for one in OUT.glob("configuration/*.md") if f"configuration/{one.name}" not in written
    ]
    for path in [*others, *outdated_pages(DOCS)]:
        path.unlink()


def outdated_pages(docs: Path) -> list[Path]:
    """List pages that an earlier build made of objects and tutorials that are no more."""
    listed = re.findall(r"^   ~?([\w.]+)$", (docs / "api.rst").read_text("utf-8"), re.MULTILINE)
    objects = {*named_targets(), *(f"fmnet.{name}" for name in listed)}
    tutorials = {"index", *(path.stem for path in (docs.parent / "examples").glob("*.py"))}
    return [
        *(path for path in docs.glob("generated/api/*.rst") if path.stem not in objects),
        *(path for path in docs.glob("tutorials/*.rst") if path.stem not in tutorials),
    ]


def remove_pages(app: Any, env: Any, _added: Any, _changed: Any, removed: set[str]) -> list[str]:
    """Remove from the site what was made of pages that are no more, and build the others anew.

    All of them list all pages in their sidebars.
    """
    for name in removed:
        Path(app.outdir, f"{name}.html").unlink(missing_ok=True)
    return sorted(env.found_docs) if removed else []


def setup(app: Any) -> dict[str, bool]:
    """Write pages before Sphinx looks for them."""
    app.connect("config-inited", write_pages)
    app.connect("env-get-outdated", remove_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
