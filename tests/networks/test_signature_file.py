import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fmnet.errors import ConfigError, FmnetError, LeakError
from fmnet.networks import signature_file
from fmnet.networks.signature_file import (
    HEADER,
    PEOPLE,
    Backbone,
    build_signature_cnn,
    check_unseen,
    read_pretrained,
    read_signature_cnn,
    write_signature_cnn,
)

SHAPE = (16, 20, 24)
PLAIN = {"num_res_units": 0, "norm": None, "act": "relu"}
SMALL = Backbone("UNet", 5, {"channels": [4, 6], "strides": [2], **PLAIN})


def write(path: Path, backbone: Backbone = SMALL, **record: Any) -> dict[str, torch.Tensor]:
    network = build_signature_cnn(backbone, SHAPE)
    for one in network.parameters():
        torch.nn.init.normal_(one)
    write_signature_cnn(path, network.state_dict(), backbone, record, 8.0)
    return network.state_dict()


@pytest.mark.parametrize(
    "backbone",
    [
        SMALL,
        Backbone("BasicUNet", 4, {"features": [4] * 6, "norm": ["group", {"num_groups": 1}]}),
        Backbone("SwinUNETR", 2, {"feature_size": 12, "depths": [1, 1, 1, 1]}, multiple_of=64),
        Backbone(
            "DynUNet",
            3,
            {
                "kernel_size": [3, 3, 3],
                "strides": [1, 2, 2],
                "upsample_kernel_size": [2, 2],
                "filters": [4, 6, 6],
            },
        ),
    ],
    ids=lambda one: one.name,
)  # fmt: skip
def test_what_is_written_is_read(tmp_path: Path, backbone: Backbone) -> None:
    weights = write(tmp_path / "one.safetensors", backbone, episodes=7)
    found = read_pretrained(tmp_path / "one.safetensors")
    assert found.backbone == backbone
    assert found.record == {"episodes": 7}
    assert (found.voxel_size_mm, len(found.bands_mm)) == (8.0, 3)
    assert not found.network.training
    for name, value in found.network.state_dict().items():
        assert value.dtype == weights[name].dtype, name
        assert torch.allclose(value, weights[name], atol=3e-3), name  # large ones lose digits


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (replace(SMALL, name="Unet3"), "backbone.name: found Unet3.*did you mean"),
        (Backbone("Regressor", 5, {"channels": [4, 6], "strides": [2, 2]}), "an output of shape"),
        (replace(SMALL, name="os.system"), "backbone.name: found os.system"),
        (replace(SMALL, settings={"channel": [4, 6]}), "no such setting of UNet.*did you mean"),
        (replace(SMALL, settings=SMALL.settings | {"in_channels": 2}), "leave in_channels out"),
        (Backbone("SwinUNETR", 2, {"feature_size": 12}), "a network that can't be applied"),
    ],
)  # fmt: skip
def test_backbones_without_the_right_output_are_refused(backbone: Backbone, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_signature_cnn(backbone, SHAPE)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    with pytest.raises(FmnetError, match="no such file"):
        read_signature_cnn(path)
    path.write_bytes(b"\x80\x04pickled")
    with pytest.raises(FmnetError, match=r"something else.*fmnet pretrain"):
        read_signature_cnn(path)
    save_file({"last.weight": torch.zeros(2)}, path)
    with pytest.raises(FmnetError, match="something else"):
        read_signature_cnn(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "form 2 of the description"),
        ({"backbone": {"name": "posix.system"}}, "a network that can't be built"),
        ({"backbone": {"_target_": "os.system"}}, "something else"),
        ({"bands_mm": [[0, 24]]}, "something else"),
    ],
)
def test_descriptions_that_were_altered_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "one.safetensors"
    write(path)
    described = {
        "format": 1, "voxel_size_mm": 8, "bands_mm": [[0, 24], [9, 32], [14, 48]], "record": {},
        "backbone": {"name": "UNet", "features": 5, "settings": SMALL.settings},
    }  # fmt: skip
    save_file(load_file(path), path, {HEADER: json.dumps(described)})
    assert read_signature_cnn(path) is not None
    save_file(load_file(path), path, {HEADER: json.dumps(described | change)})
    with pytest.raises(FmnetError, match=message):
        read_signature_cnn(path)


def test_large_networks_are_kept_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signature_file, "LARGEST_BYTES", 10_000)
    large = Backbone("UNet", 5, {"channels": [8, 40], "strides": [2], **PLAIN})
    weights = write(tmp_path / "one.safetensors", large)
    n_parameters = sum(one.numel() for one in weights.values())
    assert (tmp_path / "one.safetensors").stat().st_size < 2.1 * n_parameters + 4000
    found = read_signature_cnn(tmp_path / "one.safetensors").state_dict()
    assert found["last.weight"].dtype == torch.float32
    assert torch.allclose(found["last.weight"], weights["last.weight"], atol=4e-3)


def test_people_of_a_study_that_weights_have_seen_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "one.safetensors", **{PEOPLE: ["aa", "bb"]})
    pretrained = read_pretrained(tmp_path / "one.safetensors")
    check_unseen(pretrained, ["cc"], "network.weights")
    with pytest.raises(LeakError, match=r"network.weights.*pretrained on 1 of this study's files"):
        check_unseen(pretrained, ["cc", "bb"], "network.weights")
