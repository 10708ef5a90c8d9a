"""Write the configuration reference: every key, its default, what it accepts and what it means.

All of it comes from `fmnet.config.describe`, as the help of commands does.
"""

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any

import yaml

from fmnet.config.describe import Description, Key, describe_command, describe_options

#: Commands that take a configuration.
COMMANDS = ("train", "evaluate", "export", "pretrain")
#: Groups in the order of the reference, with the page that says more.
GROUPS = {
    "cohort": "data.md",
    "cohort/cleaning": "bold.md#cleaning",
    "target": "targets.md",
    "preparation": "data.md",
    "folds": "study.md",
    "network": "networks.md",
    "models": "study.md#additional-networks",
    "baselines": "study.md#models-in-the-same-folds",
    "trainer": "training.md",
    "optimizer": "training.md",
    "scheduler": "training.md",
    "loss": "training.md",
    "augmentation": "networks.md#augmentation",
    "callbacks": "training.md",
    "logger": "run_folder.md",
    "experiment": "study.md",
    "episodes": "pretraining.md",
    "backbone": "pretraining.md#backbones",
}
#: Stands for a meaning that nobody has written.
NOTHING = "-"


def pages(configs: Path) -> dict[str, str]:
    """Write all pages of the reference, by their names in its folder."""
    commands = {name: describe_command(name) for name in COMMANDS}
    groups = {
        group.name: (group.default, group.description)
        for command in reversed(commands.values())  # what several take is told as train has it
        for group in command.groups
    }
    written = {f"{name}.md": _command_page(name, about) for name, about in commands.items()}
    for group, page in GROUPS.items():
        default, decides = groups.get(group, ("", ""))
        lines = [f"# `{group}`", "", f"{sentence(decides)} [Read more](../../{page}).", ""]
        options = describe_options(group)
        for option in sorted(options, key=lambda name: (name != default, name)):
            is_default = " (default)" if option == default else ""
            built = targets(yaml.safe_load((configs / group / f"{option}.yaml").read_text("utf-8")))
            lines += [f"## `{option}`{is_default}", "", *_option(options[option], built)]
        written[f"{_file(group)}.md"] = "\n".join(lines)
    return written


def targets(node: Any) -> Iterator[str]:
    """Name what a configuration builds, in its order."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for child in node.values():
            yield from targets(child)


def sentence(text: str, value: str = "") -> str:
    """Make a sentence in Markdown of a comment, or a line of a docstring, on a `value`."""
    text = re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))
    text = re.sub(r"[\w.]+\._target_|\w+\*", r"`\g<0>`", text)
    if not text:
        return ""
    word = re.match(r"[a-z]+(?=[ ,;:])", text)
    first = text[0].upper() + text[1:] if word and word[0] != value else text
    return first if text[-1] in ".:" else f"{first}."


def _file(group: str) -> str:
    return group.replace("/", "_")


def _command_page(name: str, about: Description) -> str:
    lines = [f"# `fmnet {name}`", "", sentence(about.summary), "", *_examples(about)]
    groups = [group for group in about.groups if group.name in GROUPS]
    if groups:
        lines += ["## Groups", "", "| group | default | decides |", "|---|---|---|"]
        lines += [
            f"| [`{group.name}`]({_file(group.name)}.md) | `{group.default}` "
            f"| {sentence(group.description)} |"
            for group in groups
        ]
        lines += [""]
    parts = {group.name for group in groups}
    keys = [key for key in about.keys if key.name.split(".")[0] not in parts]
    return "\n".join([*lines, "## Keys", "", *_keys(keys)])


def _option(about: Description, built: Iterable[str]) -> list[str]:
    lines = [sentence(about.summary), "", *_examples(about)]
    names = dict.fromkeys(built)
    if names:
        lines += [f"Builds {', '.join(_link(name) for name in names)}.", ""]
    return [*lines, *_keys(about.keys)]


def _examples(about: Description) -> list[str]:
    return ["```", *about.examples, "```", ""] if about.examples else []


def _keys(keys: Iterable[Key]) -> list[str]:
    lines = []
    for key in keys:
        accepted = f" *({key.accepted})*" if key.accepted else ""
        meaning = sentence(key.description, key.default) or NOTHING
        lines += [f"`{key.name}` = `{key.default or chr(39) * 2}`{accepted}", f": {meaning}", ""]
    return [":::{div} keys", "", *lines, ":::", ""] if lines else []


def _link(name: str) -> str:
    module, _, attribute = name.rpartition(".")
    is_documented = name.startswith("fmnet.") and getdoc(getattr(import_module(module), attribute))
    return f"{{py:obj}}`{attribute} <{name}>`" if is_documented else f"`{name}`"
