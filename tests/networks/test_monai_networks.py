from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from monai.networks import nets

from fmnet.errors import ConfigError
from fmnet.networks.monai_networks import SmallBatchNorm3d, build_monai
from fmnet.networks.rebuild import (
    check_network,
    describe_builder,
    read_network,
    write_network,
    write_network_files,
)

SHAPE = (2, 17, 18, 19)
SMALL = {"hidden_size": 12, "mlp_dim": 24, "num_heads": 2}
#: Classifiers, features and encoders, each as small as it gets.
NETWORKS = {
    "resnet10": {"widen_factor": 0.0625},
    "SEResNet50": {"layers": [1, 1, 1, 1]},
    "DenseNet121": {"init_features": 4, "growth_rate": 2, "block_config": [2, 2]},
    "ViT": {"patch_size": 8, "num_layers": 2, **SMALL},
    "SwinUNETR": {"feature_size": 12, "num_heads": [1, 2, 2, 4], "depths": [1, 1, 1, 1]},
    "Classifier": {"channels": [4, 6], "strides": [2, 2]},
    "Discriminator": {"channels": [4, 6], "strides": [2, 2]},
    "Regressor": {"channels": [4, 6], "strides": [2, 2]},
    "ResNetFeatures": {"model_name": "resnet10"},
    "UNet": {"channels": [4, 6, 8], "strides": [2, 2]},
    "SegResNet": {"init_filters": 8},
    "BasicUNet": {"features": [4, 4, 6, 6, 8, 4]},
    "VNet": {},
}
FAST = ("resnet10", "DenseNet121", "ViT", "SwinUNETR", "UNet")


def build(name, **settings):
    torch.manual_seed(0)
    return build_monai(
        SHAPE, name, NETWORKS[name] | settings, 32 if name == "BasicUNet" else 8
    ).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_one_raw_score_for_each_scan(name):
    network = build(name)
    with torch.no_grad():
        scores = network(torch.randn(3, *SHAPE))
        assert scores.shape == (3,)
        assert torch.isfinite(scores).all()
    network.train()(torch.randn(2, *SHAPE)).sum().backward()
    assert all(one.grad is not None for one in network.backbone.last.parameters())


def test_score_is_a_logit_and_not_squashed():
    for name in ("ViT", "Discriminator", "Classifier"):
        network = build(name)
        with torch.no_grad():
            for weight in network.parameters():
                weight.mul_(30)
            assert network(torch.randn(3, *SHAPE)).abs().max() > 1


def test_what_the_study_knows_is_filled_in():
    network = build("resnet10").backbone.network
    assert isinstance(network, nets.ResNet)
    assert network.conv1.weight.shape[:2] == (4, 2)
    assert network.fc.out_features == 1
    vit = build("ViT").backbone.network
    assert vit.patch_embedding.n_patches == 3 * 3 * 3  # 24 voxels along each axis


@pytest.mark.parametrize("name", ["BasicUNet", "UNet", "SwinUNETR"])
def test_encoder_has_no_decoder_and_a_linear_layer(name):
    backbone = build(name).backbone
    whole = {"BasicUNet": nets.BasicUNet, "UNet": nets.UNet, "SwinUNETR": nets.SwinUNETR}[name]
    shared = {"in_channels": 2, "out_channels": 1}
    shared |= {} if name == "SwinUNETR" else {"spatial_dims": 3}
    n_whole = sum(one.numel() for one in whole(**shared, **NETWORKS[name]).parameters())
    assert sum(one.numel() for one in backbone.network.parameters()) < n_whole
    assert backbone.last.out_features == 1


def test_sizes_of_a_network_are_known_by_name():
    backbone = build_monai((2, 16, 16, 16), "MedNeXtS").backbone
    assert backbone.last.in_features == 512


def test_u_net_is_read_down_to_its_lowest_layer():
    network = build("UNet").backbone.network
    assert [network(torch.zeros(1, 2, 24, 24, 24)).shape[1], len(network)] == [8, 3]


def test_grid_is_filled_up_evenly_and_scans_are_not_moved():
    backbone = build("ViT").backbone
    assert backbone.padding == (2, 3, 3, 3, 3, 4)  # 19, 18 and 17 to 24, the last axis first
    seen = []
    backbone.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.randn(1, *SHAPE)
    backbone(image)
    torch.testing.assert_close(seen[0][:, :, 3:20, 3:21, 2:21], image)
    torch.testing.assert_close(seen[0].sum(), image.sum())


@pytest.mark.parametrize("name", FAST)
def test_disk_and_back_gives_the_same_scores(name, tmp_path):
    builder = partial(build_monai, name=name, settings=NETWORKS[name], multiple_of=8)
    network = builder(SHAPE).train()
    network(torch.randn(4, *SHAPE))  # statistics of batches move
    write_network(network.eval(), describe_builder(builder, SHAPE), tmp_path)
    read, _ = read_network(tmp_path)
    image = torch.randn(3, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(read(image), network(image), atol=0, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SEResNet50", *FAST])
def test_programs_score_as_the_network_for_any_batch(name, tmp_path):
    network = build(name)
    write_network_files(network, SHAPE, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for n_scans in (1, 3):
        image = torch.randn(n_scans, *SHAPE)
        with torch.no_grad():
            expected = network(image)
            torch.testing.assert_close(program(image), expected, atol=1e-4, rtol=1e-4)
        (found,) = session.run(["score"], {"image": image.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_one_scan_with_one_voxel_left_can_be_learned_from():
    layer = SmallBatchNorm3d(3)
    plain = torch.nn.BatchNorm3d(3)
    image = torch.randn(4, 3, 5, 6, 7)
    torch.testing.assert_close(layer(image), plain(image))
    one = torch.randn(1, 3, 1, 1, 1)
    torch.testing.assert_close(layer(one), plain.eval()(one))
    image = torch.randn(1, *SHAPE)
    torch.manual_seed(0)
    assert build_monai(SHAPE, "SEResNet50", {"layers": [1, 1, 1, 1]}).train()(image).shape == (1,)


REFUSED = {
    "unknown name": ("resnet11", {}, r"network\.name: found resnet11; .*did you mean resnet10"),
    "other spelling": ("seresnet-50", {}, "did you mean .*[rR]es[nN]et50"),
    "nothing like it": ("zzz", {}, "for instance resnet10, SEResNet50, DenseNet121 or ViT"),
    "unknown setting": ("resnet10", {"widen_factr": 0.5}, "did you mean 'widen_factor'"),
    "filled in": ("resnet10", {"spatial_dims": 2}, r"spatial_dims: found 2; accepted: 3, which is"),
    "downloads": ("resnet10", {"pretrained": True}, "weights that are downloaded"),
    "lacking": ("Classifier", {"channels": [4]}, r"settings\.strides: found nothing; .*Classifier"),
    "patches": ("ViT", {"patch_size": 4}, r"don't fill a grid of 17 x 18 x 19 .*multiple_of=4"),
    "an image": ("AttentionUnet", {"channels": [4, 6], "strides": [1]}, "encoder isn't known here"),
    "2-D alone": ("HoVerNet", {}, "network: found .*HoVerNet"),
    "two inputs": ("ControlNet", {}, "missing 2 required positional arguments"),
    "too small": ("DenseNet121", {}, "a grid of 17 x 18 x 19 voxels, too small for this network"),
    "wrong value": (
        "resnet10",
        {"act": 3},
        "found settings with which it can",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_built_is_refused(case):
    name, settings, said = REFUSED[case]
    builder = partial(build_monai, name=name, settings=settings)
    with pytest.raises(ConfigError, match=said):
        check_network(builder, (2, 17, 18, 19))


def test_network_that_can_not_be_exported_is_refused(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.export, "export", fail)
    builder = partial(build_monai, name="resnet10", settings=NETWORKS["resnet10"])
    with pytest.raises(ConfigError, match=r"can't make a program of \(RuntimeError: no such op"):
        check_network(builder, SHAPE)
