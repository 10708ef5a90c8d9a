import json
import os
import subprocess

import pytest

from fmnet.errors import RunError
from fmnet.inference.bundle_files import CHECKSUMS
from fmnet.runs.run_folder import (
    UNKNOWN,
    check_run_files,
    list_damaged,
    read_json,
    read_sealed,
    write_run_files,
    write_run_folder,
    write_sealed,
)


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write_run_files(folder, {"manifest.json": "{}", "predictions.tsv": "a\tb\n1\t0.25\n"})
    write_model(folder, b"one")
    return folder


def write_model(folder, weights):
    def write(draft):
        (draft / "weights.safetensors").write_bytes(weights)
        (draft / "training.json").write_text("{}")

    write_run_folder(folder, "model", write)


def test_whole_run_passes_here_and_with_sha256sum(run_dir):
    assert check_run_files(run_dir) == ""
    subprocess.run(["sha256sum", "-c", "--strict", CHECKSUMS], cwd=run_dir, check=True)


@pytest.mark.parametrize("name", ["manifest.json", "predictions.tsv", "model/weights.safetensors"])
def test_changed_lost_and_added_files_are_named(run_dir, name):
    path = run_dir / name
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(RunError, match=rf"{name}: found another content than SHA256SUMS lists"):
        check_run_files(run_dir)
    path.unlink()
    (run_dir / "seeds.tsv").write_text("")
    with pytest.raises(RunError, match=r"2 faults") as caught:
        check_run_files(run_dir)
    assert "seeds.tsv: found a file that SHA256SUMS doesn't list" in str(caught.value)
    assert f"{name}: found No such file" in str(caught.value)


def test_files_may_be_replaced(run_dir):
    write_run_files(run_dir, {"manifest.json": "[]"})
    write_model(run_dir, b"two")
    assert check_run_files(run_dir) == ""
    assert len((run_dir / CHECKSUMS).read_text().splitlines()) == 4


def test_stopped_at_any_step_every_file_is_the_one_listed(tmp_path, monkeypatch):
    real = os.replace
    for k in range(9):
        folder = tmp_path / f"run-{k}"
        folder.mkdir()
        write_run_files(folder, {"manifest.json": "{}", "metrics.json": "{}"})
        write_model(folder, b"one")
        left = [k]

        def replace(*paths, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            real(*paths)

        monkeypatch.setattr(os, "replace", replace)
        try:
            write_run_files(folder, {"manifest.json": "[1]", "metrics.json": "[2]"})
            write_model(folder, b"two")
            is_killed = False
        except KeyboardInterrupt:
            is_killed = True
        monkeypatch.setattr(os, "replace", real)
        assert not list_damaged(folder, ["manifest.json", "metrics.json"])
        damaged = list_damaged(folder, ["model"])
        assert not damaged or not (folder / "model").exists()  # it is fitted again
        write_run_files(folder, {"manifest.json": "[1]", "metrics.json": "[2]"})
        write_model(folder, b"two")
        assert check_run_files(folder) == ""
    assert not is_killed


def test_older_run_is_read_and_changes_are_seen_from_its_next_change_on(run_dir):
    (run_dir / CHECKSUMS).unlink()
    (run_dir / "logs").mkdir()
    (run_dir / "logs" / "csv").write_text("grows")
    assert check_run_files(run_dir) == UNKNOWN
    write_run_files(run_dir, {"metrics.json": "{}"})
    assert check_run_files(run_dir) == ""
    (run_dir / "logs" / "csv").write_text("grows more")
    assert check_run_files(run_dir) == ""
    (run_dir / "predictions.tsv").write_text("changed")
    with pytest.raises(RunError, match=r"predictions\.tsv: found another content"):
        check_run_files(run_dir)


def test_list_of_hashes_that_is_damaged_itself_is_refused(run_dir):
    path = run_dir / CHECKSUMS
    lines = path.read_text()
    path.write_text(lines[:-90])
    with pytest.raises(RunError, match="SHA256SUMS"):
        check_run_files(run_dir)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match=r"SHA256SUMS: found .*without it the run's files are read"):
        check_run_files(run_dir)
    path.write_text("")
    with pytest.raises(RunError, match="4 faults"):
        check_run_files(run_dir)


def test_path_that_is_no_run_is_told_apart(tmp_path):
    with pytest.raises(RunError, match=r"nosuch: found no such folder; .*correct run_dir"):
        check_run_files(tmp_path / "nosuch")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="something that is no folder"):
        check_run_files(tmp_path / "file")


@pytest.mark.parametrize(
    "text", ["", '{"a": 1', "[1]", "null", "[" * 100_000, '{"a":' * 100_000, "\ud800", "1" * 5000]
)
def test_json_that_is_damaged_is_refused(tmp_path, text):
    path = tmp_path / "manifest.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RunError, match=r"manifest\.json: found .*accepted: JSON as the run wrote"):
        read_json(path)
    assert read_sealed(path) is None


def test_sealed_object_comes_back_or_not_at_all(tmp_path):
    path = tmp_path / "part.json"
    content = {"n": 7, "rows": [{"score": 0.1 + 0.2, "id": "é"}]}
    write_sealed(content, path)
    assert read_sealed(path) == content
    text = path.read_text()
    path.write_text(text.replace("0.30000000000000004", "0.3"))
    assert read_sealed(path) is None
    path.write_text(text[:-30])
    assert read_sealed(path) is None
    path.write_text(json.dumps(content))
    assert read_sealed(path) is None
    assert read_sealed(path, needs_seal=False) == content
    assert read_sealed(tmp_path / "no.json") is None


@pytest.mark.parametrize("name", ["manifest.json", "model/training.json", CHECKSUMS])
@pytest.mark.parametrize("is_listed", [True, False])
def test_pipe_in_the_place_of_a_file_is_named_and_not_waited_for(run_dir, name, is_listed):
    if not is_listed:  # as of a run of before hashes were kept
        (run_dir / CHECKSUMS).unlink()
    (run_dir / name).unlink(missing_ok=True)
    os.mkfifo(run_dir / name)
    with pytest.raises(RunError, match=rf"{name}: found .*no (regular )?file"):
        check_run_files(run_dir)
    with pytest.raises(RunError, match="no regular file"):
        read_json(run_dir / name)
    assert read_sealed(run_dir / name) is None


@pytest.mark.parametrize("is_link", [True, False])
def test_folder_takes_the_place_of_a_file_of_its_name(run_dir, tmp_path, is_link):
    (run_dir / "model").rename(tmp_path / "elsewhere")
    if is_link:
        (run_dir / "model").symlink_to(tmp_path / "elsewhere")
    else:
        (run_dir / "model").write_text("x")
    write_model(run_dir, b"two")
    assert check_run_files(run_dir) == ""
    assert not (run_dir / "model").is_symlink()
    assert (tmp_path / "elsewhere" / "weights.safetensors").read_bytes() == b"one"


def test_what_is_obsolete_is_neither_there_nor_listed(tmp_path):
    write_run_files(tmp_path, {"brain.png": b"drawn", "report.html": "one"})
    write_run_files(tmp_path, {"report.html": "two"}, obsolete=("brain.png",))
    assert not (tmp_path / "brain.png").exists()
    assert "brain.png" not in (tmp_path / "SHA256SUMS").read_text()
    write_run_files(tmp_path, {"report.html": "three"}, obsolete=("brain.png",))
