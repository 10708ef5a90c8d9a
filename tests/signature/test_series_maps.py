from functools import partial

import numpy as np
import pytest
import torch

from fmnet.data.grid import Grid
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.series import (
    build_dual_regression,
    build_frames,
    build_learned_seeds,
    build_temporal_filters,
)
from fmnet.signature.attribution import integrated_gradients, occlusion
from fmnet.signature.series_maps import (
    maps_network,
    mean_by_scan,
    seed_maps,
    stem_attribution,
    stem_maps,
)

SHAPE = (7, 8, 9)
BUILT = {
    "seeds": (partial(build_learned_seeds, n_seeds=3, bands_mm=[[8.0, 24.0]]), 3),
    "regression": (partial(build_dual_regression, n_networks=2, backbone="small_cnn"), 2),
    "filters": (partial(build_temporal_filters, n_filters=4, length=6, bands_mm=[[8.0, 24.0]]), 4),
    "frames": (partial(build_frames, n_frames=3), 1),
}


@pytest.fixture
def scans():
    """Windows of 9 persons, (W, T, X, Y, Z): two of 20 volumes, of every third person one."""
    generator = torch.Generator().manual_seed(0)
    each = [torch.randn(2 if n % 3 else 1, 20, *SHAPE, generator=generator) for n in range(9)]
    for number, scan in enumerate(each):
        course = 2 * torch.randn(20, 1, 1, 1, generator=generator)
        scan[:, :, 1:4, 1:4, 1:4] += course
        scan[:, :, 4:6, 5:8, 5:8] += course * (number % 2)
        scan[:, :, 0] = 0
    return [scan.numpy() for scan in each]


def fitted(name, scans):
    torch.manual_seed(0)
    network = BUILT[name][0]((20, *SHAPE), window_volumes=20)
    labels = torch.arange(len(scans)) % 2
    series = [torch.from_numpy(scan).flatten(0, 1) for scan in scans]
    network.backbone.fit_series(series, labels, torch.arange(len(scans)) // 3)
    return network.eval()


@pytest.mark.parametrize("name", BUILT)
def test_maps_of_a_stem_carry_the_whole_score(name, scans):
    network = fitted(name, scans)
    maps, owners = stem_maps(network, scans)
    inner = maps_network(network)
    assert maps.shape[1:] == (BUILT[name][1], *SHAPE)
    with torch.no_grad():
        scores = [float(network(torch.from_numpy(scan)).mean()) for scan in scans]
        at_mean = float(inner(torch.zeros(1, *maps.shape[1:])))
    lost = mean_by_scan(occlusion(inner, maps, np.ones(SHAPE, int)), owners)
    assert lost.shape == (9, 1)
    assert np.allclose(lost[:, 0], np.array(scores) - at_mean, atol=1e-4)


def test_what_seeds_add_makes_up_the_score(scans):
    network = fitted("seeds", scans)
    maps, owners = stem_maps(network, scans)
    found = mean_by_scan(integrated_gradients(maps_network(network), maps), owners)
    assert found.shape == (9, 3, *SHAPE)
    with torch.no_grad():
        scores = np.array([float(network(torch.from_numpy(scan)).mean()) for scan in scans])
        at_mean = float(maps_network(network)(torch.zeros(1, *maps.shape[1:])))
    assert np.allclose(found.sum((1, 2, 3, 4)), scores - at_mean, atol=1e-4)


@pytest.mark.parametrize("name", ["seeds", "filters"])
def test_parts_of_seeds_add_up_to_the_difference_of_groups(name, scans, grid):
    network, labels = fitted(name, scans), np.arange(9) % 2
    found = stem_attribution(network, scans, labels, grid, "a network", 9, ("FM", "HC"))
    with torch.no_grad():
        scores = np.array([float(network(torch.from_numpy(scan)).mean()) for scan in scans])
    difference = scores[labels == 1].mean() - scores[labels == 0].mean()
    missed = found.about["Incompleteness"] * np.abs(scores).mean() + 1e-4
    everywhere = Grid(np.ones(SHAPE, bool), grid.affine, grid.space)
    whole = stem_attribution(network, scans, labels, everywhere, "a network", 9)
    assert whole.values.sum() == pytest.approx(difference, abs=2 * missed)
    assert found.contrasts[0] == ("seed1" if name == "seeds" else "filter1")
    assert np.allclose(found.volume[:, grid.mask], whole.volume[:, grid.mask])
    assert sum(found.about["PartOfDifference"]) == pytest.approx(1)
    assert found.sign == "positive: sets FM above HC; negative: the other way round"
    assert found.n_subjects == 9


@pytest.mark.parametrize(("name", "word"), [("seeds", "seed"), ("regression", "network")])
def test_learned_seeds_are_maps(name, word, scans, grid):
    network = fitted(name, scans)
    stem = network.backbone.stem
    learned = stem.weight if name == "seeds" else stem.networks
    found = seed_maps(network, grid, "a network", "final", 9)
    n = BUILT[name][1]
    assert found.description == "seed"
    assert found.contrasts == tuple(f"{word}{number}" for number in range(1, n + 1))
    assert np.allclose(np.square(found.values).mean(1), 1, atol=1e-4)
    inside = learned.detach().numpy()[:, grid.mask]
    for shown, raw in zip(found.values, inside, strict=True):
        assert np.corrcoef(shown, raw)[0, 1] == pytest.approx(1, abs=1e-5)


def test_seeds_have_files(scans, grid, tmp_path):
    found = seed_maps(fitted("seeds", scans), grid, "a network", "final", 9)
    names = [path.name for path in found.write(tmp_path)]
    assert names[2] == "contrast-seed3_space-MNI152_desc-seed_statmap.nii.gz"


def test_filters_have_no_maps(scans, grid):
    assert seed_maps(fitted("filters", scans), grid, "a network", "final", 9) is None


def test_networks_of_maps_have_none(grid: Grid):
    network = build_small_cnn((1, *SHAPE))
    assert seed_maps(network, grid, "a network", "final", 9) is None
    assert maps_network(network) is None
    assert stem_attribution(network, [], np.array([0, 1]), grid, "a network", 2) is None
