import hashlib
import json
import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from run_fixtures import run_unreported, study_settings
from signature_fixtures import write_small_cnn

from fmnet.crossval.further_networks import FurtherNetwork
from fmnet.errors import ConfigError, LeakError, RunError
from fmnet.inference.bundle_files import CHECKSUMS
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_prior_cnn
from fmnet.runs.lock import MARKER
from fmnet.runs.run_folder import FILES, FOLDERS
from fmnet.studies.study import run_study
from fmnet.training.trainer import CPU_TRAINER


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", keep_default_na=False)


def test_run_folder_is_complete(finished):
    made_on_demand = {
        "permutations", "sensitivity", "learning_curve", "seeds.tsv", "lockbox.tsv", "lockbox.json",
        "bold.json", "signature", "brain.png",
    }  # fmt: skip
    expected = {*FILES, *FOLDERS, MARKER} - made_on_demand
    assert {path.name for path in finished.run_dir.iterdir()} == expected
    assert finished.lines[-1] == str(finished.run_dir)
    assert "SYNTHETIC DATA" in finished.lines[0]


def test_a_log_tells_of_every_stage_in_whole_lines(finished):
    stages = ("folds: 4 of 4", "final model: ", "report: 1 of 1 page", "study: done")
    told = [re.sub(r"^[\d-]{10} [\d:]{8} ", "", line) for line in finished.log.splitlines()]
    ends = [line for line in told if " in " in line]
    assert len(ends) == len(stages)
    assert all(map(str.startswith, ends, stages))
    assert re.search(r"; study \d+%, (about .* left|time left not known yet)$", ends[0])
    assert ends[2].endswith("; study 100%")
    assert re.fullmatch(r"[^\x1b\r]+\n", finished.log, re.DOTALL)


def test_every_scan_is_scored_once_per_repeat_and_model(finished):
    table = read(finished.run_dir / "predictions.tsv")
    assert list(table) == [
        "participant_id", "scan_id", "repeat", "fold", "model", "label", "score", "probability",
    ]  # fmt: skip
    counts = table.groupby(["repeat", "model"])["scan_id"].agg(["size", "nunique"])
    assert (counts == 24).all(axis=None)
    assert set(table["model"]) == {"network", "dummy", "linear_svm"}


def test_scores_come_from_folds_that_did_not_train_on_the_subject(finished):
    folds = read(finished.run_dir / "folds.tsv")
    scored = read(finished.run_dir / "predictions.tsv").merge(
        folds, on=["repeat", "fold", "participant_id"]
    )
    assert set(scored["role"]) == {"test"}


def test_figures_can_be_computed_again_from_predictions(finished):
    metrics = json.loads((finished.run_dir / "metrics.json").read_text())
    table = read(finished.run_dir / "predictions.tsv")
    network = table[table["model"] == "network"]
    won = met = 0.0
    for _, fold in network.groupby(["repeat", "fold"]):
        gap = np.subtract.outer(
            fold.loc[fold["label"] == 1, "score"].to_numpy(),
            fold.loc[fold["label"] == 0, "score"].to_numpy(),
        )
        won += (gap > 0).sum() + (gap == 0).sum() / 2
        met += gap.size
    assert metrics["models"]["network"]["auc"] == pytest.approx(won / met)
    assert metrics["models"]["dummy"]["auc"] == 0.5
    low, high = metrics["models"]["network"]["auc_ci"]
    assert low <= metrics["models"]["network"]["auc"] <= high


def test_a_large_effect_is_found_by_network_and_svm(finished):
    models = json.loads((finished.run_dir / "metrics.json").read_text())["models"]
    assert models["linear_svm"]["auc"] > 0.85
    assert models["network"]["auc"] > 0.6


def test_manifest_says_what_was_run(finished):
    manifest = json.loads((finished.run_dir / "manifest.json").read_text())
    assert manifest["versions"]["torch"] != "not installed"
    assert len(manifest["data_sha256"]) == len(manifest["code_sha256"]) == 64
    assert manifest["seed"] == 0


def test_report_is_self_contained_and_says_synthetic(finished):
    page = (finished.run_dir / "report.html").read_text()
    assert "SYNTHETIC DATA, nobody was scanned." in page
    assert "Research use only." in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert "http" not in page.replace("http-equiv", "")


def test_same_seed_gives_identical_predictions(finished, study_root):
    again = study_root / "again"
    run_unreported(**study_settings(study_root, again))
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


def test_people_whom_the_network_was_pretrained_on_are_refused_before_training(
    study_root, tmp_path, monkeypatch
):
    settings = study_settings(study_root, tmp_path / "run")
    one = settings["cohort"].scans[3].files[0]
    known = hashlib.sha256(one.read_bytes()).hexdigest()
    file = tmp_path / "own.safetensors"
    write_small_cnn(file, record={"people_sha256": [known]})
    network = partial(build_prior_cnn, voxel_size_mm=8, weights=str(file))
    monkeypatch.setattr("fmnet.studies.study.check_leaks", None)
    settings["trainer"] = CPU_TRAINER
    said = r"network\.weights: found weights that were pretrained on 1 of this study's files"
    with pytest.raises(LeakError, match=said):
        run_study(**settings | {"network": network})
    further = {"known": FurtherNetwork(network)}
    with pytest.raises(LeakError, match=said):
        run_study(**settings | {"models": further, "trainer": partial(CPU_TRAINER, max_epochs=1)})


@pytest.fixture
def unfinished(finished, tmp_path):
    """The same run as if it had been killed before its report."""
    copy = shutil.copytree(finished.run_dir, tmp_path / "copy")
    for name in ("metrics.json", "report.html"):
        (copy / name).unlink()
    return copy


def test_same_command_goes_on_with_an_unfinished_run(finished, unfinished, study_root):
    shutil.rmtree(unfinished / "model")
    run_unreported(**study_settings(study_root, unfinished))
    for name in ("predictions.tsv", "metrics.json", "model/weights.safetensors"):
        assert (unfinished / name).read_bytes() == (finished.run_dir / name).read_bytes()


def test_final_model_that_a_run_lacks_is_made_up_for(finished, study_root, tmp_path):
    """As a run does that was finished before there were linear models in it."""
    copy = shutil.copytree(finished.run_dir, tmp_path / "copy")
    shutil.rmtree(copy / "model_linear")
    network = (copy / "model" / "weights.safetensors").stat().st_mtime_ns
    run_unreported(**study_settings(study_root, copy, resume=True))
    for path in (finished.run_dir / "model_linear").iterdir():
        assert (copy / "model_linear" / path.name).read_bytes() == path.read_bytes()
    assert (copy / "model" / "weights.safetensors").stat().st_mtime_ns == network


def test_both_final_models_of_a_control_are_marked(study_root, tmp_path):
    config = "shuffle_labels: true\n"
    settings = study_settings(study_root, tmp_path / "run", config_yaml=config, shuffle_labels=True)
    run_unreported(**settings)
    for name in ("model", "model_linear"):
        record = json.loads((tmp_path / "run" / name / "training.json").read_text())
        assert record["control"].startswith("NEGATIVE CONTROL: labels were shuffled")


def test_verdict_says_what_is_exported(finished):
    metrics = json.loads((finished.run_dir / "metrics.json").read_text())
    said = "By default export takes the linear SVM: its out-of-fold AUC, "
    page = (finished.run_dir / "report.html").read_text()
    assert said in metrics["verdict"]
    assert said in page
    is_grave = any(one["severity"] == "red" for one in metrics["findings"])
    assert ('<p class="verdict red">' in page) is is_grave
    assert ('<p class="verdict">' in page) is not is_grave


def test_scores_of_other_labels_are_not_gone_on_with(unfinished, study_root):
    settings = study_settings(study_root, unfinished)
    one, *others = settings["cohort"].scans
    swapped = replace(one, label="HC" if one.label == "FM" else "FM")
    settings["cohort"] = replace(settings["cohort"], scans=(swapped, *others))
    with pytest.raises(RunError, match="scores that come from other maps or labels and folds"):
        run_study(**settings)


def test_half_a_table_of_scores_is_not_gone_on_with(unfinished, study_root):
    (unfinished / CHECKSUMS).unlink()  # as in runs of before hashes were kept
    path = unfinished / "predictions.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-20]))
    with pytest.raises(RunError, match="28 scores of linear_svm; accepted: 48 scores of each"):
        run_study(**study_settings(study_root, unfinished))


def test_grid_too_small_for_the_network_costs_no_earlier_run(finished, study_root, tmp_path):
    copy = shutil.copytree(finished.run_dir, tmp_path / "copy")
    settings = study_settings(study_root, copy, overwrite=True)
    settings["network"] = partial(build_small_cnn, channels=[2] * 9)
    with pytest.raises(ConfigError, match="too small for this network"):
        run_study(**settings)
    assert (copy / "predictions.tsv").exists()


def test_labels_within_people_are_studied(study_root, tmp_path):
    """Each person has a scan of either class; there is nothing to balance or to power."""
    settings = study_settings(study_root, tmp_path / "run")
    listing = settings["cohort"]
    people = [f"sub-{k // 2:02}" for k in range(len(listing.scans))]
    labels = ["FM", "HC"] * (len(people) // 2)
    scans = tuple(
        replace(scan, participant_id=person, label=label)
        for scan, person, label in zip(listing.scans, people, labels, strict=True)
    )
    table = pd.DataFrame({"participant_id": sorted(set(people))})
    settings["cohort"] = replace(listing, scans=scans, participants=table)
    run_study(**settings)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["n_subjects"] == 12
    (line,) = metrics["power"]["lines"]
    assert line == "Not worked out: there are people with scans of both groups."
    assert metrics["audit"]["passed_over"]
