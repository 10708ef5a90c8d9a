import os
from pathlib import Path

import pytest

from fmnet.bold.bids_files import is_derivative
from fmnet.data.bids import tree_origin
from fmnet.data.self_hashed import MAX_JSON_BYTES, read_json
from fmnet.errors import VolumeError


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)


HOSTILE = {
    "pipe": (os.mkfifo, "a pipe"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "folder": (Path.mkdir, "a folder"),
    "loop": (lambda path: path.symlink_to(path), "no file"),
    "huge": (huge, f"{1 << 42} bytes; accepted: .*at most {MAX_JSON_BYTES} bytes"),
    "deep": (lambda path: path.write_text('{"Name":' * 100_000), "too deep"),
    "latin": (lambda path: path.write_bytes(b'{"Name": "\xe9"}'), "can't be read"),
    "binary": (lambda path: path.write_bytes(bytes(100)), "can't be read"),
    "list": (lambda path: path.write_text("[]"), "a JSON list"),
    "digits": (lambda path: path.write_text("9" * 5000), "a JSON float"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_json_is_a_regular_file_of_bounded_size_and_depth(tmp_path, kind):
    write, match = HOSTILE[kind]
    path = tmp_path / "dataset_description.json"
    write(path)
    with pytest.raises(VolumeError, match=match):
        read_json(path)
    assert tree_origin(tmp_path) == ""
    assert not is_derivative(tmp_path)


def test_whole_numbers_are_floats_however_long(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(f'\ufeff{{"a": 2, "b": 1{"0" * 400}}}', encoding="utf-8")
    assert read_json(path) == {"a": 2.0, "b": float("inf")}
