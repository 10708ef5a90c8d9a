"""Describe the keys of a configuration, from the comments of its files and from docstrings.

A comment after a key describes it, and so do lines of comment right above it. Where there is none,
the docstring of what the key is passed to does; of it, nothing is imported.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fmnet.config.check import initialised
from fmnet.config.primary import PRIMARIES, config_dir
from fmnet.config.signatures import RESERVED, describe
from fmnet.config.source import read_signature
from fmnet.earlier import current_name

#: What lines of comment at the top of a file start with that are commands to try.
EXAMPLES = ("fmnet ", "python ")


@dataclass(frozen=True)
class Key:
    """One key of a configuration.

    Parameters
    ----------
    name : str
        Dotted, as it is written on the command line.
    default : str
        Its value as it is written there; ``???`` if there is none, ``${key}`` for that of another.
    description : str
        What it is, in a sentence or a few words.
    target : str
        Dotted name of the function or class that takes it; empty if it isn't known.
    """

    name: str
    default: str
    description: str
    target: str = ""

    @property
    def accepted(self) -> str:
        """Values that it takes, in words; empty if they are not those of a plain type."""
        read = read_signature(current_name(self.target)) if self.target else None
        hints = {} if read is None else read.hints
        name = self.name.split(".")[-1]
        return describe(hints[name]) if name in hints else ""


@dataclass(frozen=True)
class Group:
    """A group of a configuration, of which one option is chosen: ``folds=repeated``.

    Parameters
    ----------
    name, default, description : str
        The default is the option chosen, unless overrides choose another; ``null`` for none.
    options : list of str
    """

    name: str
    default: str
    description: str
    options: list[str]


@dataclass(frozen=True)
class Description:
    """What a command, or an option of a group, is and takes.

    Parameters
    ----------
    summary : str
        In a sentence or a few.
    examples : list of str
        Commands to try.
    groups : list of Group
    keys : list of Key
        In the order of the files.
    """

    summary: str
    examples: list[str]
    groups: list[Group]
    keys: list[Key]


def describe_command(
    name: str,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    own: Path | None = None,
) -> Description:
    """Describe the keys and groups that a command such as ``train`` takes.

    Parameters
    ----------
    name : str
        Of its primary configuration.
    overrides : sequence of str, optional
        Of the command line; the keys are those of the options that they choose.
    folder : Path, optional
        Of configurations, by default fmnet's own.
    own : Path, optional
        Folder of the user's own configurations, which is searched as well.
    """
    folder = config_dir() if folder is None else folder
    lines = list(overrides)
    with initialised(folder, own):
        config = compose(name, overrides=lines, return_hydra_config=True)
        chosen: dict[str, Any] = dict(config.hydra.runtime.choices)
        folders = [folder, *([own] if own else [])]
        comments = _Comments.of(folders, name, lines)
        groups = [
            Group(group, _written(chosen.get(group)), about, _options_of(group, folders))
            for group, about in read_groups(folder / f"{name}.yaml").items()
        ]
    schema = PRIMARIES[name].schema if name in PRIMARIES else ""
    keys = list(_all_keys(config, schema, comments.keys))
    return Description(comments.summary, comments.examples, groups, keys)


def _options_of(group: str, folders: Sequence[Path]) -> list[str]:
    paths = [path for one in folders for path in (one / group.split("@")[0]).glob("*.yaml")]
    return sorted({path.stem for path in paths})


def describe_options(group: str, folder: Path | None = None) -> dict[str, Description]:
    """Describe each option of a group such as ``folds``, with its keys.

    Parameters
    ----------
    group : str
    folder : Path, optional
        Of configurations, by default fmnet's own.

    Returns
    -------
    dict
        Option to its description, which has no groups.
    """
    folder = config_dir() if folder is None else folder
    described = {}
    with initialised(folder):
        for name in _options_of(group, [folder]):
            path = f"{group}/{name}"
            comments = _Comments.of([folder], path)
            if _is_global(folder / f"{path}.yaml"):  # it changes other groups, too
                config = compose("train", overrides=[f"{group}={name}"])
                own = _leaves(OmegaConf.to_container(OmegaConf.load(folder / f"{path}.yaml")))
                everything = (
                    _Comments.of([folder], "train", [f"{group}={name}"]).keys | comments.keys
                )
                schema = PRIMARIES["train"].schema
                keys = [one for one in _all_keys(config, schema, everything) if one.name in own]
            else:
                keys = list(_all_keys(compose(path), "", comments.keys))
            described[name] = Description(comments.summary, comments.examples, [], keys)
    return described


@dataclass(frozen=True)
class _Comments:
    """What the comments of a configuration's files say: of the first, and of keys by path."""

    summary: str
    examples: list[str]
    keys: dict[str, str]

    @classmethod
    def of(cls, folders: Sequence[Path], name: str, overrides: Sequence[str] = ()) -> "_Comments":
        """Read the files that a configuration is composed of; Hydra has to be initialised."""
        chosen = [(name, "")]
        if not _is_global(folders[0] / f"{name}.yaml"):
            loader = GlobalHydra.instance().config_loader()
            listed = loader.compute_defaults_list(name, list(overrides), RunMode.RUN).defaults
            chosen = [(one.config_path, one.package or "") for one in listed if one.config_path]
        keys: dict[str, str] = {}
        for path, package in chosen:
            prefix = "" if package in ("", "_global_") else f"{package}."
            for folder in folders:
                if not path.startswith("hydra/") and (folder / f"{path}.yaml").is_file():
                    read = _read_comments(folder / f"{path}.yaml")
                    keys |= {f"{prefix}{key}": text for key, text in read.items() if key}
        head = _read_comments(folders[0] / f"{name}.yaml").get("", "").splitlines()
        examples = [line for line in head if line.startswith(EXAMPLES)]
        return cls(" ".join(line for line in head if line not in examples), examples, keys)


def _is_global(path: Path) -> bool:
    return path.is_file() and path.read_text("utf-8").startswith("# @package _global_")


def _read_comments(path: Path) -> dict[str, str]:
    """Read the comments of a file by dotted key; those at its top have no key.

    What is written over several lines within brackets is no block of keys.
    """
    comments: dict[str, str] = {}
    above: list[str] = []
    parents: list[tuple[int, str]] = []
    is_head = True
    for line in path.read_text("utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            if not text.startswith("# @package"):
                above.append(text.lstrip("# "))
            continue
        if is_head and above:
            comments[""], above = "\n".join(above), []
        is_head = is_head and not text
        match = re.match(r"( *)([\w.@/-]+):(?: |$)", line)
        if match is None:
            above = []
            continue
        depth, name = len(match[1]), match[2]
        parents = [*(one for one in parents if one[0] < depth), (depth, name)]
        after = re.search(r"\s#\s+(.*)$", line)
        said = " ".join([*above, *([after[1]] if after else [])])
        above = []
        if said:
            comments[".".join(one for _, one in parents)] = said
    return comments


def read_groups(path: Path) -> dict[str, str]:
    """Read the groups of a primary configuration, and what its comments say of each."""
    groups = {}
    for line in path.read_text("utf-8").splitlines():
        if match := re.match(r"  - ([\w/@.]+): [\w.]+(?:\s+#\s+(.*))?$", line):
            groups[match[1]] = match[2] or ""
    return groups


def _leaves(node: Any, path: str = "") -> set[str]:
    """List the dotted paths of all values and parts of a file."""
    paths = {path}
    if isinstance(node, dict):
        for name, value in node.items():
            paths |= _leaves(value, f"{path}.{name}" if path else str(name))
    return paths


def _all_keys(config: DictConfig, schema: str, comments: dict[str, str]) -> Iterator[Key]:
    plain: Any = OmegaConf.to_container(config, resolve=False)  # references as they are written
    return _keys(plain, "", schema, comments)


def _keys(node: dict[str, Any], path: str, target: str, comments: dict[str, str]) -> Iterator[Key]:
    """List the keys below a node, that a function or class of a dotted name takes."""
    for name, value in node.items():
        if name in RESERVED or (not path and name == "hydra"):
            continue
        key = f"{path}.{name}" if path else name
        is_parts = isinstance(value, dict) and (not target or _holds_targets(value) or not path)
        if is_parts and (value or not target):
            yield from _keys(value, key, str(value.get("_target_", "")), comments)
            continue
        said = comments.get(key, "")
        if not said and target and (read := read_signature(current_name(target))) is not None:
            said = read.descriptions.get(name, "")
        if not said and isinstance(value, str) and value.startswith("${"):
            said = f"as {value.strip('${}')}"
        yield Key(key, _written(value), said, target)


def _holds_targets(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(map(_holds_targets, value.values()))
    return False


def _written(value: Any) -> str:
    """Write a value as on the command line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
