import pytest
import torch

from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import VoxelPath, build_scale_space
from fmnet.networks.path_sums import path_fractions, weigh_paths
from fmnet.networks.paths import Views
from fmnet.networks.product_path import CONTRAST_PRODUCTS, VOXEL_PAIRS, ProductForm, ProductPath

SHAPE = (2, 9, 10, 11)


@pytest.fixture
def labels():
    return torch.arange(36) % 2


@pytest.fixture
def folds():
    return torch.arange(36) // 12


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(36, *SHAPE, generator=generator)
    images[:, :, 0] = 0  # outside the brain
    return images


def fitted(images, labels, folds, **settings):
    network = build_scale_space(SHAPE, **settings)
    network.backbone.fit(images, labels, folds)
    return network.eval()


def test_a_difference_is_learned(images, labels, folds):
    images[labels == 1, 0, 3:6, 3:6, 3:6] += 1
    network = fitted(images[:30], labels[:30], folds[:30])
    with torch.no_grad():
        scores = network(images[30:])
    assert scores[labels[30:] == 1].min() > scores[labels[30:] == 0].max()


def test_a_path_counts_as_far_as_it_proves_itself(images, labels, folds):
    images[labels == 1, 0, 3:6, 3:6, 3:6] += 2
    gates = fitted(images, labels, folds).backbone.gate
    focal, _, products, pairs = gates.tolist()
    assert focal > 10 * max(products, pairs, 1e-6)


def test_products_of_contrasts_count_where_only_they_differ(images, labels, folds):
    sign = torch.randint(0, 2, (36, 1, 1, 1), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    other = sign * (2 * labels - 1)[:, None, None, None]
    images[:, 0, 2:7, 2:7, 2:7] += 3 * sign
    images[:, 1, 2:7, 2:7, 2:7] += 3 * other
    backbone = fitted(images, labels, folds, bands_mm=[[8.0, 24.0]]).backbone
    names = list(backbone.paths)
    relative = backbone.gate / backbone.gate.sum()
    assert relative[names.index("contrast_products")] + relative[names.index("voxel_pairs")] > 0.8


def uncorrelated(labels, separations):
    """Scores whose groups are so far apart, in standard deviations, and that don't correlate."""
    unseen = torch.randn(len(labels), len(separations), generator=torch.Generator().manual_seed(0))
    for group in (0, 1):
        own = unseen[labels == group]
        unseen[labels == group] = torch.linalg.qr(own - own.mean(0))[0] * (len(own) - 1) ** 0.5
    return unseen + torch.tensor(separations) * labels[:, None]


def test_gates_are_what_paths_reached_beyond_chance(images, labels, folds):
    network = fitted(images, labels, folds)
    assert list(path_fractions(network)) == [
        "focal", "distributed", "contrast_products", "voxel_pairs",
    ]  # fmt: skip
    # the second in another unit; the third is no more than chance would do
    unseen = uncorrelated(labels, [2.0, 1.0, 0.2, -3.0]) * torch.tensor([1.0, 10, 1, 1])
    fraction, gate, bias = weigh_paths(unseen, labels)
    first, second, third, fourth = gate.tolist()
    error = 2 / 36**0.5
    assert first / (10 * second) == pytest.approx((2 / (1 - error)) ** 3, rel=1e-3)
    assert (third, fourth) == (0, 0)
    assert fraction[0].item() == pytest.approx(8 / (8 + (1 - error) ** 3), rel=1e-3)
    scores = unseen @ gate + bias
    assert scores[labels == 1].mean().item() == pytest.approx(-scores[labels == 0].mean().item())


def test_the_first_path_need_not_prove_itself(labels):
    fraction = weigh_paths(uncorrelated(labels, [-1.0, 0.3, 0.3]), labels)[0]
    assert fraction.tolist() == [1, 0, 0]


def test_a_path_that_is_twice_as_good_is_left_nearly_alone(labels):
    error = 2 / 36**0.5
    fraction = weigh_paths(uncorrelated(labels, [1.0, 2.0 + error, 1.0 + error]), labels)[0]
    assert fraction.tolist() == pytest.approx([0.1, 0.8, 0.1], rel=1e-3)


def test_paths_of_many_labelings_are_weighed_as_one_by_one(labels):
    generator = torch.Generator().manual_seed(5)
    unseen = torch.randn(7, 36, 4, generator=generator)
    unseen[..., 1] += 0.8 * unseen[..., 0]
    many = torch.stack([labels[torch.randperm(36, generator=generator)] for _ in range(7)])
    for found, expected in zip(
        weigh_paths(unseen, many),
        zip(*(weigh_paths(*one) for one in zip(unseen, many, strict=True)), strict=True),
        strict=True,
    ):
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("n_one", "n_other"), [(12, 12), (60, 20), (150, 150)])
def test_paths_that_show_nothing_count_as_rarely_with_many_people(n_one, n_other):
    """By one standard error: 0.16 of them; here 0.10 to 0.22, with 600 a width of +- 4 SE."""
    generator = torch.Generator().manual_seed(n_one)
    labels = torch.arange(n_one + n_other) < n_one
    counted = 0
    for _ in range(200):
        unseen = torch.randn(len(labels), 4, generator=generator)
        counted += int(
            (weigh_paths(unseen, labels.long())[1][1:] > 0).sum()
        )  # the first counts in any case
    assert 0.10 < counted / 600 < 0.22


def test_where_nobody_can_be_left_out_the_first_path_counts(images, labels, folds):
    gates = fitted(images, labels, torch.zeros_like(folds)).backbone.gate
    assert gates.tolist() == [1, 0, 0, 0]


def test_the_same_scans_give_the_same_network(images, labels, folds):
    one, other = (fitted(images, labels, folds).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_are_written_and_read(images, labels, folds):
    network = fitted(images, labels, folds)
    again = build_scale_space(SHAPE)
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(images), network(images), rtol=0, atol=0)


def test_every_weight_gets_a_gradient(images, labels, folds):
    network = fitted(images, labels, folds)
    network(images[:4]).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_one_contrast_has_no_products_of_contrasts():
    assert list(build_scale_space((1, 9, 10, 11)).backbone.paths) == [
        "focal",
        "distributed",
        "voxel_pairs",
    ]


def test_other_networks_have_no_paths():
    assert path_fractions(build_small_cnn((1, 33, 34, 35))) == {}


def test_no_path_is_refused():
    with pytest.raises(ConfigError, match="only 'contrast_products' with a single contrast"):
        build_scale_space((1, 9, 10, 11), paths=["contrast_products"])


def test_bands_the_wrong_way_round_are_refused():
    with pytest.raises(ConfigError, match=r"\[16, 6\]"):
        build_scale_space(SHAPE, bands_mm=[[16.0, 6.0]])


GRID = (9, 10, 11)
EVERY_VOXEL = ProductForm(4, False, 50, 5)


@pytest.fixture
def path_labels():
    return torch.arange(40) % 2


@pytest.fixture
def bands():
    """Two bands of two contrasts without any difference between groups."""
    return torch.randn(40, 2, 2, *GRID, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask():
    mask = torch.ones(GRID)
    mask[0] = 0
    return mask


def separation(path, bands, path_labels):
    with torch.no_grad():
        scores = path(Views(bands[:, 0], bands))
    return float(scores[path_labels == 1].mean() - scores[path_labels == 0].mean())


def fitted_path(path, bands, path_labels, mask):
    path.fit(Views(bands[:, 0], bands), path_labels, mask)
    return path


def test_voxels_find_where_groups_differ(bands, path_labels, mask):
    bands[path_labels == 1, 1, 0, 4, 5, 6] += 6
    path = fitted_path(VoxelPath((2, *GRID), 2, 3.0, 0.0), bands, path_labels, mask)
    largest = path.weight[1].abs().flatten().argmax()
    assert torch.unravel_index(largest, (2, *GRID)) == (0, 4, 5, 6)
    assert path.weight[1, 0, 4, 5, 6] > 0


def test_voxels_outside_the_mask_have_no_weight(bands, path_labels, mask):
    bands[path_labels == 1, :, :, 0] += 3
    path = fitted_path(VoxelPath((2, *GRID), 2, 3.0, 10.0), bands, path_labels, mask)
    assert not path.weight[..., 0, :, :].any()


def test_voxels_score_the_mean_training_scan_by_nothing(bands, path_labels, mask):
    path = fitted_path(VoxelPath((2, *GRID), 2, 3.0, 10.0), bands + 7, path_labels, mask)
    assert path(Views(bands[:1, 0], (bands + 7).mean(0, keepdim=True))).abs().item() < 1e-3


def test_pairs_find_what_no_voxel_shows(bands, path_labels, mask):
    sign = torch.randint(0, 2, (40,), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    bands[:, 1, 0, 2, 3, 4] += 3 * sign
    bands[:, 1, 0, 6, 7, 8] += 3 * sign * (2 * path_labels - 1)
    path = fitted_path(
        ProductPath((2, *GRID), (1,), EVERY_VOXEL, 4.0, 0.0), bands, path_labels, mask
    )
    n_voxels = 9 * 10 * 11
    best = path.weight[0].abs().argmax()
    voxels = {int(path.first[0, best]), int(path.second[0, best])}
    expected = {2 * 110 + 3 * 11 + 4, 6 * 110 + 7 * 11 + 8}
    assert voxels == expected
    assert max(voxels) < n_voxels  # in the first contrast
    assert separation(path, bands, path_labels) > 0


def test_contrasts_are_compared_at_one_voxel(bands, path_labels, mask):
    sign = torch.randint(0, 2, (40,), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    bands[:, 0, 0, 3, 3, 3] += 3 * sign
    bands[:, 0, 1, 3, 3, 3] += 3 * sign * (2 * path_labels - 1)
    form = ProductForm(8, True, 20, 5)
    path = fitted_path(ProductPath((2, *GRID), (0,), form, 4.0, 0.0), bands, path_labels, mask)
    best = path.weight[0].abs().argmax()
    n_voxels = 4 * 5 * 5  # every second voxel from the second on
    assert (path.second - path.first == n_voxels).all()
    assert int(path.first[0, best]) == 1 * 25 + 1 * 5 + 1


def test_scores_are_the_same_whatever_else_is_scored(bands, path_labels, mask):
    path = fitted_path(
        ProductPath((2, *GRID), (0, 1), CONTRAST_PRODUCTS, 4.0, 10.0), bands, path_labels, mask
    )
    torch.testing.assert_close(
        path(Views(bands[:, 0], bands))[5:6],
        path(Views(bands[5:6, 0], bands[5:6])),
        atol=1e-5,
        rtol=1e-4,
    )


def test_fewer_pairs_than_asked_for_are_enough(bands, path_labels, mask):
    few, inside = bands[..., :3, :4], mask[:, :3, :4]
    path = fitted_path(
        ProductPath((2, 9, 3, 4), (0,), VOXEL_PAIRS, 4.0, 10.0), few, path_labels, inside
    )
    assert torch.isfinite(path(Views(few[:, 0], few))).all()
    assert 0 < (path.weight != 0).sum() < VOXEL_PAIRS.n_products


def test_one_slice_is_enough(bands, path_labels, mask):
    """Of an axis that is thinner than the distance between voxels, one voxel is looked at."""
    thin, inside = bands[..., :1], mask[..., :1]
    path = fitted_path(
        ProductPath((2, 9, 10, 1), (0,), VOXEL_PAIRS, 4.0, 10.0), thin, path_labels, inside
    )
    assert torch.isfinite(path(Views(thin[:, 0], thin))).all()
    assert (path.weight != 0).any()


def test_fitting_again_leaves_nothing_of_the_first_fit(bands, path_labels, mask):
    path = ProductPath((2, *GRID), (1,), EVERY_VOXEL, 4.0, 10.0)
    expected = fitted_path(path, bands, path_labels, mask)(Views(bands[:, 0], bands))
    fitted_path(path, bands.flip(0) * 3, path_labels.flip(0), mask)
    torch.testing.assert_close(
        fitted_path(path, bands, path_labels, mask)(Views(bands[:, 0], bands)), expected
    )
