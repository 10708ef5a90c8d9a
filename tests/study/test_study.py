import json
import shutil

import numpy as np
import pandas as pd
import pytest
from run_fixtures import study_settings

from fmnet.errors import RunError
from fmnet.study.run_folder import FILES, FOLDERS
from fmnet.study.study import run_study


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", keep_default_na=False)


def test_run_folder_is_complete(finished):
    assert {path.name for path in finished.run_dir.iterdir()} == {*FILES, *FOLDERS} - {
        "permutations",
        "sensitivity",
        "learning_curve",
        "seeds.tsv",
    }
    assert finished.lines[-1] == str(finished.run_dir)
    assert "SYNTHETIC DATA" in finished.lines[0]


def test_every_scan_is_scored_once_per_repeat_and_model(finished):
    table = read(finished.run_dir / "predictions.tsv")
    assert list(table) == [
        "participant_id", "scan_id", "repeat", "fold", "model", "label", "score", "probability",
    ]  # fmt: skip
    counts = table.groupby(["repeat", "model"])["scan_id"].agg(["size", "nunique"])
    assert (counts == 24).all(axis=None)
    assert set(table["model"]) == {"cnn", "dummy", "linear_svm"}


def test_scores_come_from_folds_that_did_not_train_on_the_subject(finished):
    folds = read(finished.run_dir / "folds.tsv")
    scored = read(finished.run_dir / "predictions.tsv").merge(
        folds, on=["repeat", "fold", "participant_id"]
    )
    assert set(scored["role"]) == {"test"}


def test_figures_can_be_computed_again_from_predictions(finished):
    metrics = json.loads((finished.run_dir / "metrics.json").read_text())
    table = read(finished.run_dir / "predictions.tsv")
    cnn = table[table["model"] == "cnn"]
    won = met = 0.0
    for _, fold in cnn.groupby(["repeat", "fold"]):
        gap = np.subtract.outer(
            fold.loc[fold["label"] == 1, "score"].to_numpy(),
            fold.loc[fold["label"] == 0, "score"].to_numpy(),
        )
        won += (gap > 0).sum() + (gap == 0).sum() / 2
        met += gap.size
    assert metrics["models"]["cnn"]["auc"] == pytest.approx(won / met)
    assert metrics["models"]["dummy"]["auc"] == 0.5
    low, high = metrics["models"]["cnn"]["auc_ci"]
    assert low <= metrics["models"]["cnn"]["auc"] <= high


def test_a_large_effect_is_found_by_network_and_svm(finished):
    models = json.loads((finished.run_dir / "metrics.json").read_text())["models"]
    assert models["linear_svm"]["auc"] > 0.85
    assert models["cnn"]["auc"] > 0.6


def test_manifest_says_what_was_run(finished):
    manifest = json.loads((finished.run_dir / "manifest.json").read_text())
    assert manifest["versions"]["torch"] != "not installed"
    assert len(manifest["data_sha256"]) == len(manifest["code_sha256"]) == 64
    assert manifest["seed"] == 0


def test_report_is_self_contained_and_says_synthetic(finished):
    page = (finished.run_dir / "report.html").read_text()
    assert "SYNTHETIC DATA, nobody was scanned." in page
    assert "Research use only." in page
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page.replace("http-equiv", "")


def test_same_seed_gives_identical_predictions(finished, study_root):
    again = study_root / "again"
    run_study(**study_settings(study_root, again))
    names = ("predictions.tsv", "folds.tsv", "metrics.json")
    for name in names:
        assert (again / name).read_bytes() == (finished.run_dir / name).read_bytes()


def test_finished_run_is_not_overwritten_unasked(finished, study_root, tmp_path):
    copy = shutil.copytree(finished.run_dir, tmp_path / "copy")
    before = (copy / "predictions.tsv").read_bytes()
    with pytest.raises(RunError, match="the results of an earlier run"):
        run_study(**study_settings(study_root, copy))
    assert (copy / "predictions.tsv").read_bytes() == before


def test_run_folder_that_cannot_be_made(study_root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose another run_dir"):
        run_study(**study_settings(study_root, tmp_path / "file" / "run"))
