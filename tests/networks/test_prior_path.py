import json
from functools import partial

import pytest
import torch
from signature_fixtures import write_small_cnn

from fmnet.errors import ConfigError, FmnetError, LeakError
from fmnet.networks import prior_path
from fmnet.networks.closed_form import build_prior_cnn, build_scale_space, pretraining_of
from fmnet.networks.rebuild import (
    check_network,
    describe_builder,
    read_network,
    write_network,
    write_network_files,
)
from fmnet.networks.series import build_learned_seeds
from fmnet.networks.signature_file import (
    PEOPLE,
    Backbone,
    build_signature_cnn,
    write_signature_cnn,
)

SHAPE = (2, 7, 8, 9)
N = 24


@pytest.fixture(autouse=True)
def _read_afresh():
    prior_path._pretrained.cache_clear()


@pytest.fixture
def weights(tmp_path):
    write_small_cnn(tmp_path / "own.safetensors")
    return str(tmp_path / "own.safetensors")


def scans(shape=SHAPE, n=N):
    generator = torch.Generator().manual_seed(5)
    images, labels = torch.randn(n, *shape, generator=generator), torch.arange(n) % 2
    images[labels == 1, 0, 3:5, 4:6, 5:7] += 1.5
    images[..., 0] = 0  # outside the brain
    return images, labels, torch.arange(n) // 2 % 3


def fitted(build, shape=SHAPE):
    network = build(shape).eval()
    network.backbone.fit(*scans(shape))
    return network


def test_what_the_cnn_writes_is_a_linear_map_of_the_voxels_inside(weights):
    path = fitted(partial(build_prior_cnn, weights=weights)).backbone.paths["prior"]
    assert path.weight.abs().max() > 0
    assert (path.weight[..., 0] == 0).all()
    images, labels, _ = scans()
    scores = images.flatten(1) @ path.weight.flatten() + path.bias
    assert scores.mean().abs() < 1e-5
    assert scores[labels == 1].mean() > scores[labels == 0].mean()


def test_many_labelings_at_once_are_as_one_at_a_time(weights):
    backbone = build_scale_space(SHAPE, paths=["prior"], weights=weights).backbone
    images, labels, folds = scans()
    labelings = torch.stack([labels, labels.roll(1), labels[torch.randperm(N)]])
    unseen = torch.randn(5, *SHAPE)
    found = backbone.scores_of_labelings(images, labelings, folds, unseen)
    for row, one in zip(found, labelings, strict=True):
        backbone.fit(images, one, folds)
        with torch.no_grad():
            torch.testing.assert_close(backbone(unseen)[:, 0], row, atol=2e-5, rtol=1e-4)


def test_which_weights_wrote_it_is_known(weights, tmp_path):
    digest = write_small_cnn(tmp_path / "own.safetensors", record={"seed": 7})
    network = fitted(partial(build_prior_cnn, weights=weights))
    facts = pretraining_of(network)
    assert (facts["sha256"], facts["network"], facts["is_shipped"]) == (digest, "UNet", False)
    assert facts["record"] == {"seed": 7}
    assert facts["n_parameters"] > 1000
    json.dumps(facts, allow_nan=False)
    assert pretraining_of(build_prior_cnn(SHAPE)) == {}
    assert pretraining_of(build_scale_space(SHAPE)) == {}


def test_weights_that_come_along_are_said_to(weights):
    assert pretraining_of(fitted(build_prior_cnn))["is_shipped"]


def test_a_fitted_network_needs_no_file(weights, tmp_path):
    build = partial(build_prior_cnn, weights=weights)
    network, folder = fitted(build), tmp_path / "model"
    folder.mkdir()
    write_network(network, describe_builder(build, SHAPE), folder)
    (tmp_path / "own.safetensors").unlink()
    prior_path._pretrained.cache_clear()
    read, description = read_network(folder)
    images = scans()[0]
    with torch.no_grad():
        torch.testing.assert_close(read(images), network(images), atol=0, rtol=0)
    assert description.settings == {"weights": weights}


@pytest.mark.slow
def test_program_and_onnx_score_as_the_network(weights, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = fitted(partial(build_prior_cnn, weights=weights))
    write_network_files(network, SHAPE, tmp_path)
    images = scans()[0][:5]
    with torch.no_grad():
        expected = network(images)
        program = torch.export.load(tmp_path / "model.pt2").module()(images)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (onnx,) = session.run(["score"], {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(program, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(onnx), expected, atol=1e-4, rtol=1e-4)
    names = [node.name for node in session.get_inputs()]
    assert names == ["image"]


def test_the_score_can_be_attributed_to_voxels(weights):
    network = fitted(partial(build_prior_cnn, weights=weights))
    network.backbone.fraction.copy_(torch.eye(len(network.backbone.paths))[0])
    with torch.no_grad():
        network.backbone.gate.copy_(network.backbone.fraction)
    image = scans()[0][:1].requires_grad_()
    network(image).sum().backward()
    weight = network.backbone.paths["prior"].weight
    torch.testing.assert_close(image.grad[0], weight.detach(), atol=1e-6, rtol=1e-5)


def test_weights_that_can_not_be_read_are_refused_before_any_scan(tmp_path):
    gone = partial(build_prior_cnn, weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(FmnetError, match=r"gone\.safetensors: found no such file; accepted: a saf"):
        check_network(gone, SHAPE)
    (tmp_path / "text.safetensors").write_text("no weights")
    text = partial(build_prior_cnn, weights=str(tmp_path / "text.safetensors"))
    with pytest.raises(FmnetError, match=r"text\.safetensors: found something else"):
        check_network(text, SHAPE)
    behind = partial(build_learned_seeds, n_seeds=2, paths=["prior"])
    check_network(behind, SHAPE)  # where there are none to name, those that come along


def test_weights_of_much_finer_voxels_are_refused(tmp_path):
    write_small_cnn(tmp_path / "fine.safetensors", voxel_size_mm=4.0)
    build = partial(build_prior_cnn, weights=str(tmp_path / "fine.safetensors"))
    check_network(partial(build, voxel_size_mm=4), SHAPE)
    said = r"voxels of 8 mm for a CNN that was pretrained on 4 mm; accepted: at most 1\.6 times"
    with pytest.raises(ConfigError, match=said):
        check_network(partial(build, voxel_size_mm=8), SHAPE)


@pytest.mark.parametrize("voxel_size_mm", [1, 2, 3, 5, 6, 8, 12])
def test_every_voxel_size_works_on_a_small_grid(weights, voxel_size_mm):
    build = partial(build_prior_cnn, voxel_size_mm=voxel_size_mm, weights=weights, paths=["prior"])
    check_network(build, SHAPE)
    network = fitted(build)
    with torch.no_grad():
        assert torch.isfinite(network(scans()[0])).all()


def test_bands_are_as_wide_in_mm_whatever_the_voxels(weights):
    """Two grids of one field: what is averaged to 10 mm is filtered as at 10 mm."""
    mask = torch.ones(8, 8, 8)
    fine = prior_path.PriorPath((1, 8, 8, 8), 5.0, weights)
    coarse = prior_path.PriorPath((1, 4, 4, 4), 10.0, weights)
    image = torch.randn(2, 1, 4, 4, 4)
    repeated = image.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    one, other = fine.look(repeated, mask), coarse.look(image, torch.ones(4, 4, 4))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_networks_pretrained_on_people_of_the_study_are_refused(tmp_path):
    small = Backbone(
        "UNet", 2, {"channels": [2, 3], "strides": [2], "num_res_units": 0, "norm": None}
    )
    weights = build_signature_cnn(small, (8, 8, 8)).state_dict()
    path = tmp_path / "own.safetensors"
    write_signature_cnn(path, weights, small, {PEOPLE: ["aa", "bb"]})
    network = build_prior_cnn((1, 9, 8, 7), voxel_size_mm=20.0, weights=str(path))
    prior_path.check_people(network, ["cc"])
    with pytest.raises(
        LeakError, match=r"network\.weights: found weights that were pretrained on 1"
    ):
        prior_path.check_people(network, ["cc", "aa"])
