import pytest

from fmnet.crossval.permutation import PermutationPlan
from fmnet.crossval.reruns import LearningCurvePlan, SensitivityPlan
from fmnet.crossval.shards import check_one_process
from fmnet.errors import ConfigError
from fmnet.runs.checkpoints import Shard
from fmnet.training.compute import Compute

PLANS = (PermutationPlan(), SensitivityPlan(), LearningCurvePlan())
WHOLE, PLAIN = Shard(), Compute()


def check(n_processes, plans=PLANS, shard=WHOLE, compute=PLAIN, batch_size=8):
    check_one_process(n_processes, plans, shard, compute, batch_size)


def test_one_process_does_everything():
    plans = (PermutationPlan(3), SensitivityPlan(match=["age"]), LearningCurvePlan([0.5, 0.8]))
    check(1, plans, Shard(0, 2), Compute(n_jobs=2))
    check(2)


def test_all_that_shared_trainings_can_not_do_is_refused_at_once():
    plans = (PermutationPlan(3), SensitivityPlan(match=["age"]), LearningCurvePlan([0.5, 0.8]))
    with pytest.raises(ConfigError, match="where 2 processes share each") as caught:
        check(2, plans, Shard(0, 2), Compute(n_jobs=2))
    assert [fault.where for fault in caught.value.faults] == [
        "permutation.n", "sensitivity", "learning_curve.fractions", "shard.n", "compute.n_jobs",
    ]  # fmt: skip


def test_step_that_leaves_processes_without_scans_is_refused():
    with pytest.raises(ConfigError, match=r"batch_size: found 2; accepted: at least 3"):
        check(3, batch_size=2)
