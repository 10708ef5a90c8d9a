"""Cohorts whose groups differ in something else than the brain: each has to be called out."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from run_fixtures import study_settings

from fmnet.data.bids import read_bids
from fmnet.data.image_table import read_image_table
from fmnet.data.synthetic import write_cohort
from fmnet.errors import CohortError, LeakError
from fmnet.study.audit.audit import AuditPlan
from fmnet.study.baselines.base import Baseline
from fmnet.study.baselines.constant import Dummy
from fmnet.study.baselines.covariates import Columns
from fmnet.study.baselines.linear import LinearSvm
from fmnet.study.baselines.shortcuts import Coverage, FileGrid, Roughness, Scale
from fmnet.study.study import run_study
from fmnet.training.recipe import Recipe

BASELINES = {
    "dummy": Dummy(),
    "linear_svm": LinearSvm(fwhm_mm=(8.0,), c=(0.1,)),
    "motion": Columns(columns=["mean_framewise_displacement"]),
    "covariates": Columns(columns=["age", "sex", "site"]),
    "file_grid": FileGrid(),
    "coverage": Coverage(),
    "scale": Scale(),
    "roughness": Roughness(),
}


@pytest.fixture
def study(tmp_path):
    """Study a listing; return what is in red, and the report."""

    def run(listing, **changes):
        settings = study_settings(tmp_path, tmp_path / "run", cohort=listing, **changes)
        more = {
            "baselines": BASELINES,
            "audit": AuditPlan(["pain_score"]),
            "task": Recipe(max_epochs=3),
        }
        run_study(**settings | more)
        metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
        red = [one["text"] for one in metrics["findings"] if one["severity"] == "red"]
        return red, metrics["verdict"], (tmp_path / "run" / "report.html").read_text()

    return run


@pytest.fixture
def people(tmp_path):
    """Write people without any effect; return the folder and who is in which group."""

    def write(**knobs):
        knobs = {"n_subjects": 32, "effect_size": 0.0, "voxel_size_mm": 8} | knobs
        root = write_cohort(tmp_path / "people", **knobs)
        table = pd.read_csv(root / "participants.tsv", sep="\t", dtype=str)
        return root, table

    return write


def change_maps(root, table, group, change):
    for person in table.loc[table["group"] == group, "participant_id"]:
        for path in (root / person).rglob("*.nii.gz"):
            image = nib.load(path)
            data, affine = change(image.get_fdata(), image.affine)
            nib.Nifti1Image(data.astype(np.float32), affine).to_filename(path)


@pytest.mark.slow
def test_honest_cohort_without_effect_raises_no_alarm(study, people):
    root, _ = people(seed=2)
    red, verdict, page = study(read_bids(root))
    assert red == []
    assert "reaches as far" not in verdict
    assert "No covariate" not in page


@pytest.mark.slow
def test_site_that_all_but_gives_the_label_away(study, people):
    root, table = people()
    is_patient = table["group"] == "FM"
    crossed = table.index % 11 == 0
    table["site"] = np.where(is_patient ^ crossed, "north", "south")
    table.to_csv(root / "participants.tsv", sep="\t", index=False)
    red, verdict, page = study(read_bids(root))
    assert any(text.startswith("site alone tells the groups apart with AUC") for text in red)
    assert "covariates only" in verdict
    assert "site alone tells the groups apart" in page


def test_site_that_gives_the_label_away_is_refused(study, people):
    root, table = people(n_subjects=12)
    table["site"] = table["group"].map({"FM": "north", "HC": "south"})
    table.to_csv(root / "participants.tsv", sep="\t", index=False)
    with pytest.raises(
        CohortError, match="column 'site': found north: only 'FM', south: only 'HC'"
    ):
        study(read_bids(root))


@pytest.mark.slow
def test_motion_that_gives_the_label_away(study, people):
    root, _ = people(motion_effect=3.0)
    red, verdict, page = study(read_bids(root))
    assert any(text.startswith("Motion only reaches AUC") for text in red)
    assert any("mean_framewise_displacement alone tells the groups apart" in text for text in red)
    assert "motion only" in verdict
    assert "Motion only reaches AUC" in page


@pytest.mark.slow
def test_missing_coverage_that_gives_the_label_away(study, people):
    root, table = people()

    def cut(data, affine):
        data[:, :, :4] = np.nan
        return data, affine

    change_maps(root, table, "FM", cut)
    red, verdict, page = study(read_bids(root))
    assert any(text.startswith("Coverage only reaches AUC 1.00") for text in red)
    assert "coverage only 1.00" in verdict
    assert "Coverage only reaches AUC 1.00" in page


@pytest.mark.slow
def test_grid_that_gives_the_label_away(study, people):
    root, table = people()

    def pad(data, affine):
        return np.pad(data, ((0, 0), (0, 0), (0, 1))), affine

    change_maps(root, table, "FM", pad)
    red, verdict, page = study(read_bids(root))
    assert any(text.startswith("File grid only reaches AUC 1.00") for text in red)
    assert "file grid only 1.00" in verdict
    assert "File grid only reaches AUC 1.00" in page


@pytest.mark.slow
def test_unit_that_gives_the_label_away(study, people):
    root, table = people()
    change_maps(root, table, "FM", lambda data, affine: (1.6 * data, affine))
    red, _, page = study(read_bids(root))
    assert any(text.startswith("Image scale only reaches AUC") for text in red)
    assert "Image scale only reaches AUC" in page


@pytest.mark.slow
def test_two_native_grids_of_real_maps(study, real_data, tmp_path):
    rows = [
        {
            "participant_id": path.name.split("_")[0],
            "task": folder,
            "path": str(path),
        }
        for folder in ("langloc", "asl")
        for path in sorted((real_data / "maps_native" / folder).rglob("*.nii.gz"))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "native.tsv", sep="\t", index=False)
    listing = read_image_table(tmp_path / "native.tsv", label="task", positive="langloc")
    red, verdict, _ = study(listing)
    assert any(text.startswith("File grid only reaches AUC 1.00") for text in red)
    assert "file grid only 1.00" in verdict


class SelectedOnEverybody(Baseline):
    """Chooses its voxels by the labels of all scans before it splits them."""

    def scores(self, data, train, test, choice):
        values = np.nan_to_num(data.values[:, 0])
        gap = values[data.labels == 1].mean(axis=0) - values[data.labels == 0].mean(axis=0)
        return values[test][:, np.abs(gap).argsort()[-50:]].sum(axis=1)


def test_feature_chosen_on_all_scans_is_refused_before_anything_is_written(tmp_path):
    settings = study_settings(tmp_path, tmp_path / "run")
    settings["baselines"] = settings["baselines"] | {"selected": SelectedOnEverybody()}
    with pytest.raises(LeakError, match="baseline 'selected'"):
        run_study(**settings)
    assert not (tmp_path / "run").exists()


def test_same_person_twice_is_refused(study, people):
    root, table = people(n_subjects=12)
    one, other = table["participant_id"][:2]
    source = next((root / one).rglob("*.nii.gz"))
    image = nib.load(source)
    louder = nib.Nifti1Image((2 * image.get_fdata()).astype(np.float32), image.affine)
    louder.to_filename(next((root / other).rglob("*.nii.gz")))
    listing = read_bids(root)
    with pytest.raises(CohortError, match="the same image as"):
        study(listing)
    red, _, page = study(replace(listing, on_fault="exclude"))
    assert one in page
    assert other in page
    assert not red
