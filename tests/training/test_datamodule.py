import numpy as np
import pytest
import torch
from training_fixtures import make_cohort, make_training

from fmnet.training.datamodule import EpochOrder


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
