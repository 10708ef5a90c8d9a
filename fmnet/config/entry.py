"""Run a script: check its configuration, do its work, report faults plainly."""

import io
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fmnet.config.check import Schema, check_config
from fmnet.config.jobs import (
    JobFailure,
    arguments_alone,
    is_submitted,
    register_resolvers,
    reporting_jobs,
    tell_lightning_rank,
)
from fmnet.earlier import current_targets
from fmnet.errors import ConfigError, Fault, FmnetError, printable

#: Flags, as Hydra's parser names them, with which Hydra prints and runs nothing.
PRINTS = ("help", "hydra_help", "cfg", "info", "shell_completion")


def run_script(
    work: Callable[[DictConfig], None],
    config_dir: Path,
    config_name: str,
    schema: Schema,
    passed: tuple[str, ...] = (),
) -> None:
    """Run a script's work with the configuration of the command line.

    Wrong configurations are refused before Hydra starts, with all their faults. A user-facing
    error in the work, or a file that can't be read or written, ends the program with its message
    and status 2, without a traceback. Of jobs on a cluster, each failure is reported so.

    The other arguments are those of `fmnet.config.check.check_config`.
    """
    register_resolvers()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names may hold what the terminal can't show
            stream.reconfigure(errors="backslashreplace")
    flags = get_args_parser().parse_args()
    if not any(getattr(flags, name) for name in PRINTS):
        is_sweep = flags.multirun or "hydra.mode=MULTIRUN" in flags.overrides
        own = Path(flags.config_dir).resolve() if flags.config_dir else None
        lines = [*flags.overrides, *([f"hydra.searchpath=['file://{own}']"] if own else [])]
        try:
            name = flags.config_name or config_name
            check_config(config_dir, name, lines, schema, is_sweep, passed)
        except (FmnetError, OSError) as error:
            _stop(error)

    script = str(Path(sys.argv[0]).resolve())
    given = [text for text in sys.argv[1:] if text not in flags.overrides]

    def guarded(config: DictConfig) -> JobFailure | None:
        register_resolvers()
        sys.argv = [script, *arguments_alone(given, config)]
        plain = OmegaConf.to_container(config, resolve=True)
        config = DictConfig(current_targets(plain))
        if is_submitted():
            tell_lightning_rank()
            return _work_as_job(work, config)
        try:
            work(config)
        except (FmnetError, OSError) as error:
            _stop(error)
        return None

    main = hydra.main(version_base="1.3", config_path=str(config_dir), config_name=config_name)
    try:
        with reporting_jobs():
            main(guarded)()
    except FmnetError as error:
        _stop(error)


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


def _work_as_job(work: Callable[[DictConfig], None], config: DictConfig) -> JobFailure | None:
    """Work where nobody looks: what fails is written to the job's log and told to who waits."""
    try:
        work(config)
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
