import pytest

from fmnet.errors import RunError
from fmnet.study.run_folder import create_run_folder, is_writer, versions


def test_empty_folder_is_taken(tmp_path):
    create_run_folder(tmp_path / "deep" / "run", overwrite=False)
    assert (tmp_path / "deep" / "run").is_dir()


def test_results_are_kept_unless_told_otherwise(tmp_path):
    (tmp_path / "predictions.tsv").write_text("")
    with pytest.raises(RunError, match="set overwrite=true"):
        create_run_folder(tmp_path, overwrite=False)
    (tmp_path / "notes.txt").write_text("mine")
    create_run_folder(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("rank", "writes"), [("0", True), ("1", False)])
def test_one_process_of_a_distributed_run_writes(monkeypatch, rank, writes):
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert is_writer() is writes


def test_versions_name_what_results_depend_on():
    assert {"fmnet", "torch", "monai", "nilearn"} <= set(versions())
    assert "not installed" not in versions().values()
