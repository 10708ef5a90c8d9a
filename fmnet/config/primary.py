"""The configurations that commands start from, and the folder they lie in."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import fmnet
from fmnet.errors import ConfigError, Fault


@dataclass(frozen=True)
class Primary:
    """A configuration that a command starts from.

    Parameters
    ----------
    name : str
        Of its file, without ``.yaml``.
    schema : str
        Dotted name of the function whose parameters are the top-level keys; imported only when its
        work is to be done, since some take seconds to import.
    passed : tuple of str
        Parameters that the command passes itself, so that they are no keys.
    """

    name: str
    schema: str
    passed: tuple[str, ...] = ()

    def function(self) -> Callable[..., Any]:
        """Import what the name of the schema stands for."""
        module, _, name = self.schema.rpartition(".")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


PRIMARIES = {
    primary.name: primary
    for primary in (
        Primary("train", "fmnet.studies.study.run_study", ("config_yaml",)),
        Primary("evaluate", "fmnet.studies.lockbox.evaluate_lockbox"),
        Primary("export", "fmnet.export.export.export_run"),
        Primary("pretrain", "fmnet.runs.pretrained.run_pretraining", ("config_yaml", "command")),
    )
}


def config_dir() -> Path:
    """Find the folder of fmnet's own configurations.

    Returns
    -------
    Path
        ``configs`` within the installed package; in a checkout, ``configs`` beside it.

    Raises
    ------
    ConfigError
        If neither is there.
    """
    package = Path(fmnet.__file__).resolve().parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    found = f"no configs with a train.yaml in {package} or beside it"
    accepted = "fmnet installed from a wheel, or its whole source folder"
    raise ConfigError(Fault("fmnet", found, accepted, "install fmnet again"))
