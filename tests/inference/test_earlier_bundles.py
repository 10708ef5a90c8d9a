"""Bundles of earlier formats: read as they were, scored as they were, and short of what is new."""

import json
import shutil
from pathlib import Path

import pytest
from target_bundle_fixtures import add_target

from fmnet.errors import BundleError
from fmnet.inference.bundle import EARLIER_VERSION, FORMAT_VERSION, read_bundle
from fmnet.inference.bundle_files import write_hashes
from fmnet.inference.predict import NewScan, predict_scan
from fmnet.synthetic.maps import write_cohort

#: As it was exported, in November 2026; nobody may write it again.
FORMAT_1 = Path(__file__).resolve().parents[1] / "bundles" / "format_1"
#: Of the first three people of the cohort with seed 1, when it was made.
SCORES = [-0.796409, 0.286738, -2.252946]
PROBABILITIES = [0.453808, 0.573214, 0.303405]


def test_bundle_of_format_1_scores_as_when_it_was_made(tmp_path):
    bundle = read_bundle(FORMAT_1)
    assert bundle.metadata["format_version"] == EARLIER_VERSION
    people = write_cohort(tmp_path / "people", n_subjects=4, effect_size=0.8, seed=1)
    maps = sorted(people.rglob("func/*_statmap.nii.gz"))[:3]
    found = [predict_scan(bundle, NewScan(path.name, (path,))) for path in maps]
    assert [one.status for one in found] == ["ok"] * 3
    # processors add up float32 in different orders
    assert [one.score for one in found] == pytest.approx(SCORES, abs=1e-3)
    assert [one.probability for one in found] == pytest.approx(PROBABILITIES, abs=1e-3)
    assert all(one.interval is None and one.groups is None for one in found)


def test_bundle_of_format_1_lacks_what_came_later():
    bundle = read_bundle(FORMAT_1)
    assert (bundle.unseen, bundle.gates) == (None, None)
    assert bundle.calibration.base_rate is None


def test_format_is_what_told_targets_apart_before(tmp_path):
    folder = add_target(tmp_path / "bundle", "severity")
    assert not (folder / "configs").exists()
    bundle = read_bundle(folder)
    assert bundle.metadata["format_version"] == FORMAT_VERSION
    assert bundle.gates is None


def test_number_of_the_format_changes_nothing_else(tmp_path):
    copy = shutil.copytree(FORMAT_1, tmp_path / "copy")
    metadata = json.loads((copy / "metadata.json").read_text())
    (copy / "metadata.json").write_text(json.dumps(metadata | {"format_version": 2}))
    write_hashes(copy)
    assert read_bundle(copy).metadata["training"]["positive"] == "FM"
    (copy / "metadata.json").write_text(json.dumps(metadata | {"format_version": 0}))
    write_hashes(copy)
    with pytest.raises(BundleError, match="bundle format 0; accepted: format 1 or 2"):
        read_bundle(copy)
