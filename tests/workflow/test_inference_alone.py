"""The inference path runs where torch, Lightning and Hydra can't be imported."""

import subprocess
import sys

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "monai", "pytorch_lightning", "hydra", "omegaconf"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
from fmnet.deploy.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_predicts_without_torch(finished, tmp_path):
    out = tmp_path / "results.tsv"
    scan = ",".join(map(str, finished.listing.scans[0].files))
    command = [sys.executable, "-c", BLOCKER, str(finished.bundle_dir), scan, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_text().splitlines()[1].split("\t")[3] == "ok"


def test_the_blocker_blocks():
    blocked = BLOCKER.replace("from fmnet.deploy.cli import main", "import torch")
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert "torch is blocked" in done.stderr
