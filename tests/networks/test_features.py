from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch

from fmnet.networks.backbones import (
    build_densenet,
    build_linear,
    build_resnet,
    build_small_cnn,
)
from fmnet.networks.closed_form import build_scale_space
from fmnet.networks.features import in_groups, local_energies
from fmnet.networks.monai_networks import build_monai
from fmnet.networks.rebuild import write_network_files
from fmnet.networks.series import build_frames, build_learned_seeds

MAPS, SERIES = (2, 17, 18, 19), (20, 7, 8, 9)
BANDS = partial(build_scale_space, paths=["focal"], bands_mm=[[8.0, 24.0], [12.0, 32.0]])
#: Builder, shape of a scan, and how many features it has.
NETWORKS = {
    "filters": (BANDS, MAPS, 108 + 128),
    "one weight a voxel": (build_linear, MAPS, 250),
    "small CNN": (partial(build_small_cnn, channels=[4, 6]), MAPS, 125 + 128),
    "ResNet": (partial(build_resnet, channels=[3, 4, 5, 6]), MAPS, 6 + 128),
    "DenseNet": (partial(build_densenet, layers=[1]), MAPS, 24 + 128),
    "of tokens": (
        partial(
            build_monai,
            name="ViT",
            settings={"patch_size": 8, "hidden_size": 24, "mlp_dim": 8, "num_heads": 2},
            multiple_of=8,
        ),
        MAPS,
        24 + 128,
    ),
    "series": (partial(build_learned_seeds, n_seeds=3, paths=["focal"]), SERIES, 72 + 81),
    "frames": (partial(build_frames, n_frames=4), SERIES, 32 + 112),
}


def build(name):
    builder, shape, _ = NETWORKS[name]
    torch.manual_seed(1)
    network = builder(shape).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.2)
    return network, shape


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_those_of_each_scan_and_scores_stay_the_same(name):
    network, shape = build(name)
    image = torch.randn(3, *shape)
    with torch.no_grad():
        score, features = network.scores_and_features(image)
        torch.testing.assert_close(score, network(image), atol=0, rtol=0)
        torch.testing.assert_close(features[1:2], network.features(image[1:2]))
    assert features.shape == (3, NETWORKS[name][2])
    assert features.isfinite().all()
    assert (features[0] - features[1]).abs().max() > 1e-3
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in network.modules())


@pytest.mark.parametrize("name", ["small CNN", "frames"])
def test_programs_give_both_and_the_older_form_the_score_alone(name, tmp_path):
    network, shape = build(name)
    write_network_files(network, shape, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    program = torch.export.load(tmp_path / "model.pt2").module()
    assert [node.name for node in session.get_outputs()] == ["score", "features"]
    for n_scans in (1, 3):
        image = torch.randn(n_scans, *shape)
        with torch.no_grad():
            score, features = network.scores_and_features(image)
            torch.testing.assert_close(program(image), score, atol=1e-4, rtol=1e-4)
        found = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        np.testing.assert_allclose(found[0], score, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(found[1], features, atol=1e-4, rtol=1e-4)


def test_energy_of_a_part_is_the_logarithm_of_its_root_mean_square():
    maps = torch.zeros(1, 2, 40, 8, 9)
    maps[0, 1, :5] = 3.0
    found = local_energies(maps, 64).exp().view(2, 8, 2, 2)  # cubes of 5 voxels a side
    assert found[0].max() == pytest.approx(0.01)
    assert (found[1] > 0.02).any(dim=2).any(dim=1).tolist() == [True] + [False] * 7
    assert found[1].square().sum() * 125 == pytest.approx(9 * 5 * 8 * 9, rel=1e-3)


def test_a_map_of_as_many_voxels_as_features_is_taken_as_it_is():
    maps = torch.randn(2, 1, 4, 5, 6)
    expected = maps.abs().clamp(min=0.01).log().flatten(1)
    torch.testing.assert_close(local_energies(maps, 120), expected)


@pytest.mark.parametrize("n_maps", [7, 300])
def test_features_are_never_more_than_allowed(n_maps):
    found = local_energies(torch.randn(2, n_maps, 7, 8, 9), 50)
    assert found.shape[1] <= 50


def test_groups_are_means_of_neighbours():
    values = torch.arange(500.0)[None]
    assert in_groups(values, 250)[0, :3].tolist() == [0.5, 2.5, 4.5]
    assert in_groups(values, 500) is values
