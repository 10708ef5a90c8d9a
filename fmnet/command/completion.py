"""Completion of ``fmnet ...`` in bash: ``eval "$(fmnet --completion)"`` switches it on."""

import contextlib
import importlib
import io
import re
from collections.abc import Mapping
from pathlib import Path

#: What bash evaluates; it asks ``fmnet --complete LINE`` at each tab. Files complete where there
#: is nothing else.
SCRIPT = r"""_fmnet() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" word cut
    word="${line##*[[:space:]]}"
    COMPREPLY=($("${COMP_WORDS[0]}" --complete "$line" 2>/dev/null))
    # bash replaces no more than what follows the last = or :, if those end words for it
    [[ $COMP_WORDBREAKS == *=* ]] && cut="${word%"${word##*[=:]}"}"
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -o bashdefault -F _fmnet fmnet"""
#: Options of commands whose settings are a configuration.
OPTIONS = ("--help", "--version", "--config-dir", "--multirun", "--cfg")
#: Options of ``fmnet`` itself.
OWN = ("--help", "--version", "--completion")


def complete(line: str, commands: Mapping[str, str]) -> list[str]:
    """List what the last word of a line can become.

    Parameters
    ----------
    line : str
        From the name of the program up to the cursor.
    commands : mapping
        Of subcommands, to module and function, ``module:function``.

    Returns
    -------
    list of str
        Whole words; empty where a file is to be named, or anything.
    """
    _, *words = line.split()
    word = words.pop() if words and not line[-1].isspace() else ""
    if not words:
        return [name for name in (*commands, *OWN) if name.startswith(word)]
    name, *before = words
    if name not in commands:
        return []
    from fmnet.config.primary import PRIMARIES  # of what follows, only what is asked for

    if name not in PRIMARIES:
        return _options(commands[name], word) if word.startswith("-") else []
    if before[-1:] == ["--config-dir"]:
        return []
    if word.startswith("-"):
        return [option for option in OPTIONS if option.startswith(word)]
    return _overrides(name, before, word)


def _options(command: str, word: str) -> list[str]:
    """List the options that the help of a command names."""
    module, function = command.split(":")
    said = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(said):
        getattr(importlib.import_module(module), function)(["--help"])
    named = re.findall(r"(?<![\w-])--[a-z][\w-]*", said.getvalue())
    return sorted({option for option in named if option.startswith(word)})


def _overrides(name: str, before: list[str], word: str) -> list[str]:
    """List keys, groups and their options, as Hydra completes them."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    from fmnet.config.check import initialised
    from fmnet.config.describe import read_groups
    from fmnet.config.primary import config_dir

    folder, given = config_dir(), [one for one in before if not one.startswith("-")]
    own = None
    if "--config-dir" in before:
        name_of_own = before[before.index("--config-dir") + 1]
        given.remove(name_of_own)
        own = Path(name_of_own).expanduser().resolve()
    groups = read_groups(folder / f"{name}.yaml")
    with initialised(folder, own):
        plugin = DefaultCompletionPlugin(GlobalHydra.instance().config_loader())
        found = plugin._query(config_name=name, line=" ".join([*given, word]))
    others = {path.name for path in folder.iterdir() if path.is_dir()} - set(groups)
    if not word.startswith("hydra"):
        others.add("hydra")
    mine = [one for one in found if re.split(r"[=./@]", one)[0] not in others]
    return [f"{one}=" if one in groups else one for one in mine]
