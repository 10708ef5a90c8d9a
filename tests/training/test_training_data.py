from functools import partial

import numpy as np
import pytest
import torch
from series_fixtures import (
    SHAPE,
    fitted_series,
    make_grid,
    make_series_cohort,
    write_series,
)
from torch import nn
from training_fixtures import make_cohort, make_training

from fmnet.errors import ConfigError
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.series import build_learned_seeds
from fmnet.training.augmentation import Augmentation
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.data import (
    EpochOrder,
    MapData,
    RandomWindows,
    SeriesData,
    SeriesVolumes,
    Step,
    build_data,
)
from fmnet.training.fit import ADAMW, fit_networks, score_scans
from fmnet.training.scan_set import SeriesScans
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


def test_network_learns_how_voxels_go_together(make_trainable, tmp_path):
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


def test_series_of_subjects_held_out_change_nothing_that_is_learned(make_trainable, tmp_path):
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
    several = [list(EpochOrder(trainings, batch_size, rank, n_ranks)) for rank in range(n_ranks)]
    assert [len(steps) for steps in several] == [len(alone)] * n_ranks
    for step, *each in zip(alone, *several, strict=True):
        means = [(values[own.rows] * own.weight).mean(dim=1) for own in each]
        expected = values[step.rows].mean(dim=1)
        assert torch.allclose(torch.stack(means).mean(dim=0), expected, atol=1e-6)
        real = [own.rows[:, own.weight > 0] for own in each]
        seen = torch.cat(real, dim=1).sort(dim=1).values
        assert torch.equal(seen, step.rows.sort(dim=1).values)


def test_weights_are_exactly_one_for_one_process():
    assert all((step.weight == 1).all() for step in EpochOrder(make_trainings(11), 4))


def test_each_epoch_has_another_order_the_same_in_all_processes():
    orders = [EpochOrder(make_trainings(8), 8, rank, 2) for rank in (0, 1)]
    epochs = [[torch.cat([next(iter(one)).rows for one in orders], dim=1)] for _ in range(2)]
    (first,), (second,) = epochs
    assert not torch.equal(first, second)
    assert all(sorted(row.tolist()) == list(range(8)) for row in torch.cat([first, second]))


class FirstVolume(nn.Module):
    """Scores a window by the mean of its first volume."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, series):
        return self.scale * series[:, 0].mean(dim=(1, 2, 3))[:, None]


def counting(folder, name, n_volumes, grid):
    """A scan whose volumes hold their own number."""
    values = np.repeat(np.arange(1.0, n_volumes + 1)[:, None], grid.n_voxels, axis=1)
    return write_series(folder, name, [values])


def cohort_of(series, window_volumes=0) -> SeriesScans:
    return fitted_series(series, np.arange(len(series)) % 2, window_volumes)


def draw(counted, window_volumes, seed, rows=(0, 1, 2), n_steps=1):
    windows = RandomWindows(counted, window_volumes, torch.Generator().manual_seed(seed))
    step = Step(torch.tensor([rows]), torch.ones(len(rows)))
    return [windows[step] for _ in range(n_steps)]


@pytest.fixture
def counted(tmp_path):
    """Scans of 9, 12 and 20 volumes that hold their own number."""
    grid = make_grid()
    lengths = enumerate((9, 12, 20))
    return cohort_of([counting(tmp_path, f"s{k}", n, grid) for k, n in lengths])


def test_windows_are_whole_pieces_of_their_scan_from_every_start(counted):
    firsts = {0: set(), 1: set(), 2: set()}
    for batch in draw(counted, 9, 0, n_steps=200):
        assert batch["values"].shape == (1, 3, 9, make_grid().n_voxels)
        assert batch["values"].dtype == torch.float32
        assert batch["label"].tolist() == [[0, 1, 0]]
        for row, window in enumerate(batch["values"][0, :, :, 0]):
            assert (window.diff() == 1).all()
            firsts[row].add(int(window[0]))
    assert firsts == {0: {1}, 1: {1, 2, 3, 4}, 2: set(range(1, 13))}


def test_windows_depend_on_the_seed_alone(counted):
    one, same, other = (
        torch.stack([batch["values"] for batch in draw(counted, 5, seed, n_steps=5)])
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_without_a_window_the_shortest_scan_of_the_step_counts(counted):
    lengths = [draw(counted, 0, 0, rows)[0]["values"].shape[2] for rows in ((0, 2), (1, 2), (2,))]
    assert lengths == [9, 12, 20]


def test_voxels_without_data_in_a_run_are_0_as_in_use(tmp_path):
    grid = make_grid()
    first, second = np.ones((6, grid.n_voxels)), np.ones((8, grid.n_voxels))
    first[:, 3] = np.nan
    second[:, 5] = np.nan
    counted = cohort_of([write_series(tmp_path, "s", [first, second])])
    whole = counted.inputs(np.array([0]))[0][:, grid.mask]
    for length in (3, 14):
        window = draw(counted, length, 1, rows=(0,))[0]["values"][0, 0].numpy()
        np.testing.assert_array_equal(window, whole[:length])
    assert set(np.flatnonzero(whole[0] == 0)) == {3, 5}


def test_scores_are_means_over_all_windows(tmp_path):
    grid = make_grid()
    counted = cohort_of([counting(tmp_path, f"s{k}", n, grid) for k, n in ((0, 8), (1, 11))], 4)
    network = ScoreNetwork(FirstVolume())
    fraction = grid.mask.mean()
    expected = np.array([np.mean([1, 5]), np.mean([1, 4, 8])]) * fraction
    found = score_scans(network, counted, np.array([0, 1]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(score_scans(network, counted, np.array([1])), found[1:])


def test_volumes_are_read_one_scan_at_a_time(tmp_path):
    counted = make_series_cohort(tmp_path, n=4, lengths=(20, 21))
    volumes = SeriesVolumes(counted, np.array([3, 0]))
    assert [len(one) for one in volumes] == [21, 20]
    whole = counted.preparation.images(counted.series[3].values())
    np.testing.assert_array_equal(volumes[0].numpy(), whole)
    counted.series[0].paths[0].unlink()
    assert len(volumes[0]) == 21
    with pytest.raises(FileNotFoundError):
        volumes[1]
