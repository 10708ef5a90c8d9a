"""Cohorts whose groups differ in something else than the brain: each has to be called out."""

import json
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from run_fixtures import study_settings
from scipy.ndimage import affine_transform, gaussian_filter

from fmnet.baselines.base import Baseline, Dummy, score_fold
from fmnet.baselines.linear import LinearSvm
from fmnet.baselines.shortcuts import Columns, Coverage, FileGrid, Roughness, Scale
from fmnet.crossval.exchange import permute_labels
from fmnet.crossval.fold_loop import fold_rows
from fmnet.data.bids import read_bids
from fmnet.data.cohort import open_cohort
from fmnet.data.folds import build_folds
from fmnet.data.image_table import read_image_table
from fmnet.data.participants import read_participants
from fmnet.data.scans import MapsOnGrid
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.errors import CohortError, LeakError
from fmnet.evaluation import audit
from fmnet.evaluation.audit import AuditPlan
from fmnet.evaluation.evaluate import conclude, evaluate
from fmnet.evaluation.metrics import add_units
from fmnet.inference.preparation import PreparationSettings
from fmnet.report.sentences import put_into_words
from fmnet.studies.study import run_study
from fmnet.synthetic.maps import write_cohort
from fmnet.training.scan_set import MapScans
from fmnet.training.trainer import CPU_TRAINER

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
            "trainer": partial(CPU_TRAINER, max_epochs=3),
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


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Thirty people without any effect on a 12 mm grid, where a study takes a second or two."""
    root = tmp_path_factory.mktemp("honest")
    write_cohort(root / "people", n_subjects=30, effect_size=0.0, voxel_size_mm=12, seed=2)
    cohort = open_cohort(
        read_bids(root / "people"), ArrayStore(root / "store", MapsOnGrid(build_grid(12)))
    )
    return SimpleNamespace(root=root, cohort=cohort, values=cohort.values(), label=cohort.labels)


@pytest.fixture
def judge(monkeypatch):
    """Cross-validate a linear map in the network's place, and shortcuts; return the findings."""
    monkeypatch.setattr(audit, "N_DRAWS", 200)

    def run(cohort, values, shortcuts=()):
        settings = PreparationSettings(voxel_size_mm=12, fwhm_mm=12.0)
        data = MapScans(cohort, values, settings)
        models = {"network": LinearSvm(fwhm_mm=(12.0,), c=(0.1,))}
        models |= {name: BASELINES[name] for name in shortcuts}
        folds = build_folds(cohort, n_splits=3, n_repeats=1, inner_splits=2)
        scored = pd.concat(
            fold_rows(cohort, fold, name, score_fold(model, data, fold))
            for fold in folds
            for name, model in models.items()
            if not model.lacks(data)
        )
        scored = add_units(scored, cohort.unit_of)
        said = {name: model.describe(name) for name, model in models.items()}
        kinds = {name: kind for name, (kind, _) in said.items()}
        metrics = evaluate(scored, "network", kinds)
        metrics["titles"] = {name: title for name, (_, title) in said.items()}
        people = read_participants(cohort)
        put_into_words(metrics, conclude(metrics, scored, people, ["pain_score"]))
        found = {"red": [], "amber": [], "metrics": metrics}
        for one in metrics["findings"]:
            found[one["severity"]].append(one["text"])
        return found

    return run


def with_columns(cohort, **columns):
    table = cohort.listing.participants.assign(**columns)
    return replace(cohort, listing=replace(cohort.listing, participants=table))


def blurred(volume):
    """As if resampled twice: smoother, of the same SD."""
    known = np.isfinite(volume)
    smooth = gaussian_filter(np.where(known, volume, 0), 0.6)
    smooth /= np.maximum(gaussian_filter(1.0 * known, 0.6), 1e-3)
    return np.where(known, smooth * np.nanstd(volume) / smooth[known].std(), np.nan)


def without_top(volume):
    top = np.where(np.isfinite(volume).any(axis=(0, 1)))[0][-2:]
    lacking = volume.copy()
    lacking[:, :, top] = np.nan
    return lacking


def clipped(volume):
    limit = 2.2 * np.nanstd(volume)
    return np.clip(volume, -limit, limit)


def smaller(volume):
    """A head that was fitted to the template 7 % too small."""
    centre = (np.array(volume.shape) - 1) / 2
    values = np.nan_to_num(volume)
    shrunk = affine_transform(
        values, np.eye(3) / 0.93, offset=centre - centre / 0.93, order=1, cval=0
    )
    return np.where(shrunk == 0, np.nan, shrunk)


@pytest.mark.parametrize(
    ("change", "shortcut", "said"),
    [
        (blurred, "roughness", "Roughness only reaches AUC"),
        (clipped, "scale", "Image scale only reaches AUC"),
        (without_top, "coverage", "Coverage only reaches AUC"),
        (smaller, "coverage", "Coverage only reaches AUC"),
    ],
)
def test_images_of_one_group_that_were_made_otherwise(honest, judge, change, shortcut, said):
    grid, values = honest.cohort.grid, honest.values.copy()
    volumes = grid.unmask(values, np.nan)[:, 0]
    for row in np.flatnonzero(honest.label):
        values[row, 0] = change(volumes[row])[grid.mask]
    found = judge(honest.cohort, values, [shortcut])
    assert found["red"][0].startswith(said)
    assert len(found["red"]) == 1


def test_images_that_were_made_alike_raise_no_alarm(honest, judge):
    found = judge(honest.cohort, honest.values, ["coverage", "scale", "roughness"])
    assert found["red"] == []
    assert honest.cohort.alike == ()


def dates_of(label, write):
    """Scan dates: the second group was scanned a year later."""
    rng = np.random.default_rng(0)
    days = rng.integers(0, 300, len(label)) + 330 * label
    return [write(pd.Timestamp(2021, 1, 1) + pd.Timedelta(days=int(day))) for day in days]


@pytest.mark.parametrize(
    "write", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d"]
)
def test_scan_date_that_drifts_with_the_group(honest, judge, write):
    table = honest.cohort.listing.participants
    label = (table["group"] == "FM").to_numpy(int)
    texts = dates_of(label, lambda date: date.strftime(write))
    number = dates_of(label, lambda date: str((date - pd.Timestamp(2020, 1, 1)).days))
    found = judge(with_columns(honest.cohort, scan_date=texts), honest.values)
    again = judge(with_columns(honest.cohort, scan_date=number), honest.values)
    assert any(
        one.startswith("scan_date alone tells the groups apart with") for one in found["red"]
    )
    assert (found["red"], found["amber"]) == (again["red"], again["amber"])


def test_age_that_one_group_alone_has(honest, judge):
    table = honest.cohort.listing.participants
    age = table["age"].where(table["group"] == "FM", "n/a")
    found = judge(with_columns(honest.cohort, age=age), honest.values)
    said = "Column 'age' could not be examined as a confound in full: known in one group only."
    assert found["red"] == [said]


def test_head_size_that_tells_the_groups_apart(honest, judge):
    table = honest.cohort.listing.participants
    label = (table["group"] == "FM").to_numpy(int)
    litres = np.zeros(len(label))
    for group in (0, 1):
        litres[label == group] = np.linspace(1.3, 1.6, (label == group).sum())
    for size, severity, said in (
        (litres + 0.2 * label, "red", "eTIV alone tells the groups apart with AUC"),
        (litres + 0.04 * label, "amber", "The groups differ in head size: eTIV (standardised diff"),
    ):
        texts = [f"{one:.3f}" for one in size]
        found = judge(with_columns(honest.cohort, eTIV=texts), honest.values)
        assert any(one.startswith(said) for one in found[severity])


@pytest.fixture(scope="module")
def twice(honest):
    """Twelve people under two names, with new noise: correlations of 0.85 to 0.95 remain."""
    root = honest.root / "twice"
    shutil.copytree(honest.root / "people", root)
    table = pd.read_csv(root / "participants.tsv", sep="\t", dtype=str)
    rng = np.random.default_rng(3)
    rows = []
    for _, person in table.iloc[:12].iterrows():
        name = f"{person['participant_id']}b"
        (source,) = (root / person["participant_id"]).rglob("*.nii.gz")
        image = nib.load(source)
        data = image.get_fdata()
        is_inside = data != 0
        noise = gaussian_filter(rng.normal(size=data.shape), 0.6)
        noise *= 0.4 * data[is_inside].std() / noise[is_inside].std()
        other = nib.Nifti1Image(np.where(is_inside, data + noise, 0).astype("f4"), image.affine)
        path = root / name / "func" / source.name.replace(person["participant_id"], name)
        path.parent.mkdir(parents=True)
        other.to_filename(path)
        rows.append(person.replace(person["participant_id"], name))
    table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
    table.to_csv(root / "participants.tsv", sep="\t", index=False)
    return SimpleNamespace(
        root=root, table=table, store=ArrayStore(root / "store", MapsOnGrid(build_grid(12)))
    )


def test_same_people_twice_under_other_names(twice, judge):
    cohort = open_cohort(read_bids(twice.root), twice.store)
    pairs = {tuple(sorted(group.people)) for group in cohort.alike}
    assert pairs == {(one, f"{one}b") for one in twice.table["participant_id"][:12]}
    found = judge(cohort, cohort.values())
    assert found["metrics"]["models"]["network"]["auc"] > 0.6  # without any effect
    (said,) = (one for one in found["red"] if "under several names" in one)
    first = cohort.alike[0]
    assert said.startswith("24 people have maps as alike as those of one person under several")
    assert f"{first.people[0]} and {first.people[1]} (r = 0." in said
    assert "and 7 more such groups, all in metrics.json (12 of one label, which raise" in said
    assert "column 'family'" in said
    assert len(found["metrics"]["audit"]["look_alikes"]) == 12
    notes = cohort.table().set_index("participant_id")["notes"]
    assert notes[first.people[0]] == f"as alike to {first.people[1]} as if both were one person"


def test_family_column_keeps_the_same_people_together(twice, judge):
    names = twice.table["participant_id"]
    family = names.str.removesuffix("b").where(names.str.removesuffix("b").duplicated(keep=False))
    listing = read_bids(twice.root)
    table = listing.participants
    family = dict(zip(names, family.fillna(""), strict=True))
    table = table.assign(family=[family[name] for name in table["participant_id"]])
    cohort = open_cohort(replace(listing, participants=table), twice.store)
    assert cohort.alike == ()
    assert not [one for one in judge(cohort, cohort.values())["red"] if "several names" in one]
    for fold in build_folds(cohort, n_splits=3, n_repeats=2, inner_splits=2):
        for part in (fold.train, fold.test, *fold.validation):
            assert all(f"{one}b" in part for one in names[:12] if one in part)
    label_of = {one.participant_id: one.label for one in cohort.scans}
    for seed in range(5):
        shuffled = permute_labels(cohort, np.random.default_rng(seed))
        now = {one.participant_id: one.label for one in shuffled.scans}
        assert now != label_of
        assert all(now[one] == now[f"{one}b"] for one in names[:12])
    # a family that leaves one out cures nothing for that one
    half = table.assign(family=table["family"].where(table["participant_id"] != names[0], ""))
    alike = open_cohort(replace(listing, participants=half), twice.store).alike
    assert [sorted(group.people) for group in alike] == [[names[0], f"{names[0]}b"]]
