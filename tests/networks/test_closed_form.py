import pytest
import torch

from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_scale_space, path_fractions

SHAPE = (2, 9, 10, 11)


@pytest.fixture
def labels():
    return torch.arange(36) % 2


@pytest.fixture
def parts():
    return torch.arange(36) // 12


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(36, *SHAPE, generator=generator)
    images[:, :, 0] = 0  # outside the brain
    return images


def started(images, labels, parts, **settings):
    network = build_scale_space(SHAPE, **settings)
    network.backbone.fit(images, labels, parts)
    return network.eval()


def test_a_difference_is_learned(images, labels, parts):
    images[labels == 1, 0, 3:6, 3:6, 3:6] += 1
    network = started(images[:30], labels[:30], parts[:30])
    with torch.no_grad():
        scores = network(images[30:])
    assert scores[labels[30:] == 1].min() > scores[labels[30:] == 0].max()


def test_a_path_counts_as_far_as_it_proves_itself(images, labels, parts):
    images[labels == 1, 0, 3:6, 3:6, 3:6] += 2
    gates = started(images, labels, parts).backbone.gate
    places, _, channels, pairs = gates.tolist()
    assert places > 10 * max(channels, pairs, 1e-6)


def test_products_of_contrasts_count_where_only_they_differ(images, labels, parts):
    sign = torch.randint(0, 2, (36, 1, 1, 1), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    other = sign * (2 * labels - 1)[:, None, None, None]
    images[:, 0, 2:7, 2:7, 2:7] += 3 * sign
    images[:, 1, 2:7, 2:7, 2:7] += 3 * other
    backbone = started(images, labels, parts, bands_mm=[[8.0, 24.0]]).backbone
    names = list(backbone.paths)
    spread = backbone.gate / backbone.gate.sum()
    assert spread[names.index("contrast_products")] + spread[names.index("voxel_pairs")] > 0.8


def test_gates_are_what_paths_reached_beyond_chance(images, labels, parts):
    network = started(images, labels, parts)
    backbone = network.backbone
    unseen = torch.randn(36, 4, generator=torch.Generator().manual_seed(0))
    for group in (0, 1):  # exactly alike but for what is added
        unseen[labels == group] -= unseen[labels == group].mean(0)
        unseen[labels == group] /= unseen[labels == group].std(0)
    unseen[:, 0] += 2.0 * labels
    unseen[:, 1] = 10 * (unseen[:, 1] + 1.0 * labels)
    unseen[:, 2] += 0.2 * labels  # no more than chance would do
    unseen[:, 3] -= 3.0 * labels
    with torch.no_grad():
        backbone._set_gates(unseen, labels)
    first, second, third, fourth = backbone.gate.tolist()
    error = 2 / 36**0.5
    assert first / (10 * second) == pytest.approx((2 - error) / (1 - error), rel=1e-3)
    assert (third, fourth) == (0, 0)
    shares = path_fractions(network)
    assert list(shares) == ["focal", "distributed", "contrast_products", "voxel_pairs"]
    assert shares["focal"] == pytest.approx((2 - error) / (3 - 2 * error), rel=1e-3)
    scores = unseen @ backbone.gate.detach() + backbone.bias.detach()
    assert scores[labels == 1].mean().item() == pytest.approx(-scores[labels == 0].mean().item())


@pytest.mark.parametrize(("n_one", "n_other"), [(12, 12), (60, 20), (150, 150)])
def test_paths_that_show_nothing_count_as_rarely_with_many_people(n_one, n_other):
    """By one standard error: 0.16 of them; here 0.10 to 0.22, with 600 a width of +- 4 SE."""
    backbone = build_scale_space(SHAPE).backbone
    generator = torch.Generator().manual_seed(n_one)
    labels = torch.arange(n_one + n_other) < n_one
    counted = 0
    for _ in range(200):
        unseen = torch.randn(len(labels), 4, generator=generator)
        with torch.no_grad():
            backbone._set_gates(unseen, labels.long())
        counted += int((backbone.gate[1:] > 0).sum())  # the first counts in any case
    assert 0.10 < counted / 600 < 0.22


def test_where_nobody_can_be_left_out_the_first_path_counts(images, labels, parts):
    gates = started(images, labels, torch.zeros_like(parts)).backbone.gate
    assert gates.tolist() == [1, 0, 0, 0]


def test_the_same_scans_start_the_same_network(images, labels, parts):
    one, other = (started(images, labels, parts).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_are_written_and_read(images, labels, parts):
    network = started(images, labels, parts)
    again = build_scale_space(SHAPE)
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(images), network(images), rtol=0, atol=0)


def test_every_weight_gets_a_gradient(images, labels, parts):
    network = started(images, labels, parts)
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
