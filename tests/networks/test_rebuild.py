import json
import math
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from fmnet.earlier import PATHS
from fmnet.errors import ConfigError, RunError
from fmnet.networks.backbones import ScoreNetwork, build_densenet, build_resnet, build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.networks.rebuild import check_network, describe_builder, read_network, write_network
from fmnet.networks.series import build_frames, build_learned_seeds

SHAPE = (2, 7, 8, 9)
BUILD = partial(build_small_cnn, channels=[4, 6])


@pytest.fixture(autouse=True)
def written(tmp_path):
    network = BUILD(SHAPE).eval()
    write_network(network, describe_builder(BUILD, SHAPE), tmp_path)
    return network


def test_disk_and_back_gives_the_same_scores(written, tmp_path):
    read, description = read_network(tmp_path)
    image = torch.randn(3, *SHAPE)
    torch.testing.assert_close(read(image), written(image), atol=0, rtol=0)
    assert description.settings == {"channels": [4, 6]}
    assert not read.training


def test_builder_from_elsewhere_is_not_run(tmp_path):
    path = tmp_path / "network.json"
    path.write_text(json.dumps({"builder": "os.system", "settings": {}, "input_shape": SHAPE}))
    with pytest.raises(RunError, match=r"a network built by 'os'; accepted: builders from fmnet"):
        read_network(tmp_path)


def test_package_whose_name_begins_alike_is_not_trusted(tmp_path):
    path = tmp_path / "network.json"
    path.write_text(
        json.dumps({"builder": "fmnet.networks_evil.f", "settings": {}, "input_shape": SHAPE})
    )
    with pytest.raises(RunError, match=r"built by 'fmnet\.networks_evil'"):
        read_network(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "network.json"
    description = json.loads(path.read_text()) | {"input_shape": [2, 17, 8, 9]}
    path.write_text(json.dumps(description))
    with pytest.raises(RunError, match="can't be rebuilt"):
        read_network(tmp_path)


def test_truncated_weights_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RunError, match="can't be rebuilt"):
        read_network(tmp_path)


@pytest.mark.parametrize("build", [build_scale_space, build_learned_seeds])
def test_network_of_before_its_paths_were_renamed_is_read(build, tmp_path):
    earlier = {name: old for old, name in PATHS.items()}
    network = build(SHAPE)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    backbone = getattr(network.backbone, "inner", network.backbone)
    paths = list(backbone.paths)
    write_network(network, describe_builder(partial(build, paths=paths), SHAPE), tmp_path)
    path = tmp_path / "network.json"
    described = json.loads(path.read_text())
    described["settings"]["paths"] = [earlier[name] for name in paths]
    path.write_text(json.dumps(described))
    state = {}
    for name, value in load_file(tmp_path / "weights.safetensors").items():
        for now, then in earlier.items():
            name = name.replace(f".paths.{now}.", f".paths.{then}.")
        state[name.replace(".fraction", ".share")] = value
    assert any(name.endswith(".paths.places.weight") for name in state)
    save_file(state, tmp_path / "weights.safetensors")
    read, description = read_network(tmp_path)
    assert description.settings["paths"] == paths
    image = torch.randn(3, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(read(image), network.eval()(image), atol=0, rtol=0)


@pytest.mark.parametrize("module", ["linear_map", "linear_layer"])
def test_linear_model_of_before_it_moved_is_read(module, tmp_path):
    described = {"builder": f"fmnet.networks.{module}.build_linear", "settings": {}}
    (tmp_path / "network.json").write_text(json.dumps(described | {"input_shape": SHAPE}))
    weights = {"backbone.1.weight": torch.ones(1, 2 * 7 * 8 * 9), "backbone.1.bias": torch.zeros(1)}
    save_file(weights, tmp_path / "weights.safetensors")
    read, _ = read_network(tmp_path)
    assert read(torch.ones(1, *SHAPE)).item() == 2 * 7 * 8 * 9


GOOD = {
    "small CNN": build_small_cnn,
    "closed form": build_scale_space,
    "seeds": build_learned_seeds,
    "windows": partial(build_frames, window_volumes=20),
    "ResNet": build_resnet,
}


@pytest.mark.parametrize("name", GOOD)
def test_network_that_fits_the_grid_is_accepted(name):
    check_network(GOOD[name], (2, 17, 18, 19))


def two_scores(input_shape):
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(math.prod(input_shape), 2))
    return ScoreNetwork(flat)


def needs_more(input_shape):
    raise KeyError("layers")


BAD = {
    "too small": (build_densenet, r"network: found a grid of 7 x 8 x 9 voxels, too small"),
    "not plain": (partial(build_small_cnn, channels={4}), "settings that are not plain"),
    "two scores": (two_scores, r"output of shape \(2, 2\) for 2 scans"),
    "raises": (needs_more, r"can't be built \(KeyError: 'layers'"),
}


@pytest.mark.parametrize("name", BAD)
def test_network_that_can_not_be_used_is_refused(name):
    build, said = BAD[name]
    with pytest.raises(ConfigError, match=said):
        check_network(build, (2, 7, 8, 9))
