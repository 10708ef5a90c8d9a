"""Write the configuration reference: every key, its default, what it accepts and what it means.

Keys, defaults and their comments come from the files in ``configs/``; what a key accepts, and its
meaning where the file has no comment, from the signature and the docstring of what the file builds.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import getdoc, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from numpydoc.docscrape import NumpyDocString

#: What each group of options decides, in the order of the reference.
GROUPS = {
    "cohort": "Where scans and people come from.",
    "cohort/cleaning": "How BOLD runs are cleaned; a part of `cohort=bold` and `cohort=synthetic_bold`.",
    "target": "What is predicted, where it is not one of two groups. See [targets](../../targets.md).",
    "preparation": "Grid, mask and smoothing of the maps.",
    "folds": "How people are divided into training and test.",
    "network": "The network that the study is about. See [networks](../../networks.md).",
    "models": "Additional networks in the same folds. See [the study](../../study.md#additional-networks).",
    "baselines": "The models that stand next to the network. See [the study](../../study.md#models-in-the-same-folds).",
    "trainer": "Lightning's `Trainer`. See [training](../../training.md).",
    "optimizer": "Any optimiser of PyTorch.",
    "scheduler": "Any learning-rate scheduler of PyTorch or Lightning; none by default.",
    "loss": "In place of the head's own loss.",
    "augmentation": "Changes of training images. See [networks](../../networks.md#augmentation).",
    "callbacks": "Callbacks of Lightning, by name.",
    "logger": "Where curves and figures are logged.",
    "experiment": "Sets of changes against the defaults, each of which answers a question.",
    "episodes": "Simulated cohorts that `fmnet pretrain` draws. See [pretraining](../../pretraining.md).",
    "backbone": "The network that `fmnet pretrain` trains.",
}
#: What each command that takes a configuration does, and the function whose parameters are its keys.
COMMANDS = {
    "train": ("Cross-validate a network and its baselines.", "fmnet.studies.study.run_study"),
    "evaluate": ("Open the lock-box of a run.", "fmnet.studies.lockbox.evaluate_lockbox"),
    "export": ("Turn a run into a bundle.", "fmnet.export.export.export_run"),
    "pretrain": ("Pretrain the default network.", "fmnet.runs.pretrained.run_pretraining"),
}
PLAIN = {
    int: "integer",
    float: "number",
    bool: "true, false",
    str: "text",
    Path: "path",
    NoneType: "null",
}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
#: Keys that speak to Hydra.
HYDRA = ("defaults", "hydra", "_target_", "_partial_", "_convert_", "_recursive_")


@dataclass(frozen=True)
class Row:
    """A key of a configuration.

    Parameters
    ----------
    key : str
        Dotted path, as on the command line.
    default : str
        Its value in YAML; empty where it is a part with keys of its own.
    accepted : str
        In words; empty where nothing says so.
    meaning : str
        In Markdown.
    """

    key: str
    default: str
    accepted: str
    meaning: str


class ConfigFile:
    """A file of ``configs/``, with its comments.

    Attributes
    ----------
    head : list of str
        Lines of the comment that it begins with.
    values : dict
        What it says, without comments.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text("utf-8")
        self.lines = self.text.splitlines()
        self.values: dict[str, Any] = yaml.safe_load(self.text) or {}
        self.node = yaml.compose(self.text)
        self.head: list[str] = []
        for line in self.lines:
            if not line.startswith("#"):
                break
            self.head.append(line.lstrip("# "))
        self.head = [line for line in self.head if not line.startswith("@package")]
        #: Whether keys are those of the whole configuration.
        self.is_global = "@package _global_" in self.text

    @property
    def target(self) -> str | None:
        """What the file builds; where it only changes values of another one, what that builds."""
        if "_target_" in self.values:
            return str(self.values["_target_"])
        named = [name for name in self.values.get("defaults", []) if isinstance(name, str)]
        beside = [self.path.with_name(f"{name}.yaml") for name in named if name != "_self_"]
        return ConfigFile(beside[0]).target if beside else None

    def rows(self, prefix: str, schema: str | None = None) -> list[Row]:
        """List the keys, with `prefix` before each; top-level ones may be those of a `schema`."""
        known = _documented(schema or self.target)
        return list(self._rows(self.node, self.values, prefix, known))

    def _rows(
        self, node: Any, values: dict[str, Any], prefix: str, target: "Documented"
    ) -> Iterator[Row]:
        for key_node, value_node in node.value if isinstance(node, yaml.MappingNode) else ():
            key = key_node.value
            if key in HYDRA:
                continue
            value, comment = values[key], self._comment(key_node.start_mark.line)
            path = f"{prefix}{key}"
            if isinstance(value, dict) and value and not value_node.flow_style:
                built = _documented(value.get("_target_"))
                if built.link:
                    yield Row(path, "", "", f"{built.link}: {_whole(comment or built.summary)}")
                yield from self._rows(value_node, value, f"{path}.", built)
            else:
                meaning = _whole(comment or target.meanings.get(key, ""))
                text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
                default = text.removesuffix("\n...").removesuffix("...").strip()
                yield Row(path, default, target.accepted.get(key, ""), meaning)

    def _comment(self, line: int) -> str:
        beside = re.search(r"\s#\s(.*)$", self.lines[line])
        if beside:
            return beside.group(1)
        above: list[str] = []
        while line > len(self.head) and self.lines[line - 1].lstrip().startswith("#"):
            line -= 1
            above.insert(0, self.lines[line].strip().lstrip("# "))
        return " ".join(above)


@dataclass(frozen=True)
class Documented:
    """What signature and docstring say of something that a config builds.

    Parameters
    ----------
    link : str
        To its page, in Markdown.
    summary : str
        First line of its docstring.
    accepted, meanings : dict
        Of its parameters, by name.
    """

    link: str
    summary: str
    accepted: dict[str, str]
    meanings: dict[str, str]


@cache
def _documented(name: str | None) -> Documented:
    if not name:
        return Documented("", "", {}, {})
    module, _, attribute = name.rpartition(".")
    target = getattr(import_module(module), attribute)
    is_own = name.startswith("fmnet.")
    link = f"{{py:obj}}`{attribute} <{name}>`" if is_own else f"`{name}`"
    if not is_own:
        meanings = {key: f"As in `{name}`." for key in signature(target).parameters}
        return Documented(link, "", {}, meanings)
    parsed = NumpyDocString(getdoc(target) or "")
    allowed = {
        key: accepted(parameter.annotation)
        for key, parameter in signature(target).parameters.items()
    }
    return Documented(link, _markdown(" ".join(parsed["Summary"])), allowed, _meanings(target))


def _meanings(target: Any) -> dict[str, str]:
    """Read the meaning of each parameter, also from a docstring that this one refers to."""
    text = getdoc(target) or ""
    known = {
        one.strip(): _markdown(" ".join(parameter.desc))
        for parameter in NumpyDocString(text)["Parameters"]
        for one in parameter.name.split(",")
    }
    for base in getattr(target, "__mro__", ())[1:-1]:
        if base.__module__.startswith("fmnet."):
            known = _meanings(base) | known
    module = import_module(target.__module__)
    for name in re.findall(r"`(\w+)`", text):
        other = getattr(module, name, None)
        if callable(other) and other is not target and other.__module__ == target.__module__:
            for key, meaning in _meanings(other).items():
                if not known.get(key) or known[key] == f"See `{name}`.":
                    known[key] = meaning
    return known


def accepted(annotation: Any) -> str:
    """Say in short words what values an annotation allows; empty where a config can't spell them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if origin is Annotated:
        limits = [
            f" {sign} {getattr(one, name)}"
            for item in arguments[1:]
            for one in (item if hasattr(item, "__iter__") else [item])
            for name, sign in SIGNS.items()
            if hasattr(one, name)
        ]
        return accepted(arguments[0]) + " and".join(limits)
    if origin is Literal:
        return ", ".join(str(value) for value in arguments)
    if origin in {Union, UnionType}:
        parts = [accepted(part) for part in arguments]
        return " or ".join(parts) if all(parts) else ""
    if origin in {list, tuple, Sequence} and arguments:
        part = accepted(arguments[0])
        return f"list of {part}" if part else "list"
    return "mapping" if {dict, Mapping} & {annotation, origin} else ""


def _markdown(text: str) -> str:
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    return " ".join(text.split())


def _list(rows: list[Row]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        default = f" = `{row.default}`" if row.default else ""
        accepted_here = f" *({row.accepted})*" if row.accepted else ""
        lines += [f"`{row.key}`{default}{accepted_here}", f": {row.meaning or '–'}", ""]
    return [":::{div} keys", "", *lines, ":::", ""] if lines else []


def _introduction(file: ConfigFile) -> list[str]:
    """Turn the comment that a file begins with into a command and a sentence."""
    said = [line for line in file.head if not line.startswith(("python ", "fmnet "))]
    commands = [line for line in file.head if line.startswith(("python ", "fmnet "))]
    text = _whole(" ".join(said))
    lines = [text, ""] if text else []
    for command in commands:
        lines += ["```", re.sub(r"^python scripts/(\w+)\.py", r"fmnet \1", command), "```", ""]
    return lines


def _whole(text: str) -> str:
    """Make a sentence of a comment."""
    text = text.strip()
    if not text:
        return ""
    first = text[0].upper() + text[1:] if re.match(r"[a-z]+[ ,;:]", text) else text
    return first if text[-1] in ".:" else f"{first}."


def _group_page(configs: Path, group: str, default: str) -> str:
    lines = [f"# `{group}`", "", GROUPS[group], ""]
    for path in sorted((configs / group).glob("*.yaml"), key=lambda p: (p.stem != default, p.stem)):
        file = ConfigFile(path)
        lines += [f"## `{path.stem}`" + (" (default)" if path.stem == default else ""), ""]
        lines += _introduction(file)
        if group == "experiment":
            body = "\n".join(one for one in file.lines if not one.startswith("#")).strip()
            lines += ["```yaml", body, "```", ""]
            continue
        if file.target:
            lines += [f"Builds {_documented(file.target).link}.", ""]
        prefix = "" if file.is_global else group.replace("/", ".") + "."
        lines += _list(file.rows(prefix)) or ["Nothing.", ""]
    return "\n".join(lines)


def _command_page(configs: Path, command: str) -> str:
    summary, schema = COMMANDS[command]
    file = ConfigFile(configs / f"{command}.yaml")
    lines = [f"# `fmnet {command}`", "", summary, ""]
    chosen = [
        entry for entry in file.values.get("defaults", []) if isinstance(entry, dict)
    ]
    groups = [
        (name, option)
        for entry in chosen
        for name, option in entry.items()
        if not name.startswith("override") and name in GROUPS
    ]
    if groups:
        lines += ["## Groups", "", "| group | default | decides |", "|---|---|---|"]
        lines += [
            f"| [`{name}`]({name.replace('/', '_')}.md) | {f'`{option}`' if option else 'none'} "
            f"| {GROUPS[name].split('. See')[0].rstrip('.')} |"
            for name, option in groups
        ]
        lines += [""]
    lines += ["## Keys", "", *_list(file.rows("", schema))]
    return "\n".join(lines)


def pages(configs: Path) -> dict[str, str]:
    """Write all pages of the reference, by their names in its folder."""
    defaults: dict[str, str] = {"cohort/cleaning": "default"}
    for command in COMMANDS:
        for entry in yaml.safe_load((configs / f"{command}.yaml").read_text())["defaults"]:
            if isinstance(entry, dict):
                for name, option in entry.items():
                    defaults.setdefault(name, option or "")
    written = {f"{command}.md": _command_page(configs, command) for command in COMMANDS}
    for group in GROUPS:
        written[f"{group.replace('/', '_')}.md"] = _group_page(
            configs, group, defaults.get(group, "")
        )
    written["index.md"] = _index()
    return written


def _index() -> str:
    lines = [
        "# Configuration",
        "",
        "Every choice is a key. On the command line `key=value` sets one, `group=option` takes one of the",
        "files of a group, and `+key=value` adds one that a file doesn't list. Misspelt keys, wrong types and",
        "unknown options are all reported before any file is opened. These pages are made from the configs and from",
        "the signatures and docstrings of what they build.",
        "",
        "In the column *default*, `???` has to be set, and `${...}` takes the value of another key.",
        "",
        "```{toctree}",
        ":caption: Commands",
        ":maxdepth: 1",
        "",
        *COMMANDS,
        "```",
        "",
        "```{toctree}",
        ":caption: Groups",
        ":maxdepth: 1",
        "",
        *(group.replace("/", "_") for group in GROUPS),
        "```",
        "",
    ]
    return "\n".join(lines)
