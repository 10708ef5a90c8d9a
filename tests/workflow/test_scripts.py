import subprocess
import sys

import pytest
from command_fixtures import ROOT

SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.stem != "installed")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_python_without_packages_is_told_to_install(script):
    command = [sys.executable, "-S", str(script), "--help"]  # -S: as without the environment
    done = subprocess.run(command, capture_output=True, text=True, env={}, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "run `make install`, then `. .venv/bin/activate`" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_only_connect(script):
    assert len(script.read_text().splitlines()) <= 40


@pytest.mark.parametrize("arguments", [[], ["out=x"]])
def test_no_suite_of_benchmarks_starts_unnamed(arguments, tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("name a suite: suite=corpus, suite=coverage, ")
    assert not list(tmp_path.iterdir())
