"""What is read off source files is what Python says once it has imported them."""

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fmnet.config.primary import PRIMARIES, config_dir
from fmnet.config.signatures import _locate, _signature
from fmnet.config.source import UNKNOWN, read_descriptions, read_signature

NAMED = {
    name
    for path in config_dir().rglob("*.yaml")
    for name in re.findall(r"_target_: ([\w.]+)", path.read_text())
    if not name.startswith("benchmarks")
}
TARGETS = sorted(NAMED | {primary.schema for primary in PRIMARIES.values()})

PARTS = '''
    import functools
    from collections.abc import Sequence
    from dataclasses import KW_ONLY, dataclass, field
    from typing import ClassVar

    from fmnet.types import Count

    Sizes = Sequence[Count]

    @dataclass
    class Base:
        """A base.

        Parameters
        ----------
        width : int
            In voxels,
            each way.
        """

        width: int
        cache: dict = field(init=False)
        title: ClassVar[str] = "base"

    @dataclass
    class Part(Base):
        """A part. It has

        two paragraphs.

        Parameters
        ----------
        sizes, later : sequence
            See `describe_sizes`.
        """

        sizes: Sizes = ()
        _: KW_ONLY
        later: "Sizes" = field(default_factory=list)

    def describe_sizes(sizes):
        """Parameters
        ----------
        sizes : sequence
            Of the parts.
        """

    def other(function):
        @functools.wraps(function)
        def wrapped(*given, **named): return function(*given, **named)
        return wrapped

    @other
    def decorated(width: int): ...

    class Runs(metaclass=type):
        def __init__(self, width): ...

    raise RuntimeError("it was imported")
'''


@pytest.fixture
def parts(tmp_path, monkeypatch):
    (tmp_path / "parts_to_read.py").write_text(textwrap.dedent(PARTS))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    read_signature.cache_clear()


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_is_told_of_as_python_tells_of_it(name):
    read = read_signature(name)
    assert read is not None
    parameters, hints = _signature(_locate(name))
    assert [(one.name, one.kind) for one in read.parameters.values()] == [
        (one.name, one.kind) for one in parameters.values()
    ]
    for own, one in read.parameters.items():
        assert one.default is UNKNOWN or one.default == parameters[own].default, own
    assert {own: hints[own] for own in read.hints} == read.hints


def test_dataclasses_have_the_fields_of_their_bases(parts):
    read = read_signature("parts_to_read.Part")
    assert list(read.parameters) == ["width", "sizes", "later"]
    assert read.parameters["width"].default is inspect.Parameter.empty
    assert read.parameters["sizes"].default == ()
    assert read.parameters["later"].kind is inspect.Parameter.KEYWORD_ONLY
    assert read.hints["later"] == read.hints["sizes"]
    assert read.summary == "A part. It has"


def test_descriptions_come_from_bases_and_from_what_they_refer_to(parts):
    described = read_signature("parts_to_read.Part").descriptions
    assert described["width"] == "In voxels, each way."
    assert described["sizes"] == "Of the parts."
    assert described["later"] == "See `describe_sizes`."


@pytest.mark.parametrize(
    "name",
    ["parts_to_read.decorated", "parts_to_read.Runs", "parts_to_read.Gone", "nowhere.Part",
     "parts_to_read", "builtins.dict", "__main__.run", "numpy.dot"],
)  # fmt: skip
def test_what_only_running_it_can_tell_is_not_told(parts, name):
    assert read_signature(name) is None


def test_only_the_section_of_parameters_is_read():
    text = "Do it.\n\nParameters\n----------\na, b : int\n    One.\n*c\n    Two.\n\n"
    text += "Returns\n-------\nd\n    No."
    assert read_descriptions(text) == {"a": "One.", "b": "One.", "c": "Two."}
    assert read_descriptions("Do it.") == {}


def test_nothing_is_imported():
    slow = "{'torch', 'monai', 'pytorch_lightning', 'numpy', 'pandas', 'pydantic'}"
    code = f"""
import sys
from fmnet.config.source import read_signature
assert all(map(read_signature, {TARGETS!r}))
assert not {slow} & set(sys.modules), {slow} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_annotations_are_types_and_run_nothing(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    text = f"def build(a: open({str(ran)!r}, 'w'), b: int, c: __import__('os')): ..."
    Path(tmp_path / "odd_to_read.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read_signature("odd_to_read.build").hints == {"b": int}
    assert not ran.exists()


def test_source_that_is_no_python_is_not_told(tmp_path, monkeypatch):
    Path(tmp_path / "broken_to_read.py").write_text("def broken(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read_signature("broken_to_read.broken") is None
