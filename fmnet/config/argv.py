"""The command line of one job, whoever started it."""

from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

#: Flags that ask for several jobs.
SEVERAL = ("-m", "--multirun")
#: Hydra's own settings that a job by itself needs as well; the others say how jobs are started.
KEPT = "hydra.searchpath"
#: Derived from date and time by default: given, every process of a job has the same.
FOLDER = "run_dir"


def arguments_alone(flags: Sequence[str], config: DictConfig) -> list[str]:
    """List the arguments that run a job of a multirun, or a run, by itself in the same folder.

    Parameters
    ----------
    flags : sequence of str
        What the program was called with, besides overrides.
    config : DictConfig
        Of the job.
    """
    overrides = HydraConfig.get().overrides
    hydra_own = [text for text in overrides.hydra if text.startswith(KEPT)]
    task = [text for text in overrides.task if text.split("=", 1)[0] != FOLDER]
    folder = OmegaConf.select(config, FOLDER)
    place = [] if folder is None else [f"{FOLDER}={_quote(str(folder))}"]
    return [*(flag for flag in flags if flag not in SEVERAL), *hydra_own, *task, *place]


def _quote(text: str) -> str:
    """Quote what Hydra's grammar would read as more than a name."""
    if text.replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum():
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
