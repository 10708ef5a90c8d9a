"""Every builder gives as many scores as a head asks for, on disk and as a program too."""

import json
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from toy_heads import NumberHead, ThreeGroups

from fmnet.errors import ConfigError, RunError
from fmnet.networks.backbones import (
    ScoreNetwork,
    build_densenet,
    build_linear,
    build_resnet,
    build_small_cnn,
    linear_network,
)
from fmnet.networks.closed_form import build_prior_cnn, build_scale_space
from fmnet.networks.heads import BinaryHead, Head
from fmnet.networks.monai_networks import build_monai
from fmnet.networks.rebuild import (
    TRUSTED,
    check_network,
    describe_builder,
    read_network,
    write_network,
    write_network_files,
)
from fmnet.networks.series import (
    build_dual_regression,
    build_frames,
    build_learned_seeds,
    build_temporal_filters,
)

SHAPE = (2, 17, 18, 19)
OWN = (*TRUSTED, "toy_heads")
BUILDERS = {
    "small CNN": partial(build_small_cnn, channels=[2, 3]),
    "ResNet": partial(build_resnet, channels=[2, 2, 4, 4]),
    "DenseNet": partial(build_densenet, layers=[1, 1]),
    "linear": build_linear,
    "MONAI": partial(build_monai, name="DenseNet", settings={"block_config": [1, 1]}),
    "encoder": partial(build_monai, name="SegResNet"),
    "scale space": build_scale_space,
    "prior CNN": partial(build_prior_cnn, voxel_size_mm=8.0),
    "seeds": partial(build_learned_seeds, n_seeds=2),
    "filters": partial(build_temporal_filters, n_filters=2, length=8, backbone="small_cnn"),
    "networks": partial(build_dual_regression, n_networks=2),
    "frames": partial(build_frames, n_frames=3),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILDERS)
def test_every_network_gives_the_scores_of_its_head(name, tmp_path):
    build = partial(BUILDERS[name], head=ThreeGroups())
    torch.manual_seed(0)
    network = build(SHAPE).eval()
    is_series = network.window_volumes is not None
    scans = torch.randn(2, 30 if is_series else 2, *SHAPE[1:])
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.01 * torch.randn(weight.shape))
        scores = network(scans)
        assert scores.shape == (2, 3)
        alone = BUILDERS[name](SHAPE).eval()(scans)
    assert alone.shape == (2,)
    write_network(network, describe_builder(build, SHAPE), tmp_path)
    read, described = read_network(tmp_path, OWN)
    with torch.no_grad():
        torch.testing.assert_close(read(scans), scores, rtol=0, atol=0)
    assert described.settings["head"] == {"name": "toy_heads.ThreeGroups", "settings": {}}


EXPORTED = {
    "linear": build_linear,
    "paths": partial(build_scale_space, paths=["focal", "voxel_pairs"], bands_mm=[[8.0, 24.0]]),
    "frames": BUILDERS["frames"],
}


@pytest.mark.parametrize("name", EXPORTED)
def test_programs_give_the_same_scores(name, tmp_path):
    small = (2, 7, 8, 9)
    network = EXPORTED[name](small, head=ThreeGroups()).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.3)
        scans = torch.randn(5, 30 if name == "frames" else 2, *small[1:])
        expected = network(scans).numpy()
    write_network_files(network, small, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    output, further = session.get_outputs()
    assert (output.name, output.shape[1], further.name) == ("score", 3, "features")
    (found,) = session.run(["score"], {session.get_inputs()[0].name: scans.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    program = torch.export.load(tmp_path / "model.pt2").module()
    np.testing.assert_allclose(program(scans).detach().numpy(), expected, rtol=1e-3, atol=1e-4)


def test_each_network_has_a_head_of_its_own():
    head = NumberHead()
    assert build_linear((1, 2, 3, 4), head=head).head is not head


def test_a_network_with_a_head_is_accepted():
    own = partial(build_small_cnn, channels=[4], head=NumberHead(2))
    assert check_network(own, (2, 7, 8, 9)).head.n_outputs == 2


def test_outputs_that_a_head_does_not_read_are_refused():
    def build(shape, head=None):
        return ScoreNetwork(build_linear(shape).backbone, head)

    with pytest.raises(ConfigError, match=r"shape \(2, 1\) for 2 scans; accepted: .* 3 output"):
        check_network(partial(build, head=ThreeGroups()), (2, 7, 8, 9))


def test_no_head_is_described_as_before():
    bare = describe_builder(partial(build_small_cnn, head=None), SHAPE)
    assert bare.settings == {}


@pytest.fixture
def written(tmp_path):
    build = partial(build_linear, head=NumberHead(2))
    write_network(build((1, 2, 3, 4)), describe_builder(build, (1, 2, 3, 4)), tmp_path)
    return tmp_path


def test_the_settings_of_a_head_are_kept(written):
    read, described = read_network(written, OWN)
    assert described.settings["head"]["settings"] == {"n_outputs": 2}
    assert load_file(written / "weights.safetensors")["backbone.1.weight"].shape == (2, 24)
    assert isinstance(read.head, NumberHead)


def test_a_head_from_elsewhere_is_not_built(written):
    with pytest.raises(RunError, match="a head of 'toy_heads'; accepted: builders from fmnet"):
        read_network(written)


@pytest.mark.parametrize("name", ["fmnet.networks.backbones.build_linear", "toy_heads.torch"])
def test_what_is_no_head_is_not_called(name, written):
    path = written / "network.json"
    described = json.loads(path.read_text())
    described["settings"]["head"]["name"] = name
    path.write_text(json.dumps(described))
    with pytest.raises(RunError, match="is no head of a network"):
        read_network(written, OWN)


class Pair(Head):
    """Two heads side by side, described as lists of what heads say."""

    def __init__(self, heads, weights=(1, 2)):
        super().__init__()
        self.heads, self.weights = torch.nn.ModuleList(heads), weights
        self.n_outputs = sum(one.n_outputs for one in heads)

    loss = BinaryHead.loss
    metrics = BinaryHead.metrics

    def describe(self):
        found = super().describe()
        return found | {
            "settings": found["settings"] | {"heads": [one.describe() for one in self.heads]}
        }


def test_heads_of_heads_are_built_again(tmp_path):
    build = partial(build_linear, head=Pair([NumberHead(2), ThreeGroups()]))
    write_network(build((1, 2, 3, 4)), describe_builder(build, (1, 2, 3, 4)), tmp_path)
    head = read_network(tmp_path, (*OWN, __name__))[0].head
    assert [type(one) for one in head.heads] == [NumberHead, ThreeGroups]
    assert head.weights == [1, 2]


def test_a_linear_network_of_several_scores():
    weight = np.arange(48, dtype=np.float32).reshape(2, 1, 2, 3, 4)
    network = linear_network(weight, [0.5, -1.0], NumberHead(2))
    scores = network(torch.ones(1, 1, 2, 3, 4))
    assert scores.tolist() == [[23 * 12 + 0.5, 71 * 12 - 1.0]]
