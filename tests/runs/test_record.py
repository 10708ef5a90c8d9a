import json

import pytest

from fmnet.errors import RunError
from fmnet.runs.record import (
    SCORED,
    changed_settings,
    read_further_trainings,
    read_predictions,
    versions,
)
from fmnet.runs.run_folder import read_json, write_json


def test_file_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_json({"auc": 0.5}, path)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_json({"auc": 0.9}, path)
    assert read_json(path) == {"auc": 0.5}


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"auc": float("nan")}, tmp_path / "metrics.json")
    assert not list(tmp_path.iterdir())


def test_versions_name_what_results_depend_on():
    assert {"fmnet", "torch", "monai", "nilearn"} <= set(versions())
    assert "not installed" not in versions().values()


@pytest.mark.parametrize(
    ("models", "read"),
    [("cnn linear_svm", "network linear_svm"), ("network cnn", "network cnn"), ("svm", "svm")],
)
def test_network_of_an_earlier_table_has_its_name_of_now(tmp_path, models, read):
    path = tmp_path / "predictions.tsv"
    rows = [f"01\t01\t0\t0\t{name}\t1\t0.5\t0.6" for name in models.split()]
    path.write_text("\n".join(["\t".join(SCORED), *rows]) + "\n")
    assert read_predictions(path)["model"].tolist() == read.split()


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 9999, b"\xff\xfe\0", b"a\tb\n1\t2\n"])
@pytest.mark.parametrize("has_head", [True, False])
def test_damaged_table_of_scores_is_refused(tmp_path, content, has_head):
    path = tmp_path / "predictions.tsv"
    path.write_bytes("\t".join(SCORED).encode() + b"\n01\t01\t0\t0\tnetwork\t" + content)
    if not has_head:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"predictions\.tsv: found a damaged table"):
        read_predictions(path)


def test_further_trainings_of_an_earlier_run_name_the_network_as_now(tmp_path):
    metrics = {
        "models": {"cnn": {}},
        "permutation": {"n": 1, "models": {"cnn": {"p": 0.5}}},
        "learning_curve": {"points": [{"model": "cnn", "auc": 0.7}], "curves": {"cnn": {}}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert read_further_trainings(tmp_path) == {
        "permutation": {"n": 1, "models": {"network": {"p": 0.5}}},
        "learning_curve": {"points": [{"model": "network", "auc": 0.7}], "curves": {"network": {}}},
    }


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ("{devices: 2, accelerator: gpu, max_epochs: 5}", []),
        ("{devices: 1, max_epochs: 6}", ["trainer"]),
        ("{devices: 1, max_epochs: 5, gradient_clip_val: 1.0}", ["trainer"]),
    ],
)
def test_only_where_and_how_fast_a_trainer_works_may_change(tmp_path, now, changed):
    (tmp_path / "config.yaml").write_text("trainer: {devices: 1, max_epochs: 5}\nseed: 0\n")
    assert changed_settings(tmp_path, f"trainer: {now}\nseed: 0\n") == changed
