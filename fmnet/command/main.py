"""``fmnet SUBCOMMAND ...``: find the subcommand and call it."""

import importlib
import os
import signal
import sys
from contextlib import suppress
from difflib import get_close_matches

import fmnet
from fmnet.command.completion import SCRIPT, complete

#: Subcommand, the module and function that do it, and what it does; imported when it is called.
COMMANDS = {
    "train": (
        "fmnet.command.configured:train",
        "cross-validate a network beside its baselines, train the final models, report",
    ),
    "evaluate": (
        "fmnet.command.configured:evaluate",
        "score the people set aside in a run's lock-box, once",
    ),
    "export": (
        "fmnet.command.configured:export",
        "turn a finished run into a bundle that reads new scans",
    ),
    "predict": ("fmnet.inference.cli:main", "score new scans with an exported signature"),
    "explain": (
        "fmnet.inference.explain_command:main",
        "say what raised and what lowered the score of one scan",
    ),
    "check": ("fmnet.command.check:main", "check a BIDS data set, raw or preprocessed"),
    "make-cohort": ("fmnet.command.cohorts:make_cohort", "write a synthetic cohort of maps"),
    "make-bold-cohort": (
        "fmnet.command.cohorts:make_bold_cohort",
        "write a synthetic cohort of BOLD runs",
    ),
    "make-target-cohort": (
        "fmnet.command.cohorts:make_target_cohort",
        "write a synthetic cohort of maps with outcomes",
    ),
    "pretrain": (
        "fmnet.command.configured:pretrain",
        "pretrain the default network on simulated cohorts",
    ),
    "compare": ("fmnet.command.compare:main", "set several runs side by side in one table"),
}
#: Those that need more than the base install: what is to be installed.
EXTRAS = {
    **dict.fromkeys(("train", "evaluate", "export", "pretrain", "compare"), "fmnet[train]"),
    **dict.fromkeys(("make-cohort", "make-bold-cohort", "make-target-cohort"), "fmnet[bold]"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``fmnet`` with its arguments, by default those of the command line.

    Whoever interrupts it, or reads no more of what it prints, sees no traceback.

    Returns
    -------
    int
        What the subcommand returns; 2 if there is none of that name, if it needs what is not
        installed, or if the system refuses a file; 130 if it is interrupted, 141 if nobody reads
        what it prints.
    """
    given = sys.argv[1:] if arguments is None else arguments
    name, *rest = given or ["--help"]
    try:
        try:
            return _call(name, rest)
        finally:
            sys.stdout.flush()  # else a closed pipe is found out when Python has ended
    except (KeyboardInterrupt, SystemExit) as stop:
        # Lightning makes an exit of an interruption
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        goes_on = "; the same command goes on from there" if name in ("train", "pretrain") else ""
        print(f"\nfmnet {name}: stopped{goes_on}", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as error:
        with suppress(OSError, ValueError):  # what is left can be written to nobody
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE
        where = error.filename or "what is printed"
        print(f"fmnet {name}: {where}: {error.strerror or error}", file=sys.stderr)
        return 2


def _call(name: str, rest: list[str]) -> int:
    if name == "--version" or (name in COMMANDS and "--version" in rest):
        print(f"fmnet {fmnet.__version__}")
        return 0
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if name == "--completion":
        print(SCRIPT)
        return 0
    if name == "--complete":  # asked by what --completion prints
        names = {command: where for command, (where, _) in COMMANDS.items()}
        print("\n".join(complete(rest[0], names)))
        return 0
    if name not in COMMANDS:
        print(_unknown(name), file=sys.stderr)
        return 2
    module, function = COMMANDS[name][0].split(":")
    try:
        status: int = getattr(importlib.import_module(module), function)(rest)
    except ModuleNotFoundError as error:
        lacking = (error.name or "fmnet").split(".")[0]
        if lacking == "fmnet" or name not in EXTRAS:
            raise
        print(
            f"fmnet {name} needs {lacking}, which is not installed: run "
            f"pip install '{EXTRAS[name]}'",
            file=sys.stderr,
        )
        return 2
    return status


def _overview() -> str:
    listed = "\n".join(f"  {name:20}{about}" for name, (_, about) in COMMANDS.items())
    return f"""usage: fmnet COMMAND [arguments]

Fibromyalgia signatures from fMRI, beside their baselines. Research use only.

commands:
{listed}

options:
  --help              this text; after a command, what it takes
  --version           the version
  --completion        what switches completion on in bash: eval "$(fmnet --completion)"

examples:
  fmnet train experiment=quick run_dir=outputs/first
  fmnet predict checkpoints/demo sub-01_statmap.nii.gz --out scores.tsv"""


def _unknown(name: str) -> str:
    close = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}?" if close else "see fmnet --help."
    return f"fmnet: there is no command {name!r} among {', '.join(COMMANDS)}; {meant}"
