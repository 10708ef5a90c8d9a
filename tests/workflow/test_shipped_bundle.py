"""The bundle that ships: it loads, says that it is synthetic, and scores as when it was made."""

from pathlib import Path

import pytest

from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import NewScan, predict_scan
from fmnet.synthetic.maps import write_cohort

BUNDLE = Path(__file__).resolve().parents[2] / "checkpoints" / "synthetic"
#: Of the first three people of the cohort with seed 1, as the network of `make demo` scored them.
SCORES = [-0.796409, 0.286738, -2.252946]


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(BUNDLE)


def test_says_that_it_is_synthetic(bundle):
    assert bundle.is_synthetic
    assert "Trained on synthetic data" in (BUNDLE / "MODEL_CARD.md").read_text()


def test_scores_stay_what_they_were(bundle, tmp_path):
    people = write_cohort(tmp_path / "people", n_subjects=4, effect_size=0.8, seed=1)
    maps = sorted(people.rglob("func/*_statmap.nii.gz"))[:3]
    found = [predict_scan(bundle, NewScan(path.name, (path,))) for path in maps]
    assert [one.status for one in found] == ["ok"] * 3
    # Processors add up float32 in different orders.
    assert [one.score for one in found] == pytest.approx(SCORES, abs=1e-3)
