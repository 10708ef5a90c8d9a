"""The bundle that ships: it loads, says that it is synthetic, and scores as when it was made."""

from pathlib import Path

import nibabel
import pytest

from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import NewScan, predict_scan, set_word
from fmnet.synthetic.maps import write_cohort

BUNDLE = Path(__file__).resolve().parents[2] / "checkpoints" / "synthetic"
#: Of the first four people of the cohort with seed 2, and the set of each.
SCORES = [4.336542, -1.749789, -5.473099, 4.351441]
SETS = ["FM", "HC", "HC", "FM"]


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(BUNDLE)


def test_says_that_it_is_synthetic(bundle):
    assert bundle.is_synthetic
    assert "Trained on synthetic data" in (BUNDLE / "MODEL_CARD.md").read_text()


def test_scores_stay_what_they_were(bundle, tmp_path):
    people = write_cohort(tmp_path / "people", n_subjects=4, effect_size=2.5, seed=2)
    maps = sorted(people.rglob("func/*_statmap.nii.gz"))
    found = [predict_scan(bundle, NewScan(path.name, (path,))) for path in maps]
    assert [one.status for one in found] == ["ok"] * 4
    # Processors add up float32 in different orders.
    assert [one.score for one in found] == pytest.approx(SCORES, abs=1e-3)
    assert [set_word(one.groups) for one in found] == SETS
    assert [one.is_of_training for one in found] == [False] * 4


def test_upside_down_has_no_score(bundle, tmp_path):
    people = write_cohort(tmp_path / "people", n_subjects=4, effect_size=2.5, seed=2)
    path = next(people.rglob("func/*_statmap.nii.gz"))
    image = nibabel.load(path)
    nibabel.save(type(image)(image.get_fdata()[:, :, ::-1], image.affine), tmp_path / "turned.nii")
    found = predict_scan(bundle, NewScan("turned", (tmp_path / "turned.nii",)))
    assert found.status == "cannot_say"
    assert "up-down orientation" in found.gates_failed
