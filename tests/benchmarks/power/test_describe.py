import json
from functools import partial
from pathlib import Path

from benchmarks.power.contender import Contender
from benchmarks.power.describe import describe, digest
from fmnet.baselines.linear import LinearSvm
from fmnet.networks.backbones import build_resnet, build_small_cnn


def test_settings_become_plain_values():
    told = describe(Contender(partial(build_small_cnn, channels=(4, 8)), 3))
    assert json.loads(json.dumps(told)) == told
    assert told["build_network"] == {
        "target": "fmnet.networks.backbones.build_small_cnn",
        "args": [],
        "channels": [4, 8],
    }
    assert told["max_epochs"] == 3
    assert told["preparation"]["fwhm_mm"] == 8.0
    assert told["augmentation"] is None
    assert describe({"a": Path("b/c")}) == {"a": "b/c"}


def test_each_setting_counts_and_how_it_is_spelt_does_not():
    same = [
        Contender(partial(build_small_cnn, channels=(4, 8))),
        Contender(partial(build_small_cnn, channels=[4, 8])),
    ]
    others = [
        Contender(partial(build_small_cnn, channels=(4, 9))),
        Contender(build_small_cnn),
        Contender(build_resnet),
        Contender(build_resnet, 3),
        LinearSvm(),
        LinearSvm(c=(1.0,)),
    ]
    assert digest(same[0]) == digest(same[1])
    assert len({digest(one) for one in [same[0], *others]}) == 7
