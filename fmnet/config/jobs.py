"""Name, report and rerun the jobs of a multirun, on this machine or on a cluster."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fmnet.errors import Fault, JobError

#: In the dotted name of the launchers that leave jobs to other processes.
LAUNCHER = "submitit"
#: Starts the lines that the launcher adds to what a job prints.
NOISE = "submitit "

#: Where the tasks of local jobs meet: a port of each job's own.
FIRST_PORT, N_PORTS = 20_000, 20_000


@dataclass(frozen=True)
class JobFailure:
    """What a job that failed returns to the process that waits for it."""

    report: str


@dataclass(frozen=True)
class Job:
    """One job as its files show it.

    `stem` is what the names of its files start with.
    """

    number: int
    overrides: tuple[str, ...]
    stem: Path

    @property
    def log(self) -> Path:
        """What it said on the way."""
        return self.stem.with_name(f"{self.stem.name}_0_log.err")

    def failure(self) -> str:
        """Say why there is no result; empty if there is one."""
        path = self.stem.with_name(f"{self.stem.name}_0_result.pkl")
        if not path.exists():
            return "no result: the job was killed, or has not ended yet"
        outcome, result = _load(path)
        if outcome == "error":
            return str(result).strip().splitlines()[-1]
        returned = result._return_value
        if isinstance(returned, JobFailure):
            return returned.report.rstrip(".")
        return str(returned) if isinstance(returned, BaseException) else ""

    def printed(self) -> str:
        """Read what it printed."""
        path = self.stem.with_name(f"{self.stem.name}_0_log.out")
        lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        return "\n".join(line for line in lines if not line.startswith(NOISE))


class JobReport(Callback):
    """Hydra calls this when a multirun starts."""

    folder: ClassVar[Path | None] = None
    started: ClassVar[float] = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Say where jobs will write, if a cluster runs them."""
        if not _is_cluster(config):
            return
        folder = str(OmegaConf.select(config, "hydra.launcher.submitit_folder"))
        JobReport.folder, JobReport.started = Path(folder.split("%")[0]), time.time() - 1
        # Hydra would print what jobs raise in its own way, and end the program
        os.environ["HYDRA_FULL_ERROR"] = "1"
        print(f"waiting for jobs, which write to {JobReport.folder}", flush=True)


def is_submitted() -> bool:
    """Tell whether this is a job that a cluster runs."""
    return HydraConfig.initialized() and _is_cluster(DictConfig({"hydra": HydraConfig.get()}))


def tell_lightning_rank() -> None:
    """Tell Lightning which of a local job's tasks this is; of those of SLURM it knows by itself."""
    n_tasks = os.environ.get("SUBMITIT_LOCAL_NTASKS", "1")
    if os.environ.get("SUBMITIT_EXECUTOR") == "local" and n_tasks != "1":
        port = FIRST_PORT + int(os.environ["SUBMITIT_LOCAL_JOB_ID"]) % N_PORTS
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "NODE_RANK": "0",
            "LOCAL_RANK": os.environ["SUBMITIT_LOCAL_LOCALID"],
            "WORLD_SIZE": n_tasks,
        }


def _is_cluster(config: DictConfig) -> bool:
    return LAUNCHER in str(OmegaConf.select(config, "hydra.launcher._target_"))


@contextmanager
def reporting_jobs() -> Iterator[None]:
    """Print what jobs of a cluster printed, and raise what became of the others.

    Raises
    ------
    JobError
        If jobs can't be submitted, or fail; with the name and the log of each that did.
    """
    JobReport.folder = None
    problem: Exception | None = None
    try:
        yield
    except (RuntimeError, ValueError, NameError) as error:
        if JobReport.folder is None:
            raise
        problem = error
    if JobReport.folder is None:
        return
    jobs = find_jobs(JobReport.folder, JobReport.started)
    if problem is not None and not jobs:
        raise JobError(
            Fault(
                "hydra/launcher",
                " ".join(str(problem).split()),
                "jobs that can be submitted from here",
                "call this where sbatch and srun are found, correct hydra.launcher.*, or try "
                "hydra/launcher=submitit_local",
            )
        ) from problem
    _report(jobs)
    if problem is not None:
        raise problem


def _report(jobs: list[Job]) -> None:
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if jobs else set()
    faults = []
    for job in jobs:
        own = [text for text in job.overrides if text not in shared]
        name = f"job {job.number} ({' '.join(own)})" if own else "the job"
        if failure := job.failure():
            action = f"read {job.log}; the same command goes on with what is done"
            faults.append(Fault(name, failure, "a job that comes to its end", action))
        else:
            print(f"{name}:\n{job.printed()}\n")
    if faults:
        raise JobError(faults)


def find_jobs(folder: Path, started: float) -> list[Job]:
    """Find the jobs whose files are in a folder, as far as they are newer than a time."""
    jobs = []
    for path in folder.rglob("*_submitted.pkl"):
        if path.stat().st_mtime >= started:
            overrides, _, number, *_ = _load(path).args
            stem = path.with_name(path.name.removesuffix("_submitted.pkl"))
            jobs.append(Job(number, tuple(overrides), stem))
    return sorted(jobs, key=lambda job: job.number)


def _load(path: Path) -> Any:
    """Read a file that the launcher has written for jobs of this call, and reads in this way."""
    import cloudpickle  # comes with the launcher, which base installs lack

    with path.open("rb") as file:
        return cloudpickle.load(file)


def job_part() -> str:
    """Name the job's own folder, ``/0``, ``/1``, ..., under ``--multirun``; else nothing.

    All jobs of a multirun share one date and time.
    """
    if not HydraConfig.initialized():
        return ""
    hydra = HydraConfig.get()
    return f"/{hydra.job.num}" if hydra.mode == RunMode.MULTIRUN else ""


def register_resolvers() -> None:
    """Make ``${job_part:}`` and ``${first_of:...}`` known to configurations."""
    OmegaConf.register_new_resolver("job_part", job_part, replace=True)
    OmegaConf.register_new_resolver("first_of", first_of, replace=True)


def first_of(*values: Any) -> Any:
    """Pick the first value that isn't null."""
    return next((one for one in values if one is not None), None)


#: Flags that ask for several jobs.
SEVERAL = ("-m", "--multirun")
#: Hydra's own settings that a job by itself needs as well; the others say how jobs are started.
KEPT = "hydra.searchpath"
#: Derived from date and time by default: given, every process of a job has the same.
FOLDER = "run_dir"


def arguments_alone(flags: Sequence[str], config: DictConfig) -> list[str]:
    """List the arguments that run a job of a multirun, or a run, by itself in the same folder.

    `flags` are what the program was called with besides overrides.
    """
    overrides = HydraConfig.get().overrides
    hydra_own = [text for text in overrides.hydra if text.startswith(KEPT)]
    task = [text for text in overrides.task if text.split("=", 1)[0] != FOLDER]
    folder = OmegaConf.select(config, FOLDER)
    own = []
    if folder is not None:
        text = str(folder)
        if not re.sub(r"[/\-_.]", "", text).isalnum():  # more than a name to Hydra's grammar
            text = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
        own = [f"{FOLDER}={text}"]
    return [*(flag for flag in flags if flag not in SEVERAL), *hydra_own, *task, *own]
