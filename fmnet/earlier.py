"""Names of earlier versions and what they are called now; nothing here is needed for new work.

Run folders, bundles and configuration files name builders by their dotted names. Those that moved
are read under the name they have now. So are the paths of the default network.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

#: Earlier package or module, and where its contents are now; the longest that fits counts.
MOVED = {
    "fmnet.networks.signature": "fmnet.networks.closed_form",
    "fmnet.networks.linear_layer": "fmnet.networks.backbones",
    "fmnet.networks.linear_map": "fmnet.networks.backbones",
    "fmnet.study.baselines": "fmnet.baselines",
    "fmnet.study.permutation": "fmnet.crossval.permutation",
    "fmnet.study.sensitivity": "fmnet.crossval",
    "fmnet.study.lockbox": "fmnet.crossval.lockbox",
    "fmnet.study.audit": "fmnet.evaluation",
    "fmnet.study.parts": "fmnet.runs.fold_checkpoints",
    "fmnet.training.trainer.build_trainer": "pytorch_lightning.Trainer",
    "fmnet.deploy": "fmnet.inference",
    "fmnet.data.synthetic": "fmnet.synthetic.maps_cohort",
    "fmnet.data.injected": "fmnet.synthetic.injected",
    "fmnet.bold.settings": "fmnet.bold.confounds",
    "fmnet.benchmark": "benchmarks",
}

#: Earlier names of the paths of the default network.
PATHS = {
    "places": "focal",
    "whole": "distributed",
    "channels": "contrast_products",
    "pairs": "voxel_pairs",
}
Value = TypeVar("Value")


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give the paths in a network's settings the names that they have now."""
    paths = settings.get("paths")
    if not isinstance(paths, list | tuple):
        return dict(settings)
    return {**settings, "paths": [PATHS.get(str(name), name) for name in paths]}


def current_paths(by_path: Mapping[str, Value]) -> dict[str, Value]:
    """Give the paths by which something is stated the names that they have now."""
    return {PATHS.get(name, name): value for name, value in by_path.items()}


def current_state(state: Mapping[str, Value]) -> dict[str, Value]:
    """Give a network's weights, by name, the names that they have now."""

    def renamed(name: str) -> str:
        name = re.sub(r"^(backbone(?:\.inner)?)\.share$", r"\1.fraction", name)
        return re.sub(r"\.paths\.(\w+)\.", lambda m: f".paths.{PATHS.get(m[1], m[1])}.", name)

    return {renamed(name): value for name, value in state.items()}


def current_cleaning(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings of how runs are cleaned, as a bundle states them, their names of now."""
    return {"fd_threshold" if key == "scrub_mm" else key: settings[key] for key in settings}


def current_name(dotted: str) -> str:
    """Say what a dotted name of an earlier version is called now; others stay as they are."""
    parts = dotted.split(".")
    for n in range(len(parts), 1, -1):
        if (head := ".".join(parts[:n])) in MOVED:
            return ".".join([MOVED[head], *parts[n:]])
    return dotted
