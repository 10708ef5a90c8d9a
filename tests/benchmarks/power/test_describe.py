import json
from functools import partial
from pathlib import Path

from benchmarks.power.contender import Contender
from benchmarks.power.describe import code_digest, describe, digest, source_files
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


def test_weights_count_by_what_is_in_them(tmp_path):
    file = tmp_path / "w.safetensors"
    partly = partial(build_small_cnn, weights=str(file))
    missing = digest(partly)
    file.write_bytes(b"one")
    one = digest(partly)
    file.write_bytes(b"two")
    assert len({missing, one, digest(partly), digest(build_small_cnn)}) == 4


def test_code_counts_and_comments_do_not(tmp_path):
    def state(name, text):
        folder = tmp_path / name
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "a.py").write_text(text)
        return code_digest(folder)

    plain = state("1", "def f():\n    return 1\n")
    assert state("2", '"""Words."""\n\n\ndef f():\n    """Say."""\n    return 1  # one\n') == plain
    assert state("3", "def f():\n    return 2\n") != plain
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "w.safetensors").write_bytes(b"1")
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "w.safetensors").write_bytes(b"2")
    assert code_digest(tmp_path / "4") != code_digest(tmp_path / "5")


def test_code_of_a_class_is_that_of_its_bases_too():
    names = {path.name for path in source_files(LinearSvm)}
    assert names == {"linear.py", "base.py"}
    assert [path.name for path in source_files(partial(build_small_cnn))] == ["backbones.py"]
