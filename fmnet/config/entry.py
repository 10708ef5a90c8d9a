"""What every script does around its work: check the configuration, report faults plainly."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from fmnet.config.check import Schema, check_config
from fmnet.errors import FmnetError

#: Flags, as Hydra's parser names them, with which Hydra prints and runs nothing.
PRINTS = ("help", "hydra_help", "cfg", "info", "shell_completion")


def run_script(
    work: Callable[[DictConfig], None], config_dir: Path, config_name: str, schema: Schema
) -> None:
    """Run a script's work with the configuration of the command line.

    Wrong configurations are refused before Hydra starts, with all their faults. A user-facing
    error in the work ends the program with its message and status 2, without a traceback.

    Parameters
    ----------
    work : callable
        Takes the composed configuration.
    config_dir, config_name
        Absolute folder, and primary config in it.
    schema : callable
        What the configuration is passed to, see `fmnet.config.check.check_config`.
    """
    flags = get_args_parser().parse_args()
    if not any(getattr(flags, name) for name in PRINTS):
        is_sweep = flags.multirun or "hydra.mode=MULTIRUN" in flags.overrides
        own = Path(flags.config_dir).resolve() if flags.config_dir else None
        lines = [*flags.overrides, *([f"hydra.searchpath=['file://{own}']"] if own else [])]
        try:
            check_config(config_dir, flags.config_name or config_name, lines, schema, is_sweep)
        except FmnetError as error:
            _stop(error)

    def guarded(config: DictConfig) -> None:
        try:
            work(config)
        except FmnetError as error:
            _stop(error)

    hydra.main(version_base="1.3", config_path=str(config_dir), config_name=config_name)(guarded)()


def build(config: DictConfig) -> dict[str, Any]:
    """Turn a configuration into what its targets build, by top-level key.

    Raises
    ------
    FmnetError
        As the component raised it, not as Hydra wraps it.
    """
    try:
        built: dict[str, Any] = instantiate(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, FmnetError):
            raise error.__cause__ from None
        raise
    return built


def _stop(error: FmnetError) -> NoReturn:
    print(error, file=sys.stderr)
    sys.exit(2)
