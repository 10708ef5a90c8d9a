import json
from functools import partial

import pytest
import torch

from fmnet.errors import RunError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.rebuild import describe_builder, read_network, write_network

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
