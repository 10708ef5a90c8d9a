import numpy as np
import pytest
import torch
from series_fixtures import fitted_series, make_grid, make_series_cohort, write_series
from torch import nn

from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.data import RandomWindows, SeriesVolumes, Step
from fmnet.training.fit import score_scans
from fmnet.training.scan_set import SeriesScans


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


def draw(cohort, window_volumes, seed, rows=(0, 1, 2), n_steps=1):
    windows = RandomWindows(cohort, window_volumes, torch.Generator().manual_seed(seed))
    step = Step(torch.tensor([rows]), torch.ones(len(rows)))
    return [windows[step] for _ in range(n_steps)]


@pytest.fixture
def cohort(tmp_path):
    """Scans of 9, 12 and 20 volumes that hold their own number."""
    grid = make_grid()
    lengths = enumerate((9, 12, 20))
    return cohort_of([counting(tmp_path, f"s{k}", n, grid) for k, n in lengths])


def test_windows_are_whole_pieces_of_their_scan_from_every_start(cohort):
    firsts = {0: set(), 1: set(), 2: set()}
    for batch in draw(cohort, 9, 0, n_steps=200):
        assert batch["values"].shape == (1, 3, 9, make_grid().n_voxels)
        assert batch["values"].dtype == torch.float32
        assert batch["label"].tolist() == [[0, 1, 0]]
        for row, window in enumerate(batch["values"][0, :, :, 0]):
            assert (window.diff() == 1).all()
            firsts[row].add(int(window[0]))
    assert firsts == {0: {1}, 1: {1, 2, 3, 4}, 2: set(range(1, 13))}


def test_windows_depend_on_the_seed_alone(cohort):
    one, same, other = (
        torch.stack([batch["values"] for batch in draw(cohort, 5, seed, n_steps=5)])
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_without_a_window_the_shortest_scan_of_the_step_counts(cohort):
    lengths = [draw(cohort, 0, 0, rows)[0]["values"].shape[2] for rows in ((0, 2), (1, 2), (2,))]
    assert lengths == [9, 12, 20]


def test_voxels_without_data_in_a_run_are_0_as_in_use(tmp_path):
    grid = make_grid()
    first, second = np.ones((6, grid.n_voxels)), np.ones((8, grid.n_voxels))
    first[:, 3] = np.nan
    second[:, 5] = np.nan
    cohort = cohort_of([write_series(tmp_path, "s", [first, second])])
    whole = cohort.inputs(np.array([0]))[0][:, grid.mask]
    for length in (3, 14):
        window = draw(cohort, length, 1, rows=(0,))[0]["values"][0, 0].numpy()
        np.testing.assert_array_equal(window, whole[:length])
    assert set(np.flatnonzero(whole[0] == 0)) == {3, 5}


def test_scores_are_means_over_all_windows(tmp_path):
    grid = make_grid()
    cohort = cohort_of([counting(tmp_path, f"s{k}", n, grid) for k, n in ((0, 8), (1, 11))], 4)
    network = ScoreNetwork(FirstVolume())
    share = grid.mask.mean()
    expected = np.array([np.mean([1, 5]), np.mean([1, 4, 8])]) * share
    found = score_scans(network, cohort, np.array([0, 1]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(score_scans(network, cohort, np.array([1])), found[1:])


def test_volumes_are_read_one_scan_at_a_time(tmp_path):
    cohort = make_series_cohort(tmp_path, n=4, lengths=(20, 21))
    volumes = SeriesVolumes(cohort, np.array([3, 0]))
    assert [len(one) for one in volumes] == [21, 20]
    whole = cohort.preparation.images(cohort.series[3].values())
    np.testing.assert_array_equal(volumes[0].numpy(), whole)
    cohort.series[0].paths[0].unlink()
    assert len(volumes[0]) == 21
    with pytest.raises(FileNotFoundError):
        volumes[1]
