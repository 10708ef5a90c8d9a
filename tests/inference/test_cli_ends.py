"""What ``fmnet-predict`` leaves: the rows of a run that is stopped, and nothing else."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from fmnet.inference.bundle import read_bundle
from fmnet.inference.cli import main

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tests" / "bundles" / "format_1"
SCRIPT = [sys.executable, str(ROOT / "scripts" / "predict.py")]
#: The command, with a pause before each scan.
#: Whoever runs the tests in the background of a shell hands down that Ctrl-C is ignored.
SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import fmnet.inference.cli as cli, fmnet.inference.scoring as scoring
score = scoring.score_with_values
def score_with_values(*arguments):
    time.sleep(0.05)
    return score(*arguments)
scoring.score_with_values = score_with_values
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A map of noise that passes the gates of the shipped bundle."""
    grid = read_bundle(BUNDLE).preparation.grid
    values = np.random.default_rng(0).normal(size=(1, grid.n_voxels)).astype(np.float32)
    path = tmp_path_factory.mktemp("maps") / "scan_stat-z.nii"
    nib.Nifti1Image(grid.unmask(values)[0], grid.affine).to_filename(path)
    return path


def environment(**more):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path} | more


def start_slow(scan, out, n=200):
    command = [sys.executable, "-c", SLOW, str(BUNDLE), *[str(scan)] * n, "--out", str(out)]
    command += ["--overwrite", "--jobs", "1"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())


def wait_for_rows(folder, n=4):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for part in folder.glob(".*.part"):
            if part.read_text().count("\n") > n:
                return part
        time.sleep(0.02)
    raise TimeoutError("no rows")


@pytest.mark.parametrize(("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_rows_so_far_are_kept_when_stopped(scan, tmp_path, ending, status):
    out = tmp_path / "results.tsv"
    out.write_text("older results\n")
    process = start_slow(scan, out)
    wait_for_rows(tmp_path)
    assert out.read_text() == "older results\n"
    process.send_signal(ending)
    _, said = process.communicate(timeout=30)
    assert process.returncode == status
    assert "Traceback" not in said
    table = pd.read_csv(out, sep="\t")
    assert set(table["status"]) == {"ok"}
    expected = (
        rf"stopped by {ending.name} after {len(table)} of 200 scans; they are in {out}, and the"
    )
    assert re.search(expected, said.splitlines()[-1])
    assert sorted(tmp_path.iterdir()) == [tmp_path / ".results.tsv.unfinished", out]


def test_json_is_valid_when_stopped(scan, tmp_path):
    out = tmp_path / "results.json"
    process = start_slow(scan, out)
    wait_for_rows(tmp_path, 60)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    document = json.loads(out.read_text("utf-8"))
    assert document["complete"] is False
    assert f"after {len(document['predictions'])} of 200 scans" in said.splitlines()[-1]
    assert {one["status"] for one in document["predictions"]} == {"ok"}
    assert sorted(tmp_path.iterdir()) == [tmp_path / ".results.json.unfinished", out]


def test_rows_of_a_killed_process_stay_beside(scan, tmp_path):
    out = tmp_path / "results.tsv"
    process = start_slow(scan, out)
    part = wait_for_rows(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    assert not out.exists()
    assert set(pd.read_csv(part, sep="\t")["status"]) == {"ok"}


def test_stopped_before_the_first_scan_leaves_older_results(scan, tmp_path, capsys, monkeypatch):
    out = tmp_path / "results.tsv"
    out.write_text("older results")
    monkeypatch.setattr(
        "fmnet.inference.scoring.score_with_values", lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert main([str(BUNDLE), str(scan), "--out", str(out), "--overwrite"]) == 143
    assert "stopped by SIGTERM after 0 of 1 scans" in capsys.readouterr().err
    assert out.read_text() == "older results"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("error", [MemoryError("12 GB"), RecursionError("deep"), KeyError("x\x1b")])
def test_whatever_happens_to_one_scan_is_its_row(scan, tmp_path, monkeypatch, error):
    def fail(bundle, given, request):
        if given.name == str(scan):
            return real(bundle, given, request)
        raise error

    real = __import__("fmnet.inference.scoring", fromlist=["scoring"]).score_with_values
    monkeypatch.setattr("fmnet.inference.scoring.score_with_values", fail)
    other = shutil.copy(scan, tmp_path / "other.nii")
    out = tmp_path / "results.tsv"
    assert main([str(BUNDLE), str(scan), str(other), str(scan), "--out", str(out)]) == 0
    table = pd.read_csv(out, sep="\t")
    assert list(table["status"]) == ["ok", "error", "ok"]
    assert f"({type(error).__name__}: " in table["reason"][1]
    assert "\x1b" not in out.read_text()


def test_whatever_happens_to_one_argument_is_its_row(scan, tmp_path, monkeypatch):
    def fail(source, *_):
        raise RecursionError("too deep")

    monkeypatch.setattr("fmnet.inference.cli.find_new_scans", fail)
    out = tmp_path / "results.tsv"
    assert main([str(BUNDLE), str(scan), "--out", str(out)]) == 1
    assert "RecursionError: too deep" in pd.read_csv(out, sep="\t")["reason"][0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_scores_that_no_network_gives_are_errors(scan, capsys, monkeypatch, value):
    found = np.array([value]), np.zeros(0)
    name = "fmnet.inference.bundle.Bundle.scores_and_features_of_scan"
    monkeypatch.setattr(name, lambda *_: found)
    assert main([str(BUNDLE), str(scan)]) == 1
    row = capsys.readouterr().out.splitlines()[1].split("\t")
    assert row[1:7] == ["n/a"] * 5 + ["error"]
    assert f"found a score of {value:g}; accepted: a finite score" in row[9]


def test_names_neither_steer_terminals_nor_compute(scan, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["\x1b]0;owned\x07.nii", "=cmd|' !A0.nii", "a\nb.nii", "\u202egnp.nii", "@x.nii"]
    for name in names:
        shutil.copy(scan, name)
    out = tmp_path / "results.csv"
    assert main([str(BUNDLE), *names, "-1.nii=x.nii".replace("-1", "gone"), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    for text in (printed.out, printed.err, out.read_text()):
        assert all(line.isprintable() for line in text.split("\n"))
    table = pd.read_csv(out)
    assert list(table["scan"]) == [
        r"\x1b]0;owned\x07.nii", "'=cmd|' !A0.nii", r"a\nb.nii", r"\u202egnp.nii", "'@x.nii",
        "gone.nii=x.nii",
    ]  # fmt: skip
    assert list(table["status"]) == ["ok"] * 5 + ["error"]
    assert table["score"].nunique() == 1
    assert table["score"].dtype == float


def test_metadata_do_not_steer_terminals(scan, tmp_path, capsys):
    from fmnet.inference.bundle_files import write_hashes

    copy = shutil.copytree(BUNDLE, tmp_path / "copy")
    path = copy / "metadata.json"
    path.write_text(path.read_text().replace('"positive": "FM"', r'"positive": "\u001b[31mFM"'))
    write_hashes(copy)
    assert main([str(copy), str(scan)]) == 0
    assert r"signature \x1b[31mFM against HC" in capsys.readouterr().err


LOCALES = {
    "UTF-8": {},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
}


@pytest.mark.parametrize(
    ("locale", "to_file"), [("UTF-8", True), ("UTF-8", False), ("C", False), ("ASCII", True)]
)
def test_names_of_any_bytes_are_scored_in_any_locale(scan, tmp_path, locale, to_file):
    latin, umlaut, gone = b"m\xfcller.nii", "müller.nii".encode(), "gonë.nii".encode()
    for name in (latin, umlaut):
        shutil.copy(os.fsencode(scan), os.path.join(os.fsencode(tmp_path), name))
    out = ["--out", "results.tsv"] if to_file else []
    done = subprocess.run(
        [*SCRIPT, str(BUNDLE), latin, umlaut, gone, *out],
        capture_output=True, cwd=tmp_path, env=environment(**LOCALES[locale]), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    text = (tmp_path / "results.tsv").read_text("utf-8") if to_file else done.stdout.decode("utf-8")
    rows = [row.split("\t") for row in text.splitlines()[1:]]
    assert [row[6] for row in rows] == ["ok", "ok", "error"]
    assert rows[0][0] == r"m\xfcller.nii"
    assert rows[0][1] == rows[1][1]


def test_writes_nothing_but_its_output(scan, tmp_path):
    """ONNX Runtime would leave an id of the machine, and others their caches."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    places = {name: str(home) for name in ("HOME", "TMPDIR", "USERPROFILE", "APPDATA")}
    clean = {key: value for key, value in environment().items() if not key.startswith("XDG_")}
    clean.pop("ORT_DISABLE_TELEMETRY", None)
    command = [*SCRIPT, str(BUNDLE), str(scan), "--out", "results.tsv"]
    subprocess.run(
        command, cwd=work, env=clean | places | {"PYTHONDONTWRITEBYTECODE": "1"}, check=True
    )
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["home", "work", "work/results.tsv"]


def test_reader_that_leaves_ends_the_command_quietly(scan):
    command = [*SCRIPT, str(BUNDLE), *[str(scan)] * 3]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment(), check=False
    )
    os.close(writing)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_full_standard_output_is_named(scan):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*SCRIPT, str(BUNDLE), str(scan)],
            stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "standard output: found No space left on device" in done.stderr


STUCK = """
import sys
import fmnet.inference.onnx_network as network
import fmnet.inference.cli as cli
network.SECONDS = network.GRACE_SECONDS = 0.2
network.SECONDS_PER_BYTE = 0.0
sys.exit(cli.main(sys.argv[1:]))
"""


def test_operator_that_does_not_end_is_given_up(scan, tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    from fmnet.inference.bundle_files import write_hashes

    nodes = [
        helper.make_node("ConstantOfShape", ["sizes"], ["a"]),
        helper.make_node("MatMul", ["a", "a"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["extra"], keepdims=0),
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3, 4], keepdims=0),
        helper.make_node("Add", ["mean", "extra"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 1, 36, 45, 39])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["b"])],
        [numpy_helper.from_array(np.int64([6000, 6000]), "sizes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    copy = shutil.copytree(BUNDLE, tmp_path / "copy")
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    write_hashes(copy)
    command = [sys.executable, "-c", STUCK, str(copy), str(scan)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), check=False, timeout=60
    )
    assert done.returncode == 2
    assert "a network that takes more than 0 s for one input" in done.stderr
