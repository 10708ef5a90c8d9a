"""Write the pages of the reference that follow from configs, signatures and schemas.

They go to ``docs/generated/``, which git doesn't see.
"""

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
            found |= set(_targets(yaml.safe_load(path.read_text("utf-8"))))
    return sorted(name for name in found if name.startswith("fmnet."))


def _targets(node: Any) -> list[str]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    own = [node["_target_"]] if isinstance(node, dict) and "_target_" in node else []
    return own + [name for child in children for name in _targets(child)]


def components() -> str:
    """Write the page that lists what configs name, room by room."""
    targets = [name for name in named_targets() if name not in HIDDEN]
    lines = ["Parts that configs name", "=======================", "", INTRODUCTION, ""]
    for room, title in ROOMS.items():
        names = [name for name in targets if name.startswith(room + ".")]
        if names:
            lines += [title, "-" * len(title), "", ".. autosummary::", "   :toctree: api", "   :nosignatures:", ""]
            lines += [f"   ~{name}" for name in names] + [""]
    return "\n".join(lines)


INTRODUCTION = """What the configuration builds: readers, networks, baselines, targets and plans. A config names
each by ``_target_`` and gives it plain values; so can yours."""
#: Named by configs and of use to Hydra alone.
HIDDEN = {"fmnet.config.jobs.JobReport"}


def write_pages(_app: Any, _config: Any) -> None:
    """Write all pages, and leave alone those that are as they were."""
    written = {"components.rst": components()}
    for name, text in configuration.pages(CONFIGS).items():
        written[f"configuration/{name}"] = text
    for name, text in written.items():
        path = OUT / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write pages before Sphinx looks for them."""
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
