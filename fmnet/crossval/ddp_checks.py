"""What a run in which several processes share each training can't do."""

from fmnet.crossval.learning_curve import LearningCurvePlan
from fmnet.crossval.permutation import PermutationPlan
from fmnet.crossval.reruns import SensitivityPlan
from fmnet.errors import ConfigError, Fault
from fmnet.runs.checkpoints import Shard
from fmnet.training.compute import Compute


def check_one_process(
    n_processes: int,
    plans: tuple[PermutationPlan, SensitivityPlan, LearningCurvePlan],
    shard: Shard,
    compute: Compute,
    batch_size: int,
) -> None:
    """Refuse what takes many trainings where each training is shared by several processes.

    Raises
    ------
    ConfigError
        In a distributed run, with all that it can't do.
    """
    permutation, sensitivity, learning_curve = plans
    asked = {
        "permutation.n": permutation.n > 0,
        "sensitivity": sensitivity.is_asked_for,
        "learning_curve.shares": bool(learning_curve.shares),
        "shard.n": not shard.is_whole,
        "compute.n_jobs": compute.n_jobs != 1,
    }
    action = "run it apart, with trainer=gpu or trainer=cpu: results are those of the same pipeline"
    found = f"many trainings at once, where {n_processes} processes share each"
    faults = [
        Fault(key, found, "one device for each training", action)
        for key, is_asked in asked.items()
        if is_asked
    ]
    if batch_size < n_processes:
        accepted = f"at least {n_processes}, one scan for each process"
        action = "raise it, or use fewer devices"
        faults.append(Fault("batch_size", str(batch_size), accepted, action))
    if n_processes > 1 and faults:
        raise ConfigError(faults)
