import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fmnet.export.bundle_folder import clear_remains
from fmnet.inference.bundle import read_bundle

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "format_1"


KILLED = """
import os, signal, sys
import shutil
from pathlib import Path
import fmnet.export.bundle_folder as bundle_folder
when, ending = sys.argv[3], int(sys.argv[4])
replace, kill = Path.replace, lambda: os.kill(os.getpid(), ending)
def replaced(path, to):
    if when == f"before {path.name}": kill()
    replace(path, to)
    if when == f"after {path.name}": kill()
Path.replace = replaced
def write(folder):
    (folder / "model.onnx").write_text("half")
    if when == "writing": kill()
    shutil.copytree(sys.argv[1], folder, dirs_exist_ok=True)
bundle_folder.write_bundle_whole(write, Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("when", "ending"),
    [
        ("writing", signal.SIGKILL),
        ("writing", signal.SIGTERM),
        ("before bundle", signal.SIGTERM),
        ("after old", signal.SIGKILL),
        ("after bundle", signal.SIGKILL),
    ],
)
def test_export_that_is_ended_keeps_the_old_bundle(tmp_path, when, ending):
    parent, out = tmp_path / "bundles", tmp_path / "bundles" / "old"
    shutil.copytree(BUNDLE, out)
    given = [str(BUNDLE), str(out), when, str(int(ending))]
    command = [sys.executable, "-c", KILLED, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (143 if ending == signal.SIGTERM else -9), done.stderr
    if ending == signal.SIGTERM:
        assert [path.name for path in parent.iterdir()] == ["old"]
    clear_remains(out)
    assert [path.name for path in parent.iterdir()] == ["old"]
    assert read_bundle(out).metadata["input"]["contrasts"] == ["pressure"]


def test_folders_of_exports_at_work_and_of_others_are_left_alone(tmp_path):
    working, ended = tmp_path / ".b-aaaaaaaa", tmp_path / ".b-cccccccc"
    others = [tmp_path / name for name in (".b-other-dddddddd", ".b-eeee", ".bb-ffffffff")]
    for place in (working, ended, *others):
        (place / "bundle").mkdir(parents=True)
        (place / "lock").write_text("")
    old, young = tmp_path / ".b-gggggggg", tmp_path / ".b-hhhhhhhh"
    for place in (old, young):
        (place / "bundle").mkdir(parents=True)
    os.utime(old, (0, 0))
    with (working / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clear_remains(tmp_path / "b")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {working.name, young.name, *(place.name for place in others)}
