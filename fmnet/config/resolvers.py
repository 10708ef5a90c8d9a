"""What configurations can ask about the job that they belong to."""

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf


def job_part() -> str:
    """Name the job's own folder, ``/0``, ``/1``, ..., under ``--multirun``; else nothing.

    All jobs of a multirun share one date and time.
    """
    if not HydraConfig.initialized():
        return ""
    hydra = HydraConfig.get()
    return f"/{hydra.job.num}" if hydra.mode == RunMode.MULTIRUN else ""


def register_resolvers() -> None:
    """Make ``${job_part:}`` known to configurations."""
    OmegaConf.register_new_resolver("job_part", job_part, replace=True)
