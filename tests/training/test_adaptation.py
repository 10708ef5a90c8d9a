import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from cohort_fixtures import with_labels
from signature_fixtures import write_small_cnn
from training_fixtures import make_cohort, make_training

from fmnet.networks import prior_path
from fmnet.networks.closed_form import build_prior_cnn, pretraining_of
from fmnet.networks.path_sums import path_fractions
from fmnet.networks.signature_file import read_signature_cnn
from fmnet.training import adaptation
from fmnet.training.adaptation import Adapter, give_adapter
from fmnet.training.fit import fit_networks
from fmnet.training.trainer import CPU_TRAINER


@pytest.fixture(autouse=True)
def _start_afresh():
    prior_path._pretrained.cache_clear()
    adaptation._KEPT.clear()


@pytest.fixture
def weights(tmp_path):
    write_small_cnn(tmp_path / "own.safetensors")
    return str(tmp_path / "own.safetensors")


@pytest.fixture
def build(weights):
    paths = {"paths": ["prior", "adapted"], "adaptation_steps": [1, 2]}
    return partial(build_prior_cnn, weights=weights, **paths)


@pytest.fixture
def cohort():
    return make_cohort(n=24, effect=1.0)


@pytest.fixture
def asked(weights):
    maps = torch.randn(2, 12, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(4, 8, 8)
    mask[:, 1:7, 1:6] = 1
    return prior_path.Adaptation(read_signature_cnn(weights), maps * mask, mask, 8.0, 2, 1e-2)


def moved(before, after):
    """Say how far weights have gone."""
    there = after.state_dict()
    return max(float((one - there[name]).abs().max()) for name, one in before.state_dict().items())


def test_the_cnn_takes_as_many_steps_as_are_asked_for(asked, weights):
    start = read_signature_cnn(weights)
    adapted = Adapter(CPU_TRAINER, 0)(asked)
    assert 1e-4 < moved(start, adapted) < 0.1
    assert not adapted.training


def test_the_same_scans_are_trained_on_once(asked, weights, monkeypatch):
    calls = []
    train = Adapter._trained
    monkeypatch.setattr(Adapter, "_trained", lambda own, one: calls.append(1) or train(own, one))
    adapt = Adapter(CPU_TRAINER, 3)
    first = adapt(asked)
    fresh = replace(asked, cnn=read_signature_cnn(weights))
    assert adapt(fresh) is first
    assert len(calls) == 1
    other = replace(fresh, maps=fresh.maps * 1.5)
    assert adapt(other) is not first
    assert Adapter(CPU_TRAINER, 4)(fresh) is not first


def test_the_seed_decides(asked, weights):
    found = []
    for seed in (5, 5, 6):
        adaptation._KEPT.clear()
        fresh = replace(asked, cnn=read_signature_cnn(weights))
        found.append(Adapter(CPU_TRAINER, seed)(fresh))
    assert moved(found[0], found[1]) == 0
    assert moved(found[0], found[2]) > 1e-4


def test_of_too_few_scans_nothing_is_learned(asked, weights):
    few = replace(asked, maps=asked.maps[:, : adaptation.MIN_SCANS - 1])
    assert moved(read_signature_cnn(weights), Adapter(CPU_TRAINER, 0)(few)) == 0


def test_a_study_has_a_path_for_each_number_of_steps(make_trainable, cohort, build):
    trainable = make_trainable(build_network=build, max_epochs=0)
    training = make_training(cohort, np.arange(16, 24), n_epochs=0, train=np.arange(16))
    (done,) = fit_networks(trainable, [training])
    fractions = path_fractions(done.network)
    assert list(fractions) == ["prior", "adapted_1", "adapted_2"]
    assert sum(fractions.values()) == pytest.approx(1)
    weight = [path.weight for path in done.network.backbone.paths.values()]
    assert (weight[0] - weight[1]).abs().max() > 0
    assert (weight[1] - weight[2]).abs().max() > 0
    assert not any("cnn" in name for name in done.network.state_dict())
    assert pretraining_of(done.network)["adapted_steps"] == [1, 2]
    pickle.loads(pickle.dumps(done.network))  # as it comes back from another process


def test_neither_labels_nor_scans_left_out_change_what_is_learned(
    make_trainable, cohort, build, monkeypatch
):
    """The training is the same one; and what was trained on before is found again."""
    trainable, train = make_trainable(build_network=build, max_epochs=0), np.arange(16)
    fit_networks(trainable, [make_training(cohort, n_epochs=0, train=train)])
    kept = dict(adaptation._KEPT)
    assert len(kept) == 2
    values, labels = cohort.values.copy(), np.roll(cohort.labels, 1)
    values[16:] += 3.0
    changed = with_labels(cohort, labels, values=values)
    monkeypatch.setattr(Adapter, "_trained", None)
    fit_networks(trainable, [make_training(changed, n_epochs=0, train=train)])
    assert dict(adaptation._KEPT) == kept


def test_many_labelings_share_one_training(cohort, build):
    images = torch.from_numpy(cohort.inputs(np.arange(24)))
    train, unseen, folds = images[:18], images[18:], torch.arange(18) // 2 % 3
    labels = torch.from_numpy(cohort.labels[:18])
    labelings = torch.stack([labels, labels.roll(1), labels.flip(0).roll(3)])
    network = build(tuple(images.shape[1:])).eval()
    give_adapter(network, CPU_TRAINER, 0)
    found = network.backbone.scores_of_labelings(train, labelings, folds, unseen)
    assert len(adaptation._KEPT) == 2
    for row, one in zip(found, labelings, strict=True):
        network.backbone.fit(train, one, folds)
        with torch.no_grad():
            torch.testing.assert_close(network.backbone(unseen)[:, 0], row, atol=2e-5, rtol=1e-4)
    assert len(adaptation._KEPT) == 2


def test_gradient_steps_on_labels_start_from_what_the_cnn_wrote(make_trainable, cohort, weights):
    paths = ["prior", "focal"]
    build = partial(build_prior_cnn, weights=weights, paths=paths, bands_mm=[[0.0, 12.0]])
    build_optimizer = partial(torch.optim.AdamW, lr=1e-5)
    trainable = make_trainable(build_network=build, build_optimizer=build_optimizer)
    training = make_training(cohort, np.arange(16, 24), n_epochs=2, train=np.arange(16))
    (done,) = fit_networks(trainable, [training])
    assert (done.first_epoch, len(done.losses)) == (0, 3)
    assert 0 < np.abs(done.scores[2] - done.scores[0]).max() < 0.1
    start = fit_networks(make_trainable(build_network=build, max_epochs=0), [training])[0]
    before, after = (one.network.backbone.paths["prior"].weight for one in (start, done))
    assert (before - after).abs().max() > 0
