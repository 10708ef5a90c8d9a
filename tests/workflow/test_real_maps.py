"""Real maps: a study from a table of paths, and left and right in its signature."""

import shutil

import nibabel as nib
import pandas as pd
import pytest
from command_fixtures import QUICK, call

from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import NewScan, predict_scan


@pytest.fixture(scope="module")
def language(real_data, tmp_path_factory):
    """A study of language against statistical-learning maps, and its folder."""
    folder = tmp_path_factory.mktemp("language")
    maps = real_data / "maps_4mm" / "langloc_asl_12mm"
    arguments = [
        "cohort=table",
        f"cohort.images={maps / 'images.tsv'}",
        "cohort.label=task",
        "cohort.positive=langloc",
        "run_dir=run",
    ]
    done = call("train", *arguments, *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr
    # of a handful of people, whose interval is as wide as can be
    given = ("run_dir=run", "out=bundle", "allow_uninformative=true")
    assert call("export", *given, cwd=folder).returncode == 0
    return folder


@pytest.fixture
def scan(real_data):
    return real_data / "maps_4mm" / "langloc_asl_12mm" / "sub-01_task-langloc.nii.gz"


def score(folder, file):
    return predict_scan(read_bundle(folder / "bundle"), NewScan("new", (file,))).score


@pytest.mark.slow
def test_people_are_split_with_both_their_maps(language):
    table = pd.read_csv(language / "run" / "predictions.tsv", sep="\t")
    network = table[table["model"] == "network"].groupby("participant_id")
    assert len(network) == 16
    assert (network["fold"].nunique() == 1).all()
    assert (network.size() == 2).all()


@pytest.mark.slow
def test_left_is_left(language, scan, tmp_path):
    image = nib.load(scan)
    mirror = image.affine.copy()
    mirror[:3, 3] += mirror[:3, 0] * (image.shape[0] - 1)
    mirror[:3, 0] *= -1
    nib.Nifti1Image(image.get_fdata()[::-1], mirror).to_filename(tmp_path / "both.nii.gz")
    nib.Nifti1Image(image.get_fdata()[::-1], image.affine).to_filename(tmp_path / "data.nii.gz")
    shutil.copy(scan, tmp_path / "copy.nii.gz")
    original = score(language, tmp_path / "copy.nii.gz")
    assert score(language, tmp_path / "both.nii.gz") == pytest.approx(original, abs=1e-5)
    assert abs(score(language, tmp_path / "data.nii.gz") - original) > 1e-2
