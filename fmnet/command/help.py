"""The help of commands whose settings are a configuration."""

import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

from fmnet.config.describe import Description, describe_command

#: Columns of names before their descriptions, and fewest and most columns of a line.
NAMES, NARROW, WIDE = 34, 60, 110
OPTIONS = {
    "--config-dir DIR": "folder of your own configurations: DIR/cohort/ours.yaml is cohort=ours",
    "-m, --multirun": "a run for each of several values: key=1,2,3",
    "--cfg job": "print the configuration and run nothing",
    "--version": "print the version",
    "-h, --help": "this text; with overrides, the keys of the options that they choose",
}


def write_help(name: str, overrides: list[str], own: Path | None = None) -> str:
    """Say what a command takes: examples, groups, keys with defaults, options.

    Parameters
    ----------
    name : str
        Of the command, and of its primary configuration.
    overrides : list of str
        Of the command line.
    own : Path, optional
        Folder of the user's own configurations.
    """
    width = max(NARROW, min(WIDE, shutil.get_terminal_size().columns))
    return "\n".join(_sections(name, describe_command(name, overrides, own=own), width))


def _sections(name: str, described: Description, width: int) -> Iterator[str]:
    group = "[group=option ...] " if described.groups else ""
    yield f"usage: fmnet {name} {group}[key=value ...] [options]\n"
    yield textwrap.fill(described.summary, width)
    yield "\nexamples:"
    yield from (f"  {example}" for example in described.examples)
    if described.groups:
        yield f"\ngroups (group=option; fmnet {name} GROUP=OPTION --help shows the option's keys):"
    for one in described.groups:
        options = f"({', '.join(one.options)})"
        yield from _entry(f"{one.name}={one.default}", f"{one.description} {options}", width)
    yield "\nkeys, with the values that they have unless others are given; ??? has to be given:"
    groups = {one.name for one in described.groups}
    for key in (one for one in described.keys if one.name not in groups):
        # of fmnet's own: to read the annotations of others takes a while
        accepted = key.accepted if key.target.startswith("fmnet.") else ""
        choice = f" ({accepted})" if "'" in accepted else ""
        about = f"{key.description.rstrip('.')}{choice}".replace("``", "").replace("`", "")
        yield from _entry(f"{key.name}={key.default}", about, width)
    yield "\noptions:"
    for option, about in OPTIONS.items():
        yield from _entry(option, about, width)


def _entry(name: str, about: str, width: int) -> list[str]:
    """Write a name and what it is beside it, or below a name that is long."""
    indent = " " * (NAMES + 2)
    body = textwrap.wrap(about, width, initial_indent=indent, subsequent_indent=indent)
    head = f"  {name}"
    if body and len(head) < NAMES + 1:
        return [head.ljust(NAMES + 2) + body[0].lstrip(), *body[1:]]
    return [head, *body]
