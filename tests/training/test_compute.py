from functools import partial
from types import SimpleNamespace

import pytest
import torch
from training_fixtures import make_cohort

from fmnet.errors import ConfigError
from fmnet.networks.closed_form import build_scale_space
from fmnet.training import compute
from fmnet.training.augmentation import build_augmentation
from fmnet.training.compute import Compute, count_processes, plan_compute
from fmnet.training.trainer import CPU_TRAINER, build_trainer


@pytest.fixture
def cohort():
    return make_cohort()


def test_on_a_cpu_one_at_a_time_and_in_memory(make_trainable, cohort):
    planned = plan_compute(make_trainable(), Compute(channels_last=True), cohort)
    assert (planned.n_stacked, planned.is_resident) == (1, True)
    assert planned.is_channels_last


def test_what_is_asked_for_is_done(make_trainable, cohort):
    planned = plan_compute(make_trainable(), Compute(n_stacked=5, resident=False), cohort)
    assert (planned.n_stacked, planned.is_resident) == (5, False)


def test_cohort_that_does_not_fit_is_streamed(make_trainable, cohort, monkeypatch):
    prepared = 12 * 7 * 8 * 9 * 4
    monkeypatch.setattr(compute, "free_bytes", lambda _: 1.5 * prepared)
    assert not plan_compute(make_trainable(), Compute(), cohort).is_resident
    monkeypatch.setattr(compute, "free_bytes", lambda _: 2.5 * prepared)
    assert plan_compute(make_trainable(), Compute(), cohort).is_resident
    assert not plan_compute(make_trainable(), Compute(n_jobs=2), cohort).is_resident


def on_gpu(precision="bf16-mixed"):
    """A trainer of which only what is asked about it is there."""
    strategy = SimpleNamespace(root_device=torch.device("cuda", 0))
    return lambda **_: SimpleNamespace(strategy=strategy, precision=precision, world_size=1)


@pytest.mark.parametrize(("precision", "is_stacked"), [("bf16-mixed", True), ("16-mixed", False)])
def test_on_a_gpu_as_many_as_fit(make_trainable, cohort, monkeypatch, precision, is_stacked):
    checked = []
    monkeypatch.setattr(compute, "check_device", lambda *args: checked.append(args[2:]))
    monkeypatch.setattr(compute, "free_bytes", lambda _: 10**7)
    planned = plan_compute(make_trainable(build_trainer=on_gpu(precision)), Compute(), cohort)
    assert (planned.n_stacked > 4) == is_stacked
    assert checked == [(torch.device("cuda", 0), precision)]


def test_processes_are_as_many_as_can_share_the_device(monkeypatch):
    monkeypatch.setattr(compute, "cpu_count", lambda: 12)
    assert count_processes(Compute(n_jobs=-1), build_trainer(CPU_TRAINER)) == 12
    assert count_processes(Compute(n_jobs=-1), on_gpu()()) == compute.GPU_SHARERS
    assert count_processes(Compute(n_jobs=3), on_gpu()()) == 3
    shared = build_trainer(partial(CPU_TRAINER, devices=2, strategy="ddp"))
    assert count_processes(Compute(n_jobs=-1), shared) == 1


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"devices": 2, "strategy": "ddp"}, "several processes that share each training"),
        ({"precision": "16-mixed"}, "precision 16-mixed, which scales"),
    ],
)
def test_networks_that_would_depend_on_one_another_are_not_stacked(
    make_trainable, cohort, settings, found
):
    if settings.get("precision") == "16-mixed" and not torch.cuda.is_available():
        pytest.skip("Lightning has 16-mixed on CUDA devices only")
    trainable = make_trainable(build_trainer=partial(CPU_TRAINER, **settings))
    with pytest.raises(ConfigError, match=rf"compute\.n_stacked: found {found}"):
        plan_compute(trainable, Compute(n_stacked=2), cohort)


def test_training_without_an_epoch_needs_a_network_that_starts(make_trainable, cohort):
    still = make_trainable(max_epochs=0)
    with pytest.raises(ConfigError, match="1 epoch or more"):
        plan_compute(still, Compute(), cohort)
    started = make_trainable(max_epochs=0, build_network=build_scale_space)
    assert plan_compute(started, Compute(), cohort).n_stacked == 1


def test_several_devices_without_an_epoch_are_refused(make_trainable, cohort):
    settings = {"max_epochs": 0, "build_network": build_scale_space}
    trainer = partial(CPU_TRAINER, devices=2, strategy="ddp")
    with pytest.raises(ConfigError, match="one device where no epoch is trained"):
        plan_compute(make_trainable(**settings, build_trainer=trainer), Compute(), cohort)


def test_augmentation_without_an_epoch_is_refused(make_trainable, cohort):
    settings = {"max_epochs": 0, "build_network": build_scale_space}
    changed = make_trainable(**settings, augmentation=build_augmentation(0.5, noise_sd=0.1))
    with pytest.raises(ConfigError, match="augmentation: found some; accepted: none"):
        plan_compute(changed, Compute(), cohort)
