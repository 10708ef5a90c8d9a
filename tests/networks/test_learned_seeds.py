import numpy as np
import pytest
import torch

from fmnet.networks.stems import LearnedSeeds

SHAPE = (7, 8, 9)


@pytest.fixture
def series():
    series = torch.randn(2, 50, *SHAPE, generator=torch.Generator().manual_seed(0))
    series[:, :, 0] = 0
    return series


@pytest.fixture
def stem():
    return LearnedSeeds(SHAPE, 3, seed=5)


def test_maps_are_correlations_with_the_weighted_sum_of_standardised_voxels(stem, series):
    with torch.no_grad():
        maps = stem(series).numpy()
    inside = series[0, 0].numpy() != 0
    weight = stem.weight.detach().numpy()[:, inside]
    for scan, own in zip(series.numpy(), maps, strict=True):
        values = scan[:, inside]
        z = (values - values.mean(0)) / values.std(0)
        seeds = z @ weight.T
        r = np.corrcoef(seeds.T, z.T)[:3, 3:]
        np.testing.assert_allclose(own[:, inside], np.arctanh(r), atol=1e-4)


def test_scale_and_offset_of_voxels_do_not_matter(stem, series):
    generator = torch.Generator().manual_seed(1)
    scale, offset = 10 * torch.rand(2, *SHAPE, generator=generator) + 0.1
    inside = (series != 0).any(1, keepdim=True)
    changed = (series * scale + offset) * inside
    torch.testing.assert_close(stem(changed), stem(series), atol=1e-3, rtol=0)


def test_norm_of_weights_does_not_matter(stem, series):
    expected = stem(series)
    stem.weight.data *= torch.tensor([0.01, 1, 300])[:, None, None, None]
    torch.testing.assert_close(stem(series), expected, atol=1e-4, rtol=0)


def test_a_seed_of_one_voxel_is_no_infinite_map(stem, series):
    stem.weight.data.zero_()
    stem.weight.data[:, 3, 4, 5] = 1
    maps = stem(series)
    assert torch.isfinite(maps).all()
    assert maps[:, :, 3, 4, 5].min() == maps.max()


def test_seeds_start_from_what_goes_together(stem):
    generator = torch.Generator().manual_seed(2)
    planted = torch.zeros(3, *SHAPE)
    planted[0, 1:3, 1:4], planted[1, 4:6, 1:3, 3:7], planted[2, 3:6, 5:7, 1:5] = 1, 1, 1
    scans = [
        (torch.randn(40, 3, generator=generator) @ planted.flatten(1)).reshape(40, *SHAPE)
        + 0.5 * torch.randn(40, *SHAPE, generator=generator)
        for _ in range(6)
    ]
    stem.fit(scans)
    r = np.corrcoef(stem.weight.detach().flatten(1), planted.flatten(1))[:3, 3:]
    assert sorted(r.argmax(axis=1)) == [0, 1, 2]
    assert r.max(axis=1).min() > 0.9


def test_seeds_move_to_where_groups_differ():
    """Voxels go together in one group alone: a seed learns to lie where they do."""
    generator = torch.Generator().manual_seed(3)
    series = torch.randn(12, 60, *SHAPE, generator=generator)
    labels = torch.arange(12) % 2
    series[labels == 1, :, 2:4, 2:4, 2:4] += 2 * torch.randn(6, 60, 1, 1, 1, generator=generator)
    stem = LearnedSeeds(SHAPE, 1)
    optimiser = torch.optim.Adam(stem.parameters(), 0.1)
    differences = []
    for _ in range(30):
        place = stem(series)[:, 0, 2:4, 2:4, 2:4].abs().mean((1, 2, 3))
        difference = place[labels == 1].mean() - place[labels == 0].mean()
        optimiser.zero_grad()
        (-difference).backward()
        optimiser.step()
        differences.append(difference.item())
    assert differences[0] < 0.4
    assert differences[-1] > differences[0] + 0.5
    inside = stem.weight.detach()[0, 2:4, 2:4, 2:4].mean().abs()
    assert inside > 5 * stem.weight.detach().mean().abs()
