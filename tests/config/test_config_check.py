import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnet.config.check import check_config
from fmnet.errors import ConfigError

PARTS = """
    from dataclasses import dataclass
    from pathlib import Path
    from typing import Literal

    @dataclass
    class Net:
        width: int
        norm: Literal["batch", "instance"] = "batch"
        rate: float = 0.1
        sizes: tuple[int, ...] = ()

    def build_late(shape, width: int = 3): ...

    def read(root: str | Path, names: list[str] | None = None, strict: bool = True): ...

    def anything(**settings): ...

    def implicit(size: int = None, labels: "Missing" = None, width: int = 1): ...

    value = 3
"""
FILES = {
    "main.yaml": """
        defaults: [data: disk, net: plain, _self_, {experiment: null}]
        seed: 0
        out: ???
    """,
    "data/disk.yaml": """
        _target_: parts_for_tests.read
        root: here
        names: null
        strict: true
    """,
    "net/plain.yaml": """
        _target_: parts_for_tests.Net
        width: 4
        norm: batch
        rate: 0.1
        sizes: [1, 2]
    """,
    "net/late.yaml": """
        _target_: parts_for_tests.build_late
        _partial_: true
        width: 2
    """,
    "net/misspelt.yaml": """
        _target_: parts_for_tests.Net
        widht: 4
        norm: batch
    """,
    "net/gone.yaml": """
        _target_: parts_for_tests.Nett
    """,
    "net/free.yaml": """
        _target_: parts_for_tests.anything
        whatever: 3
    """,
    "net/dangling.yaml": """
        _target_: parts_for_tests.Net
        width: ${nowhere.width}
    """,
    "net/implicit.yaml": """
        _target_: parts_for_tests.implicit
        size: null
    """,
    "net/built_in.yaml": """
        _target_: builtins.dict
        width: 3
    """,
    "net/value.yaml": """
        _target_: parts_for_tests.value
    """,
    "net/broken.yaml": """
        _target_: [parts_for_tests.Net
        width: 3
    """,
    "net/incomplete.yaml": """
        defaults: [elsewhere]
        width: 3
    """,
    "experiment/wide.yaml": """
        # @package _global_
        net: {width: 64}
    """,
}


def run(
    data,
    net,
    seed: int,
    out: str,
    parts: dict[str, Callable[..., int]] | None = None,
    note: str = "",
): ...


@pytest.fixture
def configs(tmp_path, monkeypatch):
    (tmp_path / "parts_for_tests.py").write_text(textwrap.dedent(PARTS))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in FILES.items():
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    yield tmp_path / "configs"
    sys.modules.pop("parts_for_tests", None)


def check(configs: Path, *overrides: str):
    return check_config(configs, "main", ["out=there", *overrides], run, passed=("note",))


def test_valid_configuration_is_returned(configs):
    config = check(configs, "net.rate=1", "data.names=[a,b]", "experiment=wide")
    assert (config.net.width, config.net.rate, config.out) == (64, 1, "there")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sed=1", r"sed: found no such key; accepted: .*out.*did you mean 'seed'\?"),
        ("net.widht=1", r"net\.widht: found no such key; .*did you mean 'width'\?"),
        ("net=plane", r"net: found option 'plane'; accepted: .*late.*did you mean 'plain'\?"),
        ("nett=plain", r"nett: found no such key"),
        ("seed=abc", r'seed: found "abc"; accepted: a whole number'),
        ("seed=1.5", r"seed: found 1\.5; accepted: a whole number"),
        ("net.width=true", r"net\.width: found true; accepted: a whole number"),
        ("net.norm=group", r"net\.norm: found \"group\"; accepted: 'batch', 'instance'"),
        ("net.rate=fast", r"net\.rate: found \"fast\"; accepted: a number"),
        ("net.sizes=[1,x]", r"net\.sizes: found \[1, \"x\"\]; accepted: a list, each a whole"),
        ("data.names=[1]", r"data\.names: found \[1\]; accepted: a list, each text or null"),
        ("data.strict=maybe", r"data\.strict: found \"maybe\"; accepted: true or false"),
        ("+net.depth=3", r"net\.depth: found no such key; accepted: net\.width"),
        ("net=misspelt", r"net\.widht: found no such key; .*did you mean 'width'\?"),
        ("net=misspelt", r"net\.width: found nothing; accepted: a whole number"),
        ("net._target_=parts_for_tests.Nett", r"net\._target_: found 'parts_for_tests\.Nett', wh"),
        ("net=gone", r"net\._target_: found 'parts_for_tests\.Nett', which can't be imported"),
        ("net=dangling", r"net\.width: found .*nowhere"),
        ("net.width=[1", r"net\.width=\[1: found .*; accepted: key=value"),
        ("nosuch", r"nosuch: found a word without '='; .*to do: did you mean data=nosuch\?"),
        ("net=plain,plane", r"net: found option 'plane'"),
        ("net=null", r"net: found option 'null'; .*to do: choose one of these"),
        ("experiment=null,wide experiment=null", r"leave the group out with ~experiment"),
        ("~net", r"net: found nothing; accepted: .*net=plain.*don't remove net"),
        ("~seed", r"seed: found nothing; accepted: seed=VALUE; .*don't remove seed"),
        ("net.rate=inf", r"net\.rate: found Infinity; accepted: a number"),
        ("net.rate=nan", r"net\.rate: found NaN; accepted: a number"),
        ("+parts.a=3", r"parts\.a: found 3; accepted: a component, which names its _target_; "),
        ("+parts.a=null", r"parts\.a: found null; .*leave it out with ~parts\.a"),
        ("+note=x", r"note: found no such key; accepted: data, net, seed, out, parts; "),
        ("net=value", r"net\._target_: found 'parts_for_tests\.value', .*it can't be called"),
        ("net=broken", r"net=broken: found while parsing"),
        ("net=incomplete", r"net=incomplete: found .*Could not load 'net/elsewhere'"),
        ("+net.width=3", r"\+net\.width=3: found .*already"),
        ("~net.depth", r"~net\.depth: found .*does not exist"),
        ("net.width.more=3", r"net\.width\.more: found no such key; accepted: net\.width, which"),
        ("net=late net.shape=3", "net.shape: found a key that .*write [+]net.shape=VALUE"),
        ("net=implicit +net.width=x", r'net\.width: found "x"; accepted: a whole number'),
        ("hydra.jobb=1", r"hydra\.jobb: found no such key; accepted: .*did you mean 'job'"),
        ("hydra.job.num=x", r"hydra\.job\.num=x: found .*could not be converted to Integer"),
        ("hydra/launcher=cloud", r"hydra/launcher: found option 'cloud'; accepted: .*basic"),
        (
            "hydra.launcher.partition=x",
            r"hydra\.launcher\.partition: found no such key; .*submitit",
        ),
        ("net@foo=plain", r"net@foo=plain: found Could not override"),
        ("net=[plain,plane]", r"net: found option 'plane'"),
        ("seed=${nowhere}", r"seed: found .*nowhere"),
        ("net.width=1,2,x", r"net\.width: found \"x\"; accepted: a whole number"),
    ],
)
def test_each_fault_is_named(configs, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check(configs, *override.split(" "), "data.root=3.5")
    assert "data.root" in {fault.where for fault in caught.value.faults}, "it hides others"


def test_all_faults_come_at_once(configs):
    wrong = ["sed=1", "net.widht=1", "data=tape", "seed=x", "net.norm=group", "data.strict=3"]
    with pytest.raises(ConfigError, match="6 faults") as caught:
        check(configs, *wrong)
    places = {fault.where for fault in caught.value.faults}
    assert places == {"sed", "net.widht", "data", "seed", "net.norm", "data.strict"}


def test_mandatory_value_that_nobody_gave(configs):
    with pytest.raises(ConfigError, match=r"out: found nothing; .*set it: out=VALUE"):
        check_config(configs, "main", [], run)


@pytest.mark.parametrize(
    "overrides",
    [
        ["net=late"],
        ["net=free"],
        ["net=implicit"],
        ["net=built_in"],
        ["net.rate=interval(0,1)"],
        ["net.width=range(1,4)"],
        ["net=[plain]"],
        ["net=plain,late"],
        ["net.width=1,2"],
        ["hydra.job.chdir=false"],
        ["out='runs/${hydra:job.num}'"],
        ["~experiment"],
        ["data.root=some/where"],
    ],
)
def test_what_is_fine_passes(configs, overrides):
    assert check(configs, *overrides).seed == 0


def test_null_among_components_may_be_meant(configs):
    def takes_null(parts: dict[str, Callable[..., int] | None], **settings): ...

    assert check_config(configs, "main", ["out=there", "+parts.a=null"], takes_null)


def test_null_for_a_group_that_has_an_option_none(configs):
    (configs / "net" / "none.yaml").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"net: found option 'null'; .*write net=none"):
        check(configs, "net=null")


def test_no_file_is_opened_by_the_targets(configs, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a target was called")

    import parts_for_tests

    monkeypatch.setattr(parts_for_tests.Net, "__post_init__", refuse, raising=False)
    check(configs)


def test_command_line_of_before_is_told_what_to_write(tmp_path):
    (tmp_path / "main.yaml").write_text("seed: 0\ntrainer: {max_epochs: 3}\n")

    def schema(seed: int, trainer: dict): ...

    for given, action in (
        ("task=classification", "to do: leave it out: a network that isn't fitted in closed form"),
        ("task.max_epochs=3", r"to do: write trainer\.max_epochs"),
    ):
        with pytest.raises(ConfigError, match=action):
            check_config(tmp_path, "main", [given], schema)
