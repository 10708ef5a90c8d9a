from functools import partial

import pytest
import torch

from fmnet.errors import ConfigError
from fmnet.training.fit import ADAMW
from fmnet.training.trainer import CPU_TRAINER, check_training


def test_settings_that_this_machine_can_work_with_pass():
    check_training(CPU_TRAINER, ADAMW)
    check_training(partial(CPU_TRAINER, devices=2, strategy="ddp"), ADAMW)


def test_devices_that_a_cluster_gave_no_tasks_for_are_refused(monkeypatch):
    job = {"JOB_NAME": "train", "NTASKS": 1, "NTASKS_PER_NODE": 1, "PROCID": 0, "LOCALID": 0}
    for name, value in {**job, "NODEID": 0, "NNODES": 1, "JOB_ID": 1}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with pytest.raises(
        ConfigError,
        match=r"trainer: found .*refuses \(You set `devices=2`.*--ntasks-per-node=1",
    ):
        check_training(partial(CPU_TRAINER, devices=2, strategy="ddp"), ADAMW)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("settings", [{"devices": 1}, {"devices": 2, "strategy": "ddp"}])
def test_missing_gpu_is_named(settings):
    with pytest.raises(ConfigError, match="trainer: found no CUDA device on this machine; acc"):
        check_training(partial(CPU_TRAINER, accelerator="gpu", **settings), ADAMW)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            {"accelerator": "gpu"},
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        {"devices": 0},
        {"devices": []},
        {"accelerator": "gpu", "devices": [999]},
    ],
)
def test_what_lightning_refuses_is_a_fault_of_the_configuration(settings):
    with pytest.raises(ConfigError, match=r"trainer: found .*; to do: choose trainer=cpu, or"):
        check_training(partial(CPU_TRAINER, **settings), ADAMW)
