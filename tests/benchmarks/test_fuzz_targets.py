"""Readers answer altered bytes; what fuzzing found stays found."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz.target import Reader, Target, alter_json
from benchmarks.fuzz.targets import TARGETS, build_target
from fmnet.errors import Fault, VolumeError

#: Of each target: seeds that are refused as they stand.
REFUSED = {"headers": 2, "tables": 2, "bundles": 1}


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    return {name: build_target(name, folder / name) for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read(targets, name):
    said = [targets[name].feed(seed) for seed in targets[name].seeds()]
    assert sum(map(bool, said)) == REFUSED[name], said


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60)
@given(first=st.integers(0, 99), seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4))
def test_whatever_is_altered_is_answered(targets, name, first, seeds):
    target = targets[name]
    starts = target.seeds()
    data = starts[first % len(starts)]
    for seed in seeds:
        data = target.mutate(data, seed)
    said = target.feed(data)
    assert said == "" or "accepted:" in said


def test_crashes_are_no_answers(tmp_path):
    def read(folder):
        content = (folder / "a.json").read_bytes()
        if content == b"refused":
            raise VolumeError(Fault("a", "b", "c", "d"))
        json.loads(content)

    target = Target([Reader(read, "a.json", [b"{}"])], alter_json, tmp_path / "files")
    assert target.feed(b"") == target.feed(b"\0{}") == ""
    assert "found b" in target.feed(b"\7refused")
    with pytest.raises(json.JSONDecodeError, match="Expecting"):
        target.feed(b"\0{")
    assert {target.mutate(b"\0[1]", seed) for seed in range(40)} > {b"\0[]", b"\0[null]"}


def test_the_repository_holds_no_input_of_people():
    folder = Path(__file__).parents[2] / "benchmarks" / "fuzz"
    assert {path.suffix for path in folder.iterdir()} <= {".py", ""}  # seeds are made by code
