from functools import partial
from types import SimpleNamespace

import pytest
import torch
from training_fixtures import make_cohort

from fmnet.errors import ConfigError, TrainingError
from fmnet.networks import residual
from fmnet.networks.backbones import build_resnet, build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.training import compute
from fmnet.training.augmentation import build_augmentation
from fmnet.training.compute import (
    Compute,
    check_device,
    choose_stack,
    count_processes,
    free_bytes,
    plan_compute,
    training_bytes,
)
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


def test_training_without_an_epoch_needs_a_fit_in_closed_form(make_trainable, cohort):
    still = make_trainable(max_epochs=0)
    with pytest.raises(ConfigError, match="1 epoch or more"):
        plan_compute(still, Compute(), cohort)
    fitted = make_trainable(max_epochs=0, build_network=build_scale_space)
    assert plan_compute(fitted, Compute(), cohort).n_stacked == 1


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


def estimate(shape, batch_size=2, channels=(4, 6)) -> int:
    network = build_small_cnn(shape, channels).to("meta")
    return training_bytes(network, shape, batch_size)


def test_grows_with_batch_grid_and_network():
    base = estimate((1, 17, 18, 19))
    assert 1.7 < estimate((1, 17, 18, 19), batch_size=4) / base < 2.1
    assert estimate((1, 34, 36, 38)) > 6 * base
    assert estimate((1, 17, 18, 19), channels=(8, 12)) > 1.5 * base


def test_counts_what_the_backward_pass_keeps():
    """One convolution's output alone has 4 x 9 x 9 x 10 numbers per scan."""
    assert estimate((1, 17, 18, 19)) > 2 * 4 * (4 * 9 * 9 * 10)


def test_nothing_is_computed():
    shape = (1, 128, 128, 128)
    assert training_bytes(build_resnet(shape).to("meta"), shape, 64) > 1e9


@pytest.mark.parametrize(
    ("free", "cohort", "expected"), [(1000, 0, 8), (1000, 500, 3), (100, 500, 1), (10**6, 0, 50)]
)
def test_stack_fills_the_fraction_planned_and_no_more(monkeypatch, free, cohort, expected):
    monkeypatch.setattr(compute, "LARGEST_STACK", 50)
    assert choose_stack(100, cohort, free) == expected


def test_memory_of_this_machine_is_known():
    assert free_bytes(torch.device("cpu")) > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_estimate_is_above_what_a_training_takes_and_not_far_above():
    shape = (1, 64, 65, 66)
    network = build_resnet(shape).cuda()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    network(torch.randn((8, *shape), device="cuda")).sum().backward()
    taken = torch.cuda.max_memory_allocated() - before
    estimated = training_bytes(build_resnet(shape).to("meta"), shape, 8)
    assert taken < estimated < 4 * taken


SHAPE = (1, 17, 18, 19)
CPU = torch.device("cpu")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_small_cnn(SHAPE, channels=(4, 6))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_device_that_rounds_as_it_may_passes(network, precision):
    before = {name: one.clone() for name, one in network.state_dict().items()}
    check_device(network, SHAPE, CPU, precision)
    assert all(one.grad is None for one in network.parameters())
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())


def break_reduced_precision(monkeypatch, spoil):
    """Let convolutions go wrong where numbers are short, as a release of cuDNN did."""
    original = torch.nn.functional.conv3d

    def convolve(*args, **kwargs):
        out = original(*args, **kwargs)
        return spoil(out) if out.dtype == torch.bfloat16 else out

    monkeypatch.setattr(residual, "conv3d", convolve)


WRONG = {
    "mirrored": lambda out: out.flip(2),
    "not a number": lambda out: out * float("nan"),
    "moved": lambda out: out.roll(1, 4),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
def test_wrong_convolutions_are_refused(network, monkeypatch, spoil):
    break_reduced_precision(monkeypatch, spoil)
    check_device(network, SHAPE, CPU, "32-true")
    message = (
        r"cpu, precision bf16-mixed: found 3-D convolutions off by .*; to do: set trainer\.pre"
    )
    with pytest.raises(TrainingError, match=message):
        check_device(network, SHAPE, CPU, "bf16-mixed")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_this_gpu_computes_as_it_should(network, precision):
    check_device(network, SHAPE, torch.device("cuda:0"), precision)


def test_loss_that_averages_is_refused_where_devices_share_a_training(make_trainable, cohort):
    two = partial(CPU_TRAINER, devices=2, strategy="ddp")

    def averaged(outputs, target):
        return (outputs - target).square().mean()

    with pytest.raises(ConfigError, match="loss: found one that averages over scans by itself"):
        plan_compute(make_trainable(build_trainer=two, loss=averaged), Compute(), cohort)
    plan_compute(make_trainable(loss=averaged), Compute(), cohort)
    per_scan = torch.nn.BCEWithLogitsLoss()
    plan_compute(make_trainable(build_trainer=two, loss=per_scan), Compute(), cohort)
