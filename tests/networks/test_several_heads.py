import json
from functools import partial

import torch

from fmnet.networks.closed_form import build_scale_space
from fmnet.networks.rebuild import describe_builder, read_network, write_network
from fmnet.networks.several_heads import SeveralHead, split_targets
from fmnet.targets.contrast import ContrastHead


def test_targets_say_how_many_numbers_each_task_reads():
    target = torch.tensor([[1.0, 2.0, 0.5, 1.0, 7.0, 0.0, 1.0, 8.0, 9.0]]).expand(4, -1)
    one, other = split_targets(target, 2)
    assert one[0].tolist() == [0.5, 1.0, 7.0]
    assert other[3].tolist() == [0.0, 1.0, 8.0, 9.0]


def test_a_network_of_several_heads_is_built_again(tmp_path):
    head = SeveralHead(["fm", "oa"], [ContrastHead(), ContrastHead()])
    shape = (1, 7, 8, 9)
    description = describe_builder(partial(build_scale_space, paths=["focal"], head=head), shape)
    json.dumps(description.settings)
    network = build_scale_space(shape, paths=["focal"], head=head).eval()
    write_network(network, description, tmp_path)
    again, _ = read_network(tmp_path)
    assert isinstance(again.head, SeveralHead)
    assert again.head.names == ["fm", "oa"]
    image = torch.randn(3, *shape)
    torch.testing.assert_close(again(image), network(image))
    assert again(image).shape == (3, 2)
