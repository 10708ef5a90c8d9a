"""`import fmnet`: what it offers, what it takes, and what it says where something is missing."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fmnet

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
sys.modules["omegaconf"] = None
import fmnet
for name in ("study", "SignatureClassifier"):
    try:
        getattr(fmnet, name)
    except ImportError as error:
        print(error)
"""


def test_offers_what_it_names():
    assert set(fmnet.__all__) <= set(dir(fmnet))
    for name in fmnet.__all__:
        offered = getattr(fmnet, name)
        assert callable(offered)
        assert inspect.getdoc(offered)
    with pytest.raises(AttributeError, match="'Signatures'"):
        fmnet.Signatures  # noqa: B018


def test_type_checkers_see_the_same_names():
    stub = ast.parse(Path(fmnet.__file__).with_suffix(".pyi").read_text())
    homes = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            homes |= {one.asname: node.module for one in node.names}
    assert homes == fmnet._HOMES
    for name, module in homes.items():
        assert getattr(importlib.import_module(module), name) is getattr(fmnet, name)


def test_imports_nothing_but_pythons_own_modules():
    """Modules and not seconds, which depend on the machine: 20 ms on one with two cores."""
    program = "import sys; before = set(sys.modules); import fmnet; "
    program += "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    others = set(done.stdout.split()) - set(sys.stdlib_module_names)
    assert others <= {"fmnet"}


def test_says_what_to_install():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"fmnet.{name} needs omegaconf, which is not installed: pip install 'fmnet[train]'"
        for name in ("study", "SignatureClassifier")
    ]


def test_wrong_settings_wait_for_nothing_that_trains(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\nsub-1\tFM\nsub-2\tHC\n")
    program = f"""
import sys
import fmnet
try:
    fmnet.study({str(tmp_path)!r}, settings={{"trainer.max_epoch": 3}})
except fmnet.errors.ConfigError as error:
    assert "max_epochs" in str(error), error
    print(sorted({{"torch", "monai", "pytorch_lightning", "nilearn"}} & set(sys.modules)))
"""
    place = tmp_path / "here"
    place.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert not list(place.iterdir())
