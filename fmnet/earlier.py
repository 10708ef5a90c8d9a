"""Names of earlier versions and what they are called now; nothing here is needed for new work.

Run folders, bundles and configuration files name builders by their dotted names. Those that moved
are read under the name they have now.
"""

from collections.abc import Mapping
from typing import Any

#: Earlier package or module, and where its contents are now; the longest that fits counts.
MOVED = {
    "fmnet.networks.signature": "fmnet.networks.closed_form",
    "fmnet.networks.linear_layer": "fmnet.networks.linear_map",
    "fmnet.study.baselines": "fmnet.baselines",
    "fmnet.study.permutation": "fmnet.crossval.permutation",
    "fmnet.study.sensitivity": "fmnet.crossval",
    "fmnet.study.lockbox": "fmnet.crossval.lockbox",
    "fmnet.study.audit": "fmnet.evaluation",
    "fmnet.study.parts": "fmnet.runs.fold_checkpoints",
    "fmnet.training.recipe": "fmnet.training.optimiser",
    "fmnet.deploy": "fmnet.inference",
    "fmnet.data.synthetic": "fmnet.synthetic.maps_cohort",
    "fmnet.data.injected": "fmnet.synthetic.injected",
    "fmnet.bold.settings": "fmnet.bold.confounds",
    "fmnet.benchmark": "benchmarks",
}


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
