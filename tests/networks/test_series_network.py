import json
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch

from fmnet.inference.preparation import MIN_TRAINING_FRACTION
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.path_sums import path_fractions
from fmnet.networks.rebuild import (
    describe_builder,
    read_network,
    write_network,
    write_network_files,
)
from fmnet.networks.series import (
    VoxelStandard,
    build_dual_regression,
    build_frames,
    build_learned_seeds,
    build_temporal_filters,
)
from fmnet.training.module import NetworkStack

SHAPE = (9, 10, 11)
SEEDS = partial(build_learned_seeds, n_seeds=2, bands_mm=[[8.0, 24.0]])
FILTERS = partial(build_temporal_filters, n_filters=3, length=6, bands_mm=[[8.0, 24.0]])
REGRESSION = partial(build_dual_regression, n_networks=2, backbone="small_cnn")
FRAMES = partial(build_frames, n_frames=3)
ALL = {"seeds": SEEDS, "filters": FILTERS, "regression": REGRESSION, "frames": FRAMES}
NETWORKS = pytest.mark.parametrize("name", ALL)


@pytest.fixture
def labels():
    return torch.arange(24) % 2


@pytest.fixture
def parts():
    return torch.arange(24) // 8


@pytest.fixture
def scans(labels):
    """Scans of 30 to 32 volumes; a block fluctuates together, in one group with a second one."""
    generator = torch.Generator().manual_seed(0)
    scans = []
    for number, label in enumerate(labels.tolist()):
        n_volumes = 30 + number % 3
        scan = torch.randn(n_volumes, *SHAPE, generator=generator)
        course = 2 * torch.randn(n_volumes, 1, 1, 1, generator=generator)
        scan[:, 1:4, 1:4, 1:4] += course
        scan[:, 5:8, 5:8, 5:8] += course * label
        scan -= scan.mean(0)
        scan[:, 0] = 0
        scans.append(scan)
    return scans


def started(build, scans, labels, parts, **settings):
    torch.manual_seed(0)
    network = build((1, *SHAPE), **settings)
    network.backbone.fit_series(scans, labels, parts)
    return network.eval()


def batch(*n_volumes):
    series = torch.randn(*n_volumes, *SHAPE, generator=torch.Generator().manual_seed(1))
    series[:, :, 0] = 0
    return series


@NETWORKS
def test_one_score_for_each_run_of_any_length(name, scans, labels, parts):
    network = started(ALL[name], scans, labels, parts)
    for n_volumes in (2, 17, 60):
        series = batch(3, n_volumes)
        with torch.no_grad():
            scores = network(series)
            assert scores.shape == (3,)
            assert torch.isfinite(scores).all()
    with torch.no_grad():
        torch.testing.assert_close(network(series[1:2]), scores[1:2], atol=1e-4, rtol=1e-4)


@NETWORKS
def test_every_weight_gets_a_gradient(name, scans, labels, parts):
    network = started(ALL[name], scans, labels, parts).train()
    network(batch(2, 30)).square().sum().backward()
    for weight in network.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()


def test_a_difference_in_connectivity_is_learned(scans, labels, parts):
    network = started(SEEDS, scans[:18], labels[:18], parts[:18])
    with torch.no_grad():
        scores = torch.cat([network(scan[None]) for scan in scans[18:]])
    assert scores[labels[18:] == 1].min() > scores[labels[18:] == 0].max()
    assert list(path_fractions(network)) == ["focal", "distributed"]


@pytest.mark.parametrize("name", ["seeds", "filters", "regression"])
def test_maps_of_training_scans_are_standardised(name, scans, labels, parts):
    backbone = started(ALL[name], scans, labels, parts).backbone
    with torch.no_grad():
        maps = torch.cat([backbone.standard(backbone.scan_maps(scan)) for scan in scans])
    assert not maps[:, :, 0].any()
    torch.testing.assert_close(maps.mean(0), torch.zeros(maps.shape[1:]), atol=1e-3, rtol=0)
    sd = maps.std(0, correction=0)[:, 1:]
    torch.testing.assert_close(sd, torch.ones_like(sd), atol=1e-2, rtol=0)


def test_frames_are_standardised_over_scans_and_volumes(scans, labels, parts):
    backbone = started(FRAMES, scans, labels, parts).backbone
    taken = torch.stack([scan[len(scan) * k // 6] for scan in scans for k in (1, 3, 5)])[:, None]
    torch.testing.assert_close(backbone.standard.mean, taken.mean(0))
    sd = taken.std(0, correction=0)[:, 1:]
    torch.testing.assert_close(1 / backbone.standard.weight[:, 1:], sd)


def test_scores_of_frames_are_averaged(scans, labels, parts):
    network = started(FRAMES, scans, labels, parts)
    series = batch(2, 12)
    with torch.no_grad():
        one_by_one = [network(series[:, [place] * 2]) for place in (2, 6, 10)]
        torch.testing.assert_close(network(series), torch.stack(one_by_one).mean(0))


def test_frames_can_start_a_backbone(scans, labels, parts):
    network = started(FRAMES, scans, labels, parts, backbone="scale_space")
    assert network.backbone.inner.paths["focal"].weight.any()


def test_maps_of_windows_are_averaged(scans, labels, parts):
    backbone = started(SEEDS, scans, labels, parts, window_volumes=20).backbone
    assert backbone.window_volumes == 20
    scan = scans[1]  # of 31 volumes
    with torch.no_grad():
        windows = [backbone.stem(scan[None, start : start + 20]) for start in (0, 11)]
        torch.testing.assert_close(backbone.scan_maps(scan), (windows[0] + windows[1]) / 2)
        whole = started(SEEDS, scans, labels, parts).backbone.standard.mean
    assert (backbone.standard.mean - whole).abs().max() > 1e-3


def test_backbone_that_can_not_start_stays_random(scans, labels, parts):
    torch.manual_seed(0)
    network = REGRESSION((1, *SHAPE))
    before = {name: value.clone() for name, value in network.backbone.inner.state_dict().items()}
    network.backbone.fit_series(scans, labels, parts)
    for name, value in network.backbone.inner.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=0, rtol=0)
    assert path_fractions(network) == {}


def test_a_start_from_equally_long_series_is_the_same(scans, labels, parts):
    equal = [scan[:30] for scan in scans]
    network = SEEDS((1, *SHAPE))
    network.backbone.fit(torch.stack(equal), labels, parts)
    expected = started(SEEDS, equal, labels, parts).state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=0, rtol=0)


def test_standard_is_fitted_where_scans_have_data():
    maps = torch.randn(10, 2, *SHAPE, generator=torch.Generator().manual_seed(2)) * 3 + 1
    maps[:6, :, 2, 3, 4] = 0  # too few
    maps[:4, :, 2, 3, 5] = 0
    maps[:, 1, 4, 4, 4] = 2.5  # hardly varies
    maps[:, :, 0] = 0
    assert 0.4 < MIN_TRAINING_FRACTION <= 0.6
    standard = VoxelStandard((2, *SHAPE))
    standard.fit(maps)
    assert not standard.weight[:, 2, 3, 4].any()
    assert not standard.weight[:, 0].any()
    torch.testing.assert_close(standard.mean[:, 2, 3, 5], maps[4:, :, 2, 3, 5].mean(0))
    known = maps[:, 1, 1:].flatten(1).numpy()
    sd = np.array([column[column != 0].std() for column in known.T])
    usable = (known != 0).mean(0) >= MIN_TRAINING_FRACTION
    floor = 0.1 * np.median(sd[usable])
    assert float(standard.weight[1, 4, 4, 4]) == pytest.approx(1 / floor, rel=1e-4)
    scores = standard(maps)
    assert not scores[:4, :, 2, 3, 5].any()
    assert scores[4:, :, 2, 3, 5].all()


@NETWORKS
def test_rebuilt_from_disk_it_scores_the_same(name, scans, labels, parts, tmp_path):
    network = started(ALL[name], scans, labels, parts)
    write_network(network, describe_builder(ALL[name], (1, *SHAPE)), tmp_path)
    json.loads((tmp_path / "network.json").read_text())
    rebuilt, _ = read_network(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(batch(2, 30)), network(batch(2, 30)), atol=0, rtol=0)


@NETWORKS
def test_trained_side_by_side_they_score_the_same(name, scans, labels, parts):
    networks = [started(ALL[name], scans, labels, parts) for _ in range(2)]
    with torch.no_grad():
        for weight in networks[1].parameters():
            weight.add_(0.1 * weight.std() if weight.numel() > 1 else 0.1)
        series = batch(2, 30)
        expected = torch.stack([network(series) for network in networks])
        stacked = NetworkStack(networks).eval().outputs(torch.stack([series, series]))[..., 0]
    torch.testing.assert_close(stacked, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@NETWORKS
def test_exported_it_scores_the_same_at_any_length(name, scans, labels, parts, tmp_path):
    network = started(ALL[name], scans, labels, parts)
    write_network_files(network, (1, *SHAPE), tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for n_scans, n_volumes in ((1, 20), (3, 31), (2, 150)):
        series = batch(n_scans, n_volumes)
        with torch.no_grad():
            expected = network(series)
            torch.testing.assert_close(program(series), expected, atol=1e-4, rtol=1e-4)
        (found,) = session.run(["score"], {"series": series.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4)
    session.run(["score"], {"series": batch(1, 2).numpy()})


def test_path_fractions_are_found_without_paths_as_well():
    assert path_fractions(build_small_cnn((1, 33, 34, 35))) == {}
