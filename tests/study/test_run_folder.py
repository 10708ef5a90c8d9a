import pytest

from fmnet.errors import RunError
from fmnet.study.run_folder import check_run_folder, create_run_folder, is_writer, versions


def test_empty_folder_is_taken(tmp_path):
    check_run_folder(tmp_path / "deep" / "run", overwrite=False)
    assert not (tmp_path / "deep").exists()
    create_run_folder(tmp_path / "deep" / "run")
    assert (tmp_path / "deep" / "run").is_dir()


def test_results_are_kept_unless_told_otherwise(tmp_path):
    (tmp_path / "predictions.tsv").write_text("")
    with pytest.raises(RunError, match="set overwrite=true"):
        check_run_folder(tmp_path, overwrite=False)
    (tmp_path / "notes.txt").write_text("mine")
    check_run_folder(tmp_path, overwrite=True)
    assert (tmp_path / "predictions.tsv").exists(), "nothing is lost before the new run begins"
    create_run_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file', which can't be written into; accepted: a folder"):
        check_run_folder(tmp_path / "file" / "run", overwrite=False)
    with pytest.raises(RunError, match="choose another run_dir"):
        create_run_folder(tmp_path / "file" / "run")


@pytest.mark.parametrize(("rank", "writes"), [("0", True), ("1", False)])
def test_one_process_of_a_distributed_run_writes(monkeypatch, rank, writes):
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert is_writer() is writes


def test_versions_name_what_results_depend_on():
    assert {"fmnet", "torch", "monai", "nilearn"} <= set(versions())
    assert "not installed" not in versions().values()
