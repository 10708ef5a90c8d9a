"""Help and reference have one source, and it has no gaps."""

import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.utils import setup_globals

from fmnet.config.check import check_config
from fmnet.config.describe import describe_command, describe_options
from fmnet.config.jobs import register_resolvers
from fmnet.config.primary import PRIMARIES, config_dir

GROUPS = sorted(
    {
        path.parent.relative_to(config_dir()).as_posix()
        for path in config_dir().rglob("*/*.yaml")
        if path.parent.name != "suite"
    }
)

MAIN = """
# Does something,
# in two lines.
# fmnet main seed=3
defaults:
  - part: first  # which part
  - _self_
  - override hydra/job_logging: disabled

seed: 0  # where all starts
names: [a, b]
nothing: null
part:
  width: 3
# said above
# in two lines
run_dir: outputs/${now:%Y}  # and beside
"""
FIRST = """
# the first part
_target_: fmnet.data.folds.build_folds
_partial_: true
n_splits: 5  # said here
seed: ${seed}
among: {group: [FM]}  # only these
"""


@pytest.fixture
def configs(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "main.yaml").write_text(MAIN.lstrip())
    (tmp_path / "part" / "first.yaml").write_text(FIRST.lstrip())
    return tmp_path


def test_comments_describe_keys_groups_and_commands(configs):
    described = describe_command("main", folder=configs)
    assert described.summary == "Does something, in two lines."
    assert described.examples == ["fmnet main seed=3"]
    (group,) = described.groups
    assert (group.name, group.default, group.description, group.options) == (
        "part", "first", "which part", ["first"]
    )  # fmt: skip
    keys = {key.name: key for key in described.keys}
    assert {name: key.default for name, key in keys.items()} == {
        "seed": "0", "names": "[a, b]", "nothing": "null", "run_dir": "outputs/${now:%Y}",
        "part.n_splits": "5", "part.seed": "${seed}", "part.among": "{group: [FM]}",
        "part.width": "3",
    }  # fmt: skip
    assert keys["seed"].description == "where all starts"
    assert keys["run_dir"].description == "said above in two lines and beside"
    assert keys["part.n_splits"].description == "said here"
    assert keys["part.n_splits"].accepted == "a whole number, at least 2"
    assert keys["part.seed"].description == "as seed"
    assert keys["part.among"].target == "fmnet.data.folds.build_folds"


def test_keys_are_those_of_the_options_chosen(configs):
    other = FIRST.replace("n_splits: 5  # said here", "inner_splits: 4")
    (configs / "part" / "second.yaml").write_text(other)
    names = {key.name for key in describe_command("main", ["part=second"], configs).keys}
    assert "part.inner_splits" in names
    assert "part.n_splits" not in names


@pytest.mark.parametrize("name", PRIMARIES)
def test_every_key_and_group_of_a_command_is_described(name):
    described = describe_command(name)
    assert described.summary.endswith("Research use only.")
    assert [key.name for key in described.keys if not key.description] == []
    assert [group.name for group in described.groups if not group.description] == []


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_and_its_keys_are_described(group):
    options = describe_options(group)
    assert [name for name, one in options.items() if not one.summary] == []
    undescribed = [key.name for one in options.values() for key in one.keys if not key.description]
    assert undescribed == []


@pytest.mark.parametrize("name", PRIMARIES)
def test_two_examples_of_each_command_pass_the_check(name):
    primary, (first, second) = PRIMARIES[name], describe_command(name).examples
    for example in (first, second):
        program, command, *overrides = shlex.split(example)
        assert (program, command) == ("fmnet", name)
        assert check_config(config_dir(), name, overrides, primary.schema, False, primary.passed)


def test_examples_of_targets_compose():
    setup_globals()
    register_resolvers()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for path in config_dir().glob("target/*.yaml"):
            program, command, *overrides = shlex.split(
                path.read_text().splitlines()[1].lstrip("# ")
            )
            assert (program, command) == ("fmnet", "train")
            assert f"target={path.stem}" in overrides
            assert compose("train", overrides=overrides).target
