"""Names of earlier versions and what they are called now; nothing here is needed for new work.

Configuration files, run folders and bundles of earlier versions are read, or refused by a sentence
that says what to write instead. What that takes is one table for each kind of name:

- `MOVED`: dotted names of Python (``_target_`` of configurations, ``builder`` of networks);
- `RENAMED`: keys of configurations that hold the same under another name;
- `REPLACED`: keys and options of configurations in whose place something else is to be written;
- `ADDED`: keys that configurations hadn't, with the value that does what was done without;
- `PATHS`: paths of the default network, in its settings, its weights and what is said of it;
- `CONTENDERS`: models of the benchmark of power.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from fmnet.types import NETWORK

Value = TypeVar("Value")

#: Earlier package, module, function or class, and what it is now; the longest that fits counts.
MOVED = {
    "fmnet.networks.signature": "fmnet.networks.closed_form",
    "fmnet.networks.linear_layer": "fmnet.networks.backbones",
    "fmnet.networks.linear_map": "fmnet.networks.backbones",
    "fmnet.study.baselines": "fmnet.baselines",
    "fmnet.study.baselines.constant": "fmnet.baselines.base",
    "fmnet.study.baselines.covariates": "fmnet.baselines.shortcuts",
    "fmnet.study.baselines.features": "fmnet.baselines.shortcuts",
    "fmnet.study.baselines.decoder": "fmnet.baselines.estimator",
    "fmnet.study.permutation": "fmnet.crossval.permutation",
    "fmnet.study.sensitivity.reruns": "fmnet.crossval.reruns",
    "fmnet.study.sensitivity.learning_curve": "fmnet.crossval.reruns",
    "fmnet.study.lockbox": "fmnet.studies.lockbox",
    "fmnet.lockbox": "fmnet.studies.lockbox",
    "fmnet.study.audit": "fmnet.evaluation",
    "fmnet.study.parts": "fmnet.runs.checkpoints",
    "fmnet.training.trainer.build_trainer": "pytorch_lightning.Trainer",
    "fmnet.deploy": "fmnet.inference",
    "fmnet.bold.synthetic_design": "fmnet.synthetic.design",
    "fmnet.bold.bold_cohort.read_synthetic_bold": "fmnet.synthetic.bold.read_synthetic_bold",
    "fmnet.data.synthetic": "fmnet.synthetic.maps",
    "fmnet.data.injected": "fmnet.synthetic.injected",
    "fmnet.data.folds_file": "fmnet.data.folds",
    "fmnet.benchmark": "benchmarks",
}

#: What earlier versions called the network among the models of a study, now `fmnet.types.NETWORK`.
EARLIER_NETWORK = "cnn"
#: What they called every network, for people.
EARLIER_TITLE = "3D CNN"

#: Earlier dotted path of a key and the one of now; ``*`` stands for any one name. In a run's
#: ``config.yaml`` they are read; on the command line and in files it is said what to write.
RENAMED: dict[str, str] = {
    "cohort.cleaning.scrub_mm": "cohort.cleaning.fd_threshold",
    "cleaning.scrub_mm": "cleaning.fd_threshold",
    "learning_curve.shares": "learning_curve.fractions",
    "baselines.*.share": "baselines.*.fraction",
    "suite.contenders.recipe": "suite.contenders.closed_form",
}

#: Key, or ``group=option``, of which there is none now, and what to write in its place, as the end
#: of a sentence; ``*`` stands for any one name. The longest that fits counts, and a key stands for
#: all keys below it.
REPLACED: dict[str, str] = {
    "task=start": "leave it out: a network that is fitted in closed form is trained no further",
    "task=classification": (
        "leave it out: a network that isn't fitted in closed form is trained for up to 20 epochs"
    ),
    "task.learning_rate": "write optimizer.lr",
    "task.weight_decay": "write optimizer.weight_decay",
    "task.batch_size": "write batch_size",
    "task.max_epochs": "write trainer.max_epochs, and optimizer.lr=1e-5 for what task=start had",
    "task": "write trainer.max_epochs, optimizer.lr, optimizer.weight_decay or batch_size",
}

#: Key, and the value with which it changes nothing about a run of before there was such a key.
ADDED: dict[str, Any] = {
    "loss": None,
    "scheduler": None,
    "callbacks": {},
    "augmentation.transforms": [],
    "augmentation.mirror": False,
    "trainer.gradient_clip_val": None,
    "trainer.accumulate_grad_batches": 1,
    "trainer.limit_train_batches": None,
}

#: Earlier names of the paths of the default network.
PATHS = {
    "places": "focal",
    "whole": "distributed",
    "channels": "contrast_products",
    "pairs": "voxel_pairs",
}

#: Earlier names of models of the benchmark of power.
CONTENDERS = {"recipe": "closed_form"}


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


def current_contender(name: str) -> str:
    """Say what a model of the benchmark of power is called now."""
    return CONTENDERS.get(name, name)


def current_name(dotted: str) -> str:
    """Say what a dotted name of an earlier version is called now; others stay as they are."""
    parts = dotted.split(".")
    for n in range(len(parts), 1, -1):
        if (head := ".".join(parts[:n])) in MOVED:
            return ".".join([MOVED[head], *parts[n:]])
    return dotted


def instead_of(key: str, options: Iterable[str] = ()) -> str:
    """Say what to write in place of a key of an earlier configuration; empty for any other key.

    Parameters
    ----------
    key : str
        Dotted path.
    options : iterable of str
        What was chosen, if the key is a group.
    """
    for option in options:
        if f"{key}={option}" in REPLACED:
            return REPLACED[f"{key}={option}"]
    parts = key.split(".")
    for n in range(len(parts), 0, -1):
        head = ".".join(parts[:n])
        if (renamed := _fitting(head, RENAMED)) is not None:
            now = ".".join([_filled(*renamed, head), *parts[n:]])
            return f"write {now}, which it is called now"
        if (replaced := _fitting(head, REPLACED)) is not None:
            return replaced[1]
    return ""


def instead_of_value(value: Any) -> str:
    """Say what to write in place of values of earlier versions; empty for any others."""
    names = value if isinstance(value, list) else [value]
    now = [PATHS.get(one, one) if isinstance(one, str) else one for one in names]
    return "" if now == names else f"write [{', '.join(map(str, now))}], as they are called now"


def current_targets(node: Value) -> Value:
    """Give every ``_target_`` of plain dicts and lists its name of now."""
    if isinstance(node, dict):
        return {
            key: current_name(value)
            if key == "_target_" and isinstance(value, str)
            else current_targets(value)
            for key, value in node.items()
        }  # type: ignore[return-value]
    if isinstance(node, list):
        return [current_targets(value) for value in node]  # type: ignore[return-value]
    return node


def current_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the configuration that a run kept, of whatever version, into one of now."""
    found = current_targets(dict(settings))
    for path, value in list(_leaves(found)):
        parts = path.split(".")
        for n in range(1, len(parts) + 1):
            head = ".".join(parts[:n])
            if (renamed := _fitting(head, RENAMED)) is not None:
                _put(found, ".".join([_filled(*renamed, head), *parts[n:]]), value)
                _take(found, path)
                break
    if isinstance(network := found.get("network"), dict):
        found["network"] = current_settings(network)
    found = _without_task(found)
    for path, value in ADDED.items():
        _put(found, path, value, is_kept=True)
    return found


def _without_task(settings: dict[str, Any]) -> dict[str, Any]:
    """Put what ``task`` held into the places that it has now, as the defaults where it was them."""
    network, task = settings.get("network"), settings.pop("task", None)
    if not isinstance(task, dict) or not isinstance(network, dict):
        return settings
    is_closed = "scale_space" in {
        str(network.get("_target_")).rpartition(".build_")[2], network.get("backbone")
    }  # fmt: skip
    n_epochs = task["max_epochs"]
    trainer = settings.get("trainer") or {}
    trainer |= {"max_epochs": None if n_epochs == (0 if is_closed else 20) else n_epochs}
    # without an epoch the optimiser did nothing
    adam = task if n_epochs else {"learning_rate": 1e-3, "weight_decay": 1e-2, "batch_size": 8}
    optimizer = {
        "_target_": "torch.optim.AdamW",
        "_partial_": True,
        "lr": adam["learning_rate"],
        "weight_decay": adam["weight_decay"],
        "fused": True,
    }
    now = {"optimizer": optimizer, "batch_size": adam["batch_size"], "trainer": trainer}
    return settings | now


def rename_network(found: Any) -> Any:
    """Give the network its name of now wherever an earlier version wrote it: as key or as value."""
    if isinstance(found, dict):
        return {rename_network(name): rename_network(one) for name, one in found.items()}
    if isinstance(found, list):
        return [rename_network(one) for one in found]
    return NETWORK if found == EARLIER_NETWORK else found


def _fitting(path: str, table: Mapping[str, str]) -> tuple[str, str] | None:
    """Find the line of a table for a path, of which a ``*`` fits any one name."""
    parts = path.split(".")
    for earlier, now in table.items():
        names = earlier.split(".")
        if len(names) == len(parts) and all(
            name in {"*", part} for name, part in zip(names, parts, strict=True)
        ):
            return earlier, now
    return None


def _filled(earlier: str, now: str, path: str) -> str:
    """Put what the ``*`` of an earlier path stood for into the path of now."""
    pairs = zip(earlier.split("."), path.split("."), strict=True)
    stood_for = iter([part for name, part in pairs if name == "*"])
    return ".".join(next(stood_for) if name == "*" else name for name in now.split("."))


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _put(node: dict[str, Any], path: str, value: Any, is_kept: bool = False) -> None:
    """Set a value at a dotted path; `is_kept` leaves one that is there, or has no place."""
    *parents, last = path.split(".")
    for parent in parents:
        if is_kept and not isinstance(node.get(parent), dict):
            return
        node = node.setdefault(parent, {})
    if not (is_kept and last in node):
        node[last] = value


def _take(node: dict[str, Any], path: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        node = node[parent]
    del node[last]


def finding_without_model(text: str) -> str:
    """Leave out of a finding which model it was held against, where that is how it ends.

    Findings of earlier runs have a text and no kind.
    """
    return re.sub(r"; the [^;]+ reaches [^;]+\.$", "", text)


def names_model(text: str, titles: Iterable[str]) -> bool:
    """Tell whether a finding of an earlier run names one of these models."""
    pattern = "|".join(rf"\b[Tt]he {re.escape(title)}" for title in titles)
    return re.search(pattern, text) is not None
