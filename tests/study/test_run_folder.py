import pytest

from fmnet.study.run_folder import read_json, versions, write_json


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
