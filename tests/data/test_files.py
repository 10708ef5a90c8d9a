import errno
import os
import stat
from pathlib import Path

import pytest

from fmnet.bold.bids_files import is_derivative
from fmnet.data.bids import tree_origin
from fmnet.data.files import (
    MAX_JSON_BYTES,
    draft_folder,
    keep_draft,
    keep_folder,
    open_draft,
    read_json,
    why_not_written,
    write_atomically,
)
from fmnet.errors import VolumeError


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ("größer \udcfc\n", "größer ".encode() + b"\xfc\n"),
        (b"\0\1", b"\0\1"),
        (lambda file: file.write(b"called"), b"called"),
    ],
)
def test_content_is_written_in_place_of_what_was_there(tmp_path, content, written):
    (tmp_path / "a").write_text("before")
    write_atomically(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == written
    assert names_in(tmp_path) == ["a"]


def test_permissions_are_those_of_any_new_file_and_folder(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
        with draft_folder(tmp_path / "b") as draft:
            keep_folder(draft, tmp_path / "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o750


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_file_that_can_not_be_written_leaves_what_was_there(tmp_path, monkeypatch, failing):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a").write_text("before")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text() == "before"
    assert names_in(tmp_path) == ["a"]


def test_nobody_sees_a_part_of_a_file_or_folder_under_its_name(tmp_path):
    with open_draft(tmp_path) as draft, draft_folder(tmp_path / "b") as folder:
        draft.write(b"part")
        (folder / "c").write_text("part")
        assert all(name.startswith(".") and name.endswith(".part") for name in names_in(tmp_path))
        keep_draft(draft, tmp_path / "a")
        keep_folder(folder, tmp_path / "b")
    assert names_in(tmp_path) == ["a", "b"]
    assert (tmp_path / "b" / "c").read_text() == "part"


def test_what_is_not_kept_is_gone(tmp_path):
    def stop():
        with open_draft(tmp_path), draft_folder(tmp_path / "b") as folder:
            (folder / "c").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert names_in(tmp_path) == []


def test_folder_takes_no_other_folders_place(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    with draft_folder(tmp_path / "b") as draft, pytest.raises(OSError, match="not empty"):
        keep_folder(draft, tmp_path / "b")
    assert names_in(tmp_path) == ["b"]


def test_full_disk_is_told_with_the_room_that_there_is(tmp_path):
    full = OSError(errno.EDQUOT, "Disk quota exceeded")
    said = why_not_written(full, tmp_path, 2_000_000)
    assert said.startswith("a full disk: 2.0 MB to write, ")
    assert said.endswith(" MB free")
    assert why_not_written(OSError(errno.EROFS, "Read-only"), tmp_path, 5) == "Read-only"


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
