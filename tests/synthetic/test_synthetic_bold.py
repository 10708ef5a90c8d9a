import json
import runpy
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds

from fmnet.bold.bold_file import BoldRun
from fmnet.bold.decoded import DecodedBold
from fmnet.data.bids import SYNTHETIC_MARK
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.errors import CohortError
from fmnet.synthetic import bold as synthetic
from fmnet.synthetic.bold import provide_bold_cohort, read_synthetic_bold, write_bold_cohort
from fmnet.synthetic.bold_brain import NETWORKS
from fmnet.synthetic.design import BoldDesign

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_bold_cohort.py"
SMALL = {"n_subjects": 4, "n_volumes": 40}
SPACE = "space-MNI152NLin2009aSym"


def func_files(root, ending):
    return sorted(root.glob(f"sub-*/func/*{ending}"))


def files_of(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(".nii.gz")
    }


def series_of(root):
    return [np.asarray(nib.load(f).dataobj) for f in func_files(root, "preproc_bold.nii.gz")]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Twelve people with two painful runs and much motion."""
    root = tmp_path_factory.mktemp("cohort") / "out"
    return write_bold_cohort(
        root, n_subjects=12, task="pain", n_runs=2, n_volumes=80, motion_mm=0.3, spike_rate=0.03
    )


def test_tree_is_that_of_fmriprep(cohort):
    (person,) = cohort.glob("sub-synthetic007/func")
    run = "sub-synthetic007_task-pain_run-2"
    assert {path.name for path in person.glob(f"{run}_*")} == {
        f"{run}_{SPACE}_desc-preproc_bold.nii.gz",
        f"{run}_{SPACE}_desc-preproc_bold.json",
        f"{run}_{SPACE}_desc-brain_mask.nii.gz",
        f"{run}_desc-confounds_timeseries.tsv",
        f"{run}_desc-confounds_timeseries.json",
        f"{run}_events.tsv",
    }
    assert len(func_files(cohort, "_bold.nii.gz")) == 24
    people = pd.read_csv(cohort / "participants.tsv", sep="\t")
    assert list(people) == ["participant_id", "group", "age", "sex"]
    assert people["group"].value_counts().to_dict() == {"FM": 6, "HC": 6}
    stated = json.loads((cohort / "dataset_description.json").read_text())
    assert stated["Name"] == SYNTHETIC_MARK
    assert stated["GeneratedBy"][0]["Parameters"]["n_runs"] == 2
    sidecar = json.loads(func_files(cohort, "_bold.json")[0].read_text())
    assert sidecar == {"RepetitionTime": 2.0, "SkullStripped": True, "TaskName": "pain"}


def test_runs_go_into_the_store(cohort, tmp_path):
    path = func_files(cohort, "_bold.nii.gz")[3]
    mask = Path(str(path).replace("preproc_bold", "brain_mask"))
    stored = ArrayStore(tmp_path, DecodedBold()).add(
        BoldRun("run", "sub", path, "MNI152NLin2009aSym", mask)
    )
    assert stored.facts.n_volumes == 80
    assert stored.t_r == pytest.approx(2.0)
    assert (
        stored.grid.digest
        == ArrayStore(tmp_path, DecodedBold())
        .add(BoldRun("run", "sub", path, "MNI152NLin2009aSym", mask))
        .grid.digest
    )
    assert np.array_equal(stored.grid.mask, build_grid(12).mask)
    assert 6000 < np.median(stored.read_window(10, 20)) < 10000


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": ("motion", "high_pass", "wm_csf"), "motion": "full", "wm_csf": "full"},
        {"strategy": ("motion", "global_signal"), "global_signal": "full"},
        {"strategy": ("high_pass", "compcor"), "compcor": "anat_combined", "n_compcor": 5},
        {"strategy": ("high_pass", "compcor"), "compcor": "anat_separated", "n_compcor": 5},
        {"strategy": ("motion", "scrub"), "scrub": 0, "fd_threshold": 0.5},
    ],
)
def test_nilearn_loads_the_confounds(cohort, options):
    images = [str(path) for path in func_files(cohort, "_bold.nii.gz")]
    confounds, kept = load_confounds(images, **options)
    for table, numbers in zip(confounds, kept, strict=True):
        assert table.shape[0] == 80
        assert table.shape[1] >= 7
        assert np.isfinite(table.to_numpy()).all()
        assert not {0, 1} & set(numbers)
    if "scrub" in options["strategy"]:
        assert min(map(len, kept)) < 78


def test_confounds_are_those_of_the_volumes(cohort):
    for image, file in zip(
        series_of(cohort)[:6], func_files(cohort, "timeseries.tsv")[:6], strict=True
    ):
        table = pd.read_csv(file, sep="\t")
        inside = image[..., 0] != 0
        values = image[inside].T.astype(float)
        assert np.allclose(table["global_signal"], values.mean(axis=1))
        assert np.allclose(table["dvars"][1:], np.sqrt((np.diff(values, axis=0) ** 2).mean(axis=1)))
        traces = table[["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]]
        steps = traces.diff().abs() * [1, 1, 1, 50, 50, 50]
        assert np.allclose(table["framewise_displacement"][1:], steps[1:].sum(axis=1), atol=1e-6)
        assert np.isnan(table["framewise_displacement"][0])
        assert "n/a" in file.read_text().split("\n")[1].split("\t")
        assert np.allclose(table["rot_z_derivative1_power2"][1:], traces["rot_z"].diff()[1:] ** 2)
        flagged = table.filter(regex="^(motion|non_steady_state)_outlier").sum(axis=1)
        moved = (table["framewise_displacement"] > 0.5) | (table["std_dvars"] > 1.5)
        assert (flagged[3:] == moved[3:]).all()
        assert list(flagged[:2]) == [1, 1]
        assert 0.7 < table["std_dvars"][5:].median() < 1.3


def test_first_volumes_are_brighter(cohort):
    mean = np.mean(
        [values[values[..., 5] > 0].mean(axis=0) for values in series_of(cohort)], axis=0
    )
    assert mean[0] > 1.3 * mean[10]
    assert mean[1] > 1.08 * mean[10]
    assert mean[2] == pytest.approx(mean[10], rel=0.02)


def test_components_are_described(cohort):
    meta = json.loads(func_files(cohort, "timeseries.json")[0].read_text())
    masks = {name[0]: entry["Mask"] for name, entry in meta.items()}
    assert masks == {"a": "combined", "c": "CSF", "w": "WM"}
    assert all(entry["Retained"] for entry in meta.values())
    table = pd.read_csv(func_files(cohort, "timeseries.tsv")[0], sep="\t")
    waves = table[[f"a_comp_cor_0{k}" for k in range(5)]].to_numpy()[2:]
    assert np.allclose(waves.T @ waves, np.eye(5), atol=1e-6)


def test_left_is_left(cohort):
    image = nib.load(cohort / "truth" / f"{SPACE}_desc-networks.nii.gz")
    maps = image.get_fdata()
    names = [network.name for network in NETWORKS]
    x_mm = image.affine[0, 3] + image.affine[0, 0] * np.arange(len(maps))
    for name, is_left in {"fronto_parietal": True, "auditory": False}.items():
        weights = maps[..., names.index(name)].sum(axis=(1, 2))
        centre_mm = (weights * x_mm).sum() / weights.sum()
        assert (centre_mm < -25) if is_left else (abs(centre_mm) < 3)


def test_truth_says_what_was_drawn(cohort):
    people = pd.read_csv(cohort / "truth" / "people.tsv", sep="\t")
    for row in people.to_dict("records"):
        tables = [
            pd.read_csv(file, sep="\t")["framewise_displacement"][1:]
            for file in func_files(cohort, "timeseries.tsv")
            if row["participant_id"] in file.name
        ]
        assert pd.concat(tables).mean() == pytest.approx(
            row["mean_framewise_displacement"], rel=0.05
        )
    fm = pd.read_csv(cohort / "truth" / "group-FM_correlations.tsv", sep="\t", index_col=0)
    hc = pd.read_csv(cohort / "truth" / "group-HC_correlations.tsv", sep="\t", index_col=0)
    assert fm.equals(hc)
    assert np.allclose(fm, fm.T)


@pytest.mark.slow
def test_same_parameters_same_data_however_many_processes(tmp_path):
    design = BoldDesign(**SMALL, seed=3, n_sites=2)
    one = provide_bold_cohort(tmp_path / "one", design)
    two = provide_bold_cohort(tmp_path / "two", design, n_jobs=2)
    assert one.name == two.name == f"synthetic-bold-{design.digest[:16]}"
    assert files_of(one) == files_of(two)
    for a, b in zip(series_of(one), series_of(two), strict=True):
        assert np.array_equal(a, b)
    other = provide_bold_cohort(tmp_path / "one", BoldDesign(**SMALL, seed=4, n_sites=2))
    assert other != one
    assert not np.array_equal(series_of(one)[0], series_of(other)[0])
    assert "site" in pd.read_csv(one / "participants.tsv", sep="\t")


def test_same_seed_same_data_and_another_seed_others(tmp_path):
    one, two, other = (
        write_bold_cohort(tmp_path / name, n_subjects=4, n_volumes=30, seed=seed)
        for name, seed in {"one": 3, "two": 3, "other": 4}.items()
    )
    assert files_of(one) == files_of(two)
    for a, b, c in zip(series_of(one), series_of(two), series_of(other), strict=True):
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)


def test_a_person_does_not_depend_on_how_many_there_are(tmp_path):
    few = write_bold_cohort(tmp_path / "few", n_subjects=4, n_volumes=30)
    many = write_bold_cohort(tmp_path / "many", n_subjects=6, n_volumes=30)
    assert np.array_equal(series_of(few)[2], series_of(many)[2])


def test_a_finished_cohort_is_kept_and_another_refused(tmp_path):
    root = write_bold_cohort(tmp_path / "out", **SMALL)
    file = func_files(root, "_bold.nii.gz")[0]
    written = file.stat().st_mtime_ns
    assert write_bold_cohort(root, coupling=None, **SMALL) == root
    assert file.stat().st_mtime_ns == written
    with pytest.raises(CohortError, match="the finished cohort of the same parameters"):
        write_bold_cohort(root, seed=1, **SMALL)
    file.unlink()
    with pytest.raises(CohortError, match="holds something else"):
        write_bold_cohort(root, **SMALL)


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt("stopped")

    monkeypatch.setattr(synthetic, "_write_truth", stop)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        write_bold_cohort(tmp_path / "out", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_synthetic_cohort_is_made_once(tmp_path):
    parameters = {"n_subjects": 4, "n_volumes": 30, "voxel_size_mm": 12, "maps": ("reho",)}
    listing = read_synthetic_bold(tmp_path, **parameters)
    again = read_synthetic_bold(tmp_path, **parameters)
    assert len(list(tmp_path.iterdir())) == 1
    assert [scan.files for scan in listing.scans] == [scan.files for scan in again.scans]
    assert (listing.contrasts, len(listing.scans)) == (("reho",), 4)
    assert sorted(scan.label for scan in listing.scans) == ["FM", "FM", "HC", "HC"]


def run_script(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    with pytest.raises(SystemExit, match=r"\d") as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return caught.value.code


def test_the_script_writes_a_cohort_and_says_it_is_synthetic(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert run_script(monkeypatch, out, "--n-subjects", 4, "--n-volumes", 30, "--task", "pain") == 0
    line = capsys.readouterr().out
    assert str(out) in line
    assert "SYNTHETIC" in line
    assert len(func_files(out, "_events.tsv")) == 4


def test_the_script_reports_faults_plainly(tmp_path, monkeypatch, capsys):
    assert run_script(monkeypatch, tmp_path / "out", "--n-subjects", 2, "--t-r", 0) == 2
    printed = capsys.readouterr().err
    assert "--n-subjects: found 2" in printed
    assert "--t-r: found 0.0" in printed
    assert not (tmp_path / "out").exists()
