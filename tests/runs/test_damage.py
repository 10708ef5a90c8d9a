"""A run of the closed form, which takes seconds, and what becomes of it when it is damaged."""

import json
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
from run_fixtures import run_unreported, study_settings

from fmnet.baselines.linear import LinearSvm
from fmnet.crossval.permutation import PermutationPlan
from fmnet.data.folds import build_folds
from fmnet.data.listing import Labels
from fmnet.errors import ConfigError, RunError
from fmnet.export.export import export_run
from fmnet.inference.bundle_files import CHECKSUMS
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.closed_form import build_scale_space
from fmnet.runs.checkpoints import FoldCheckpoints
from fmnet.runs.lock import MARKER
from fmnet.runs.run_folder import UNKNOWN, check_run_files
from fmnet.studies import study as study_module
from fmnet.studies.study import run_study
from fmnet.synthetic.maps import read_synthetic
from fmnet.training.loggers import build_mlflow_logger
from fmnet.training.trainer import CPU_TRAINER

#: Names that are formulas to matplotlib and tags to a browser.
GROUPS = ("FM$_x", "<script>alert(1)</script>")


def light_settings(root, run_dir, **changes) -> dict:
    listing = read_synthetic(
        root / "cohorts", n_subjects=16, contrasts=["pressure"], effect_size=5.0, voxel_size_mm=12
    )
    names = dict(zip(("FM", "HC"), GROUPS, strict=True))
    scans = tuple(replace(scan, label=names[scan.label]) for scan in listing.scans)
    settings = {
        "cohort": replace(listing, scans=scans, labels=Labels("group", *GROUPS)),
        "preparation": PreparationSettings(voxel_size_mm=12, fwhm_mm=0.0),
        "folds": partial(build_folds, n_splits=2, n_repeats=1, inner_splits=2, seed=0),
        "network": partial(build_scale_space, voxel_size_mm=12, paths=["focal"]),
        "trainer": partial(CPU_TRAINER, max_epochs=0),
        "baselines": {"linear_svm": LinearSvm(fwhm_mm=(0.0,), c=(1.0,))},
        "permutation": PermutationPlan(2),
    }
    return study_settings(root, run_dir, **settings | changes)


@pytest.fixture(scope="module")
def light(study_root):
    """A finished run, and the parts that it had before it had results."""
    run_dir, parts = study_root / "light", study_root / "light-parts"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FoldCheckpoints, "remove", lambda own: shutil.copytree(own.folder, parts))
        lines = run_study(**light_settings(study_root, run_dir))
    shutil.rmtree(run_dir / "parts")
    return SimpleNamespace(run_dir=run_dir, parts=parts, lines=lines)


@pytest.fixture
def copy(light, tmp_path):
    return shutil.copytree(light.run_dir, tmp_path / "copy")


def unfinish(run_dir):
    """Leave a run as if it had been killed before its report."""
    for name in ("metrics.json", "report.html"):
        (run_dir / name).unlink()
    return run_dir


def damaged_line(lines):
    (line,) = (line for line in lines if line.startswith("found damaged, and computed again"))
    return line


def test_groups_of_any_name_are_reported_as_they_are(light):
    page = (light.run_dir / "report.html").read_text()
    assert "FM$_x against &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_results_of_a_network_without_epochs_reach_the_tracker(light):
    table = pd.read_csv(light.run_dir / "logs" / "csv" / "study" / "metrics.csv")
    models = json.loads((light.run_dir / "metrics.json").read_text())["models"]
    assert table.loc[0, "auc/network"] == models["network"]["auc"]
    assert table.loc[0, "auc_low/linear_svm"] == models["linear_svm"]["auc_ci"][0]
    assert 0 < table.loc[0, "p/network"] <= 1


def test_tracker_that_is_not_installed_stops_a_study_before_it_starts(study_root, tmp_path):
    settings = light_settings(study_root, tmp_path / "run", logger={"mlflow": build_mlflow_logger})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fmnet.training.loggers.find_spec", lambda _: None)
        with pytest.raises(ConfigError, match="mlflow, which is not installed"):
            run_study(**settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("augmentation", [lambda images: images, list, partial(abs)])
def test_transform_of_single_images_stops_a_study_before_it_starts(
    study_root, tmp_path, augmentation
):
    settings = light_settings(study_root, tmp_path / "run", augmentation=augmentation)
    with pytest.raises(ConfigError, match=r"augmentation: found .*each scan of a batch by itself"):
        run_study(**settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["predictions.tsv", "crossvalidation.json", "manifest.json"])
def test_damaged_results_are_refused_by_name(copy, study_root, name):
    path = unfinish(copy) / name
    content = path.read_bytes()
    for damaged in (content[:-40], content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=rf"{name}: found another content than SHA256SUMS"):
            run_study(**light_settings(study_root, copy))


def test_damaged_final_models_are_fitted_again(light, copy, study_root):
    weights = unfinish(copy) / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    (copy / "model_linear" / "calibration.json").write_text("{")
    lines = run_unreported(**light_settings(study_root, copy))
    assert "model/weights.safetensors, model_linear/calibration.json" in damaged_line(lines)
    for name in ("metrics.json", "model/weights.safetensors", "model_linear/calibration.json"):
        assert (copy / name).read_bytes() == (light.run_dir / name).read_bytes()


@pytest.mark.parametrize("name", ["model/weights.safetensors", "predictions.tsv", "cohort.tsv"])
def test_damaged_run_is_not_exported(copy, tmp_path, name):
    path = copy / name
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(RunError, match=rf"{name}: found another content than SHA256SUMS lists"):
        export_run(str(copy), str(tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(RunError, match=r"nosuch: found no such folder; .*correct run_dir"):
        export_run(str(tmp_path / "nosuch"), str(tmp_path / "bundle"))


def test_damaged_parts_and_permutations_are_computed_again(light, study_root, tmp_path):
    """Of a run that was stopped before it had results."""
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    shutil.copy(light.run_dir / MARKER, stopped)
    shutil.copytree(light.parts, stopped / "parts")
    shutil.copytree(light.run_dir / "permutations", stopped / "permutations")
    (part,) = (stopped / "parts").glob("*/repeat-0_fold-1.json")
    part.write_text(part.read_text().replace('"score": ', '"score": 1', 1))
    (draw,) = (stopped / "permutations").rglob("00001.json")
    draw.write_text(draw.read_text()[:40])
    lines = run_study(**light_settings(study_root, stopped))
    assert any(line.startswith("1 of 2 folds were done before") for line in lines)
    assert any(line.startswith("1 of 2 permutations were done before") for line in lines)
    assert "repeat-0_fold-1.json" in damaged_line(lines)
    assert "00001.json" in damaged_line(lines)
    for name in ("metrics.json", "predictions.tsv"):
        assert (stopped / name).read_bytes() == (light.run_dir / name).read_bytes()


def test_older_run_without_hashes_is_gone_on_with_and_that_is_said(copy, study_root):
    (unfinish(copy) / CHECKSUMS).unlink()
    lines = run_unreported(**light_settings(study_root, copy))
    assert UNKNOWN in lines
    assert check_run_files(copy) == ""


def test_page_that_fails_costs_no_results(copy, light, study_root, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("in a sentence")

    monkeypatch.setattr("fmnet.studies.groups.StudyOfGroups.write_report", staticmethod(fail))
    with pytest.raises(RunError, match=r"report\.html: found .*in a sentence.*resume=true"):
        run_study(**light_settings(study_root, unfinish(copy)))
    assert (copy / "metrics.json").read_bytes() == (light.run_dir / "metrics.json").read_bytes()


def test_run_that_is_replaced_while_the_new_one_fails_is_whole(copy, study_root, monkeypatch):
    before = {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    monkeypatch.setattr(study_module, "write_record", fail_to_write)
    with pytest.raises(OSError, match="disk full"):
        run_study(**light_settings(study_root, copy, overwrite=True))
    assert {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()} == before
    assert (copy / MARKER).exists()
    check_run_files(copy)


def fail_to_write(*_):
    raise OSError(28, "disk full")
