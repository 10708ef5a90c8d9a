"""``fmnet SUBCOMMAND ...``: find the subcommand and call it."""

import importlib
import sys

import fmnet

#: Subcommand, the module and function that do it, and what it does.
COMMANDS = {
    "predict": ("fmnet.inference.cli:main", "score new scans with an exported signature"),
    "explain": (
        "fmnet.inference.explain_command:main",
        "say what raised and what lowered the score of one scan",
    ),
    "compare": ("fmnet.command.compare:main", "put finished runs side by side"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``fmnet`` with its arguments, by default those of the command line.

    Returns
    -------
    int
        What the subcommand returns; 2 if there is none of that name.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--version"]:
        print(f"fmnet {fmnet.__version__}")
        return 0
    name = given[0] if given else "--help"
    if name not in COMMANDS:
        print("\n".join(f"fmnet {name:20} {about}" for name, (_, about) in COMMANDS.items()))
        return 0 if name in ("-h", "--help") else 2
    module, function = COMMANDS[name][0].split(":")
    status: int = getattr(importlib.import_module(module), function)(given[1:])
    return status
