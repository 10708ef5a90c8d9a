"""Run a command: check its configuration, do its work, report faults plainly."""

import io
import os
import signal
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fmnet.config.check import check_config
from fmnet.config.jobs import (
    JobFailure,
    arguments_alone,
    is_submitted,
    register_resolvers,
    reporting_jobs,
    tell_lightning_rank,
)
from fmnet.config.primary import Primary, config_dir
from fmnet.earlier import current_targets
from fmnet.errors import ConfigError, Fault, FmnetError, printable

#: Flags, as Hydra's parser names them, with which Hydra prints and runs nothing.
PRINTS = ("help", "hydra_help", "cfg", "info", "shell_completion")


def run_configured(
    work: Callable[[DictConfig, Callable[..., Any]], None],
    primary: Primary,
    arguments: list[str],
    folder: Path | None = None,
    helping: Callable[[list[str], Path | None], str] | None = None,
) -> int:
    """Do a command's work with the configuration that its arguments ask for.

    Wrong configurations are refused before Hydra starts, with all their faults. A user-facing
    error in the work, or a file that can't be read or written, ends the program with its message
    and status 2, without a traceback. Of jobs on a cluster, each failure is reported so.

    Parameters
    ----------
    work : callable
        Takes the configuration, and what the name of the schema stands for.
    primary : Primary
        Where the configuration starts.
    arguments : list of str
        Those of the command line after the name of the command.
    folder : Path, optional
        Of configurations, by default fmnet's own.
    helping : callable, optional
        Writes the help from overrides and the folder of the user's own configurations; by default,
        Hydra does.

    Returns
    -------
    int
        0; what fails ends the program with 2.
    """
    register_resolvers()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names may hold what the terminal can't show
            stream.reconfigure(errors="backslashreplace")
    flags = _flags(primary, arguments)
    try:
        configs = config_dir() if folder is None else folder
        own = _own_folder(flags.config_dir)
        if flags.help and helping is not None:
            print(helping(flags.overrides, own), flush=True)
            return 0
        if not any(getattr(flags, name) for name in PRINTS):
            is_sweep = flags.multirun or "hydra.mode=MULTIRUN" in flags.overrides
            name = flags.config_name or primary.name
            check_config(
                configs, name, flags.overrides, primary.schema, is_sweep, primary.passed, own
            )
    except (FmnetError, OSError) as error:
        _stop(error)

    # what starts this program again, for a further process or a job: a script, or fmnet's name
    n_before = len(sys.argv) - len(arguments)
    before = sys.argv[1:n_before] if sys.argv[n_before:] == arguments else [primary.name]
    program = [str(Path(sys.argv[0]).resolve()), *before]
    given = [text for text in arguments if text not in flags.overrides]

    def guarded(config: DictConfig) -> JobFailure | None:
        register_resolvers()
        sys.argv = [*program, *arguments_alone(given, config)]
        plain = OmegaConf.to_container(config, resolve=True)
        config = DictConfig(current_targets(plain))
        this_work = partial(work, config, primary.function())
        if is_submitted():
            tell_lightning_rank()
            return _work_as_job(this_work)
        try:
            this_work()
        except (FmnetError, OSError) as error:
            _stop(error)
        return None

    sys.argv = [program[0], *flags.overrides, *given]  # which Hydra reads, in no other order
    main = hydra.main(version_base="1.3", config_path=str(configs), config_name=primary.name)
    try:
        with reporting_jobs():
            main(guarded)()
    except FmnetError as error:
        _stop(error)
    return 0


def _flags(primary: Primary, arguments: list[str]) -> Namespace:
    """Read arguments, overrides before and after options."""
    parser = get_args_parser()
    parser.prog = f"fmnet {primary.name}"
    parser.usage = f"{parser.prog} [group=option ...] [key=value ...] [options]; see --help"
    flags, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        options = [text for action in parser._actions for text in action.option_strings]
        close = get_close_matches(unknown[0], options, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
    return flags


def _own_folder(name: str | None) -> Path | None:
    if name is None or Path(name).is_dir():
        return None if name is None else Path(name).resolve()
    found = "nothing" if not Path(name).exists() else "a file"
    accepted = "a folder of configurations, as DIR/cohort/ours.yaml for cohort=ours"
    raise ConfigError(Fault(f"--config-dir {name}", found, accepted, "correct the path"))


def build(config: DictConfig) -> dict[str, Any]:
    """Turn a configuration into what its targets build, by top-level key.

    Raises
    ------
    FmnetError, OSError
        As the component raised it, not as Hydra wraps it.
    """
    try:
        built: dict[str, Any] = instantiate(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, (FmnetError, OSError)):
            raise error.__cause__ from None
        if isinstance(error.__cause__, (ValueError, TypeError, AssertionError)):
            target, *_, last = [line for line in str(error).splitlines() if line.strip()]
            where = last.removeprefix("full_key:").strip()
            found = f"{type(error.__cause__).__name__}: {error.__cause__} ({target.rstrip(':')})"
            accepted = "settings with which the component can be made"
            raise ConfigError(Fault(where, found, accepted, "correct them")) from error
        raise
    return built


def show(lines: Iterable[str]) -> None:
    """Print lines that hold names of subjects, groups and folders, which may steer no terminal."""
    for line in "\n".join(lines).split("\n"):
        print(printable(line))


def _work_as_job(work: Callable[[], None]) -> JobFailure | None:
    """Work where nobody looks: what fails is written to the job's log and told to who waits."""
    try:
        work()
    except (FmnetError, OSError) as error:
        report = str(_plain(error))
        print(report, file=sys.stderr)
        return JobFailure(report)
    except Exception as error:  # noqa: BLE001 (its traceback would be lost with the process)
        traceback.print_exc()
        return JobFailure(f"{type(error).__name__}: {error}")
    return None


def _plain(error: FmnetError | OSError) -> FmnetError:
    return file_report(error) if isinstance(error, OSError) else error


def _stop(error: FmnetError | OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):  # who read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of processes that share trainings, one speaks
        print(_plain(error), file=sys.stderr)
    sys.exit(2)


def file_report(error: OSError) -> FmnetError:
    """Say which file the system refused, and why."""
    names = [str(name) for name in (error.filename, error.filename2) if name]
    return FmnetError(
        Fault(
            " and ".join(names) or "a file or connection",
            error.strerror or str(error) or type(error).__name__,
            "files that can be read and folders that can be written",
            "correct the path, its permissions or the space on the disk",
        )
    )
