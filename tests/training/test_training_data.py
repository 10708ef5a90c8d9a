from functools import partial

import numpy as np
import pytest
import torch
from series_fixtures import SHAPE, make_series_cohort
from training_fixtures import make_cohort, make_training

from fmnet.errors import ConfigError
from fmnet.networks.series import build_learned_seeds
from fmnet.training.augmentation import Augmentation
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.data import EpochOrder, MapData, SeriesData, build_data
from fmnet.training.fit import ADAMW, fit_networks, score_scans
from fmnet.training.trainer import build_trainer

BUILD = partial(build_learned_seeds, n_seeds=2, backbone="small_cnn")


@pytest.fixture
def cohort(tmp_path):
    return make_series_cohort(tmp_path)


def training_of(cohort, n_epochs=2, seed=0):
    return make_training(cohort, np.arange(8, 12), n_epochs, seed, train=np.arange(8))


def test_what_is_read_decides_what_feeds(cohort):
    assert isinstance(build_data([training_of(cohort)], 4, None, False), SeriesData)
    maps = make_training(make_cohort())
    assert isinstance(build_data([maps, maps], 4, None, False), MapData)


def test_windows_become_volumes_on_the_grid(cohort):
    data = build_data([training_of(cohort)], 4, None, False)
    grid = cohort.preparation.grid
    values = torch.randn(1, 2, 3, grid.n_voxels)
    batch = {"values": values, "label": torch.zeros(1, 2), "weight": torch.ones(2)}
    image = data.on_after_batch_transfer(batch, 0)["image"]
    assert image.shape == (2, 3, *SHAPE)
    np.testing.assert_array_equal(image[1].numpy(), grid.unmask(values[0, 1].numpy()))


@pytest.mark.parametrize("window", [0, 15])
def test_epochs_of_a_series_network_are_recorded_as_scored_in_use(make_trainable, tmp_path, window):
    cohort = make_series_cohort(tmp_path, window_volumes=window)
    build = partial(BUILD, window_volumes=window)
    trainable = make_trainable(
        build_network=build, max_epochs=2, batch_size=3, build_optimizer=ADAMW
    )
    rounds = []
    training = training_of(cohort)
    done = fit_networks(trainable, [training], rounds.append)[0]
    assert rounds == [1, 1]
    assert (done.first_epoch, len(done.losses)) == (1, 2)
    assert [scores.shape for scores in done.scores] == [(4,), (4,)]
    assert not np.array_equal(done.scores[0], done.scores[1])
    held_out = score_scans(done.network, cohort, training.validation)
    np.testing.assert_allclose(done.scores[-1], held_out, atol=1e-5)
    again = fit_networks(trainable, [training])[0]
    np.testing.assert_array_equal(again.scores[-1], done.scores[-1])


def test_network_learns_how_places_go_together(make_trainable, tmp_path):
    cohort = make_series_cohort(tmp_path, n=24, lengths=(40,))
    build = partial(build_learned_seeds, n_seeds=2, voxel_size_mm=12, bands_mm=[[0.0, 36.0]])
    training = make_training(cohort, np.arange(16, 24), 1, train=np.arange(16))
    done = fit_networks(
        make_trainable(build_network=build, build_optimizer=partial(ADAMW, lr=1e-4)), [training]
    )[0]
    assert (done.first_epoch, len(done.scores)) == (0, 2)  # before the epoch too
    for scores in done.scores:
        assert scores[1::2].min() > scores[::2].max()


def test_volumes_of_a_window_are_changed_alike(make_trainable, cohort):
    data = build_data([training_of(cohort)], 4, Augmentation(1.0, 1.0, 3.0, 0.0, 0.1, 0.5), False)
    data.trainer = build_trainer(make_trainable().build_trainer)
    batch = next(iter(data.train_dataloader()))
    volume = torch.randn(1, 1, 1, len(data.mask)).expand(1, 4, 6, -1)
    image = data.on_after_batch_transfer(batch | {"values": volume}, 0)["image"]
    torch.testing.assert_close(image, image[:, :1].expand_as(image))
    assert not torch.equal(image[0], image[1])


@pytest.mark.parametrize(
    ("compute", "name"),
    [
        (Compute(n_stacked=2), "compute.n_stacked"),
        (Compute(channels_last=True), "compute.channels_last"),
        (Compute(compile=True), "compute.compile"),
    ],
)
def test_settings_that_series_have_no_use_for_are_refused(make_trainable, cohort, compute, name):
    trainable = make_trainable(build_network=BUILD)
    with pytest.raises(ConfigError, match=rf"{name}: .*for a network that reads time series"):
        plan_compute(trainable, compute, cohort)


def test_series_are_trained_one_at_a_time_from_disk(make_trainable, cohort):
    planned = plan_compute(make_trainable(build_network=BUILD), Compute(), cohort)
    assert (planned.n_stacked, planned.is_resident) == (1, False)


def test_every_fit_takes_the_same_series(cohort):
    fitted = cohort.fit(np.arange(3))
    assert fitted.values is cohort.values
    assert fitted.series is cohort.series
    assert cohort.input_shape[1:] == SHAPE


def test_series_of_people_held_out_change_nothing_that_is_learned(make_trainable, tmp_path):
    cohort = make_series_cohort(tmp_path, n=24, lengths=(40,))
    build = partial(build_learned_seeds, n_seeds=2, voxel_size_mm=12, bands_mm=[[0.0, 36.0]])
    training = make_training(cohort, np.arange(16, 20), 1, train=np.arange(16))
    trainable = make_trainable(build_network=build, build_optimizer=partial(ADAMW, lr=1e-4))

    def learned():
        return fit_networks(trainable, [training])[0].network.state_dict()

    before = learned()
    rng = np.random.default_rng(1)
    for row in range(16, 24):  # scored while training, and not at all
        (path,) = cohort.series[row].paths
        np.save(path, rng.normal(0, 10, np.load(path).shape).astype(np.float32))
    after = learned()
    assert all(torch.equal(before[name], after[name]) for name in before)
    (path,) = cohort.series[3].paths
    np.save(path, rng.normal(0, 10, np.load(path).shape).astype(np.float32))
    assert not torch.equal(before["backbone.stem.weight"], learned()["backbone.stem.weight"])


def make_trainings(n):
    cohort = make_cohort(n)
    return [make_training(cohort, seed=seed) for seed in (3, 4)]


@pytest.mark.parametrize(("n", "batch_size"), [(12, 4), (11, 4), (9, 4), (13, 5)])
@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_mean_over_processes_is_the_mean_over_scans(n, batch_size, n_ranks):
    trainings = make_trainings(n)
    values = torch.from_numpy(np.random.default_rng(0).normal(size=n))
    alone = list(EpochOrder(trainings, batch_size))
    shared = [list(EpochOrder(trainings, batch_size, rank, n_ranks)) for rank in range(n_ranks)]
    assert [len(steps) for steps in shared] == [len(alone)] * n_ranks
    for step, *parts in zip(alone, *shared, strict=True):
        means = [(values[part.rows] * part.weight).mean(dim=1) for part in parts]
        expected = values[step.rows].mean(dim=1)
        assert torch.allclose(torch.stack(means).mean(dim=0), expected, atol=1e-6)
        own = [part.rows[:, part.weight > 0] for part in parts]
        seen = torch.cat(own, dim=1).sort(dim=1).values
        assert torch.equal(seen, step.rows.sort(dim=1).values)


def test_weights_are_exactly_one_for_one_process():
    assert all((step.weight == 1).all() for step in EpochOrder(make_trainings(11), 4))


def test_each_epoch_has_another_order_the_same_in_all_processes():
    orders = [EpochOrder(make_trainings(8), 8, rank, 2) for rank in (0, 1)]
    epochs = [[torch.cat([next(iter(one)).rows for one in orders], dim=1)] for _ in range(2)]
    (first,), (second,) = epochs
    assert not torch.equal(first, second)
    assert all(sorted(row.tolist()) == list(range(8)) for row in torch.cat([first, second]))
