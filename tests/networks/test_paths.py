import pytest
import torch

from fmnet.networks.closed_form import (
    CONTRAST_PRODUCTS,
    VOXEL_PAIRS,
    ProductForm,
    ProductPath,
    VoxelPath,
)

SHAPE = (9, 10, 11)
EVERY_PLACE = ProductForm(4, False, 50, 5)


@pytest.fixture
def labels():
    return torch.arange(40) % 2


@pytest.fixture
def bands():
    """Two bands of two contrasts without any difference between groups."""
    return torch.randn(40, 2, 2, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask():
    mask = torch.ones(SHAPE)
    mask[0] = 0
    return mask


def separation(path, bands, labels):
    with torch.no_grad():
        scores = path(bands)
    return float(scores[labels == 1].mean() - scores[labels == 0].mean())


def start(path, bands, labels, mask):
    path.fit(bands, labels, mask)
    return path


def test_places_find_where_groups_differ(bands, labels, mask):
    bands[labels == 1, 1, 0, 4, 5, 6] += 6
    path = start(VoxelPath((2, *SHAPE), 2, 3.0, 0.0), bands, labels, mask)
    largest = path.weight[1].abs().flatten().argmax()
    assert torch.unravel_index(largest, (2, *SHAPE)) == (0, 4, 5, 6)
    assert path.weight[1, 0, 4, 5, 6] > 0


def test_places_outside_the_mask_have_no_weight(bands, labels, mask):
    bands[labels == 1, :, :, 0] += 3
    path = start(VoxelPath((2, *SHAPE), 2, 3.0, 10.0), bands, labels, mask)
    assert not path.weight[..., 0, :, :].any()


def test_places_score_the_mean_training_scan_by_nothing(bands, labels, mask):
    path = start(VoxelPath((2, *SHAPE), 2, 3.0, 10.0), bands + 7, labels, mask)
    assert path((bands + 7).mean(0, keepdim=True)).abs().item() < 1e-3


def test_pairs_find_what_no_place_shows(bands, labels, mask):
    sign = torch.randint(0, 2, (40,), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    bands[:, 1, 0, 2, 3, 4] += 3 * sign
    bands[:, 1, 0, 6, 7, 8] += 3 * sign * (2 * labels - 1)
    path = start(ProductPath((2, *SHAPE), (1,), EVERY_PLACE, 4.0, 0.0), bands, labels, mask)
    n_places = 9 * 10 * 11
    best = path.weight[0].abs().argmax()
    places = {int(path.first[0, best]), int(path.second[0, best])}
    expected = {2 * 110 + 3 * 11 + 4, 6 * 110 + 7 * 11 + 8}
    assert places == expected
    assert max(places) < n_places  # in the first contrast
    assert separation(path, bands, labels) > 0


def test_contrasts_are_compared_at_one_place(bands, labels, mask):
    sign = torch.randint(0, 2, (40,), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    bands[:, 0, 0, 3, 3, 3] += 3 * sign
    bands[:, 0, 1, 3, 3, 3] += 3 * sign * (2 * labels - 1)
    form = ProductForm(8, True, 20, 5)
    path = start(ProductPath((2, *SHAPE), (0,), form, 4.0, 0.0), bands, labels, mask)
    best = path.weight[0].abs().argmax()
    n_places = 4 * 5 * 5  # every second voxel from the second on
    assert (path.second - path.first == n_places).all()
    assert int(path.first[0, best]) == 1 * 25 + 1 * 5 + 1


def test_scores_are_the_same_whatever_is_scored_beside(bands, labels, mask):
    path = start(
        ProductPath((2, *SHAPE), (0, 1), CONTRAST_PRODUCTS, 4.0, 10.0), bands, labels, mask
    )
    torch.testing.assert_close(path(bands)[5:6], path(bands[5:6]), atol=1e-5, rtol=1e-4)


def test_fewer_pairs_than_asked_for_are_enough(bands, labels, mask):
    few, inside = bands[..., :3, :4], mask[:, :3, :4]
    path = start(ProductPath((2, 9, 3, 4), (0,), VOXEL_PAIRS, 4.0, 10.0), few, labels, inside)
    assert torch.isfinite(path(few)).all()
    assert 0 < (path.weight != 0).sum() < VOXEL_PAIRS.n_products


def test_one_slice_is_enough(bands, labels, mask):
    """Of an axis that is thinner than the distance between places, one voxel is looked at."""
    thin, inside = bands[..., :1], mask[..., :1]
    path = start(ProductPath((2, 9, 10, 1), (0,), VOXEL_PAIRS, 4.0, 10.0), thin, labels, inside)
    assert torch.isfinite(path(thin)).all()
    assert (path.weight != 0).any()


def test_starting_again_leaves_nothing_of_the_first_start(bands, labels, mask):
    path = ProductPath((2, *SHAPE), (1,), EVERY_PLACE, 4.0, 10.0)
    expected = start(path, bands, labels, mask)(bands)
    start(path, bands.flip(0) * 3, labels.flip(0), mask)
    torch.testing.assert_close(start(path, bands, labels, mask)(bands), expected)
