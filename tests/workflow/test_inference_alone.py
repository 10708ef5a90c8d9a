"""The inference path runs where torch, Lightning and Hydra can't be imported."""

import shutil
import subprocess
import sys

import pytest
from signature_bundle_fixtures import add_signature, planted_weights

from fmnet.inference.bundle import read_bundle

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "monai", "pytorch_lightning", "hydra", "omegaconf"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
from fmnet.inference.cli import main
sys.exit(main(sys.argv[1:]))
"""

#: Each takes longer to import than a map takes to be read, placed and scored.
SLOW = {"nilearn", "sklearn", "scipy.stats", "matplotlib", "requests"}

LISTER = """
import sys
from fmnet.inference.cli import main
status = main(sys.argv[1:])
print(*sys.modules)
sys.exit(status)
"""


def test_predicts_without_torch(finished, tmp_path):
    out = tmp_path / "results.tsv"
    scan = ",".join(map(str, finished.listing.scans[0].files))
    command = [sys.executable, "-c", BLOCKER, str(finished.bundle_dir), scan, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_text().splitlines()[1].split("\t")[6] == "ok"


def test_scores_bold_without_torch(series_export, bold_tree, tmp_path):
    out = tmp_path / "results.tsv"
    bundle, image = series_export.bundle.folder, next(bold_tree.rglob("*_bold.nii.gz"))
    command = [sys.executable, "-c", BLOCKER, str(bundle), str(image), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_text().splitlines()[1].split("\t")[6] == "ok"


@pytest.fixture
def explained(finished, tmp_path):
    """Give a copy of the bundle a signature."""
    folder = shutil.copytree(finished.bundle_dir, tmp_path / "bundle")
    grid = read_bundle(folder).preparation.grid
    return add_signature(folder, planted_weights(grid, 2)).folder


def test_explains_without_torch_and_without_plotting(finished, explained, tmp_path):
    scan = ",".join(map(str, finished.listing.scans[0].files))
    code = LISTER.replace("inference.cli", "inference.explain_command")
    blocked = BLOCKER.partition("from fmnet")[0] + code
    given = [str(explained), scan, "--out", str(tmp_path / "out")]
    command = [sys.executable, "-c", blocked, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.splitlines()[-1].split())
    assert "fmnet.inference.card_pictures" in imported
    assert not (SLOW | {"torch", "captum"}) & imported
    assert "What raised and what lowered" in (tmp_path / "out" / "card.html").read_text()


def test_the_blocker_blocks():
    blocked = BLOCKER.replace("from fmnet.inference.cli import main", "import torch")
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert "torch is blocked" in done.stderr


def test_imports_no_more_than_scoring_takes(finished, tmp_path):
    scan = ",".join(map(str, finished.listing.scans[0].files))
    out = str(tmp_path / "results.tsv")
    command = [sys.executable, "-c", LISTER, str(finished.bundle_dir), scan, "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(done.stdout.splitlines()[-1].split())
    assert "fmnet.inference.predict" in imported
    assert not SLOW & imported
