import os
import shutil

import pytest
from bold_bundle_fixtures import SPACE

from fmnet.inference.bold import predict_run
from fmnet.inference.find import find_new_runs


@pytest.fixture
def bundle(series_export):
    return series_export.bundle


def only_error(found):
    scans, (error,) = found
    assert not scans
    assert error.status == "error"
    return error.reason


def test_every_person_of_a_tree_is_found_and_scored(bundle, bold_tree):
    scans, errors = find_new_runs(str(bold_tree), bundle)
    assert [scan.name for scan in scans] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert not errors
    assert predict_run(bundle, scans[2]).status == "ok"


def test_file_is_scored_as_in_its_tree(bundle, bold_tree):
    image = next(bold_tree.rglob("sub-03*_bold.nii.gz"))
    (alone,), _ = find_new_runs(str(image), bundle)
    scans, _ = find_new_runs(str(bold_tree), bundle)
    assert alone.runs == scans[2].runs


def test_runs_of_a_session_are_one_scan(bundle, write_new_run, tmp_path):
    for session, run in (("a", "1"), ("a", "2"), ("b", "1")):
        write_new_run(tmp_path, session=session, run=run)
    write_new_run(tmp_path, person="sub-02", session="b")
    scans, errors = find_new_runs(str(tmp_path), bundle)
    assert {scan.name: len(scan.runs) for scan in scans} == {
        "sub-01_ses-a": 2,
        "sub-01_ses-b": 1,
        "sub-02_ses-b": 1,
    }
    assert [run.run for run in scans[0].runs] == ["1", "2"]
    assert not errors


def test_only_runs_of_the_signature_s_task_and_space_are_read(bundle, write_new_run, tmp_path):
    write_new_run(tmp_path)
    write_new_run(tmp_path, task="pain")
    write_new_run(tmp_path, space="MNI152NLin6Asym")
    (scan,), errors = find_new_runs(str(tmp_path), bundle)
    assert [(run.task, run.bold.space) for run in scan.runs] == [("rest", SPACE)]
    assert not errors


def test_people_that_can_not_be_scored_are_rows(bundle, bold_tree, tmp_path):
    tree = shutil.copytree(bold_tree, tmp_path / "tree")
    next(tree.rglob("sub-01*confounds*")).unlink()
    shutil.rmtree(tree / "sub-02" / "func")
    scans, errors = find_new_runs(str(tree), bundle)
    assert [scan.name for scan in scans] == ["sub-03", "sub-04"]
    reasons = " ".join(error.reason for error in errors)
    assert "no confounds beside the image" in reasons
    assert "sub-02: found no run of task 'rest'" in reasons
    assert "sub-02" in {error.scan for error in errors}


def test_files_joined_by_commas_are_one_scan(bundle, write_new_run, tmp_path):
    runs = [write_new_run(tmp_path, run=str(number)) for number in (2, 1)]
    (scan,), _ = find_new_runs(",".join(map(str, runs)), bundle)
    assert [run.bold.path for run in scan.runs] == runs
    assert "an empty name between commas" in only_error(find_new_runs(f"{runs[0]},", bundle))


def test_space_can_be_stated(bundle, write_new_run, tmp_path):
    image = str(write_new_run(tmp_path, space="MNI152NLin6Asym"))
    (scan,), _ = find_new_runs(image, bundle)
    assert "found space 'MNI152NLin6Asym'" in predict_run(bundle, scan).reason
    (scan,), _ = find_new_runs(image, bundle, SPACE)
    assert predict_run(bundle, scan).status == "ok"
    assert "found space 'T1w'" in only_error(
        find_new_runs(str(write_new_run(tmp_path, space="T1w")), bundle)
    )


def test_folder_without_runs_is_an_error(bundle, tmp_path, finished):
    (tmp_path / "empty").mkdir()
    assert "no BOLD image" in only_error(find_new_runs(str(tmp_path / "empty"), bundle))
    maps = finished.listing.scans[0].files[0].parents[2]
    assert "no BOLD image" in only_error(find_new_runs(str(maps), bundle))


def test_folder_of_other_tasks_names_them(bundle, write_new_run, tmp_path):
    write_new_run(tmp_path, task="pain")
    reason = only_error(find_new_runs(str(tmp_path), bundle))
    assert "no run of task 'rest'; accepted: 'pain' (1 person)" in reason
    assert "cohort." not in reason


def test_several_resolutions_are_a_choice_of_space(bundle, write_new_run, tmp_path):
    for file in list(write_new_run(tmp_path).parent.glob(f"*space-{SPACE}_desc-*")):
        for res in ("1", "2"):
            shutil.copy(file, str(file).replace(SPACE, f"{SPACE}_res-{res}"))
        file.unlink()
    assert "--space NAME" in only_error(find_new_runs(str(tmp_path), bundle))
    (scan,), _ = find_new_runs(str(tmp_path), bundle, f"{SPACE}:res-2")
    assert "_res-2_" in scan.runs[0].bold.path.name
    assert predict_run(bundle, scan).status == "ok"


def test_folder_that_may_not_be_read_is_an_error(bundle, bold_tree, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "may not read" in only_error(find_new_runs(str(bold_tree), bundle))


def test_runs_of_every_spelling_are_found(bundle, write_new_run, tmp_path):
    image = write_new_run(tmp_path)
    image.rename(image.with_name(image.name.replace(".nii.gz", ".NII.GZ")))
    other = write_new_run(tmp_path / "elsewhere", person="sub-02").parents[1]
    (tmp_path / "sub-02").symlink_to(other)
    capital = write_new_run(tmp_path, person="sub-03").parents[1]
    for file in list(capital.rglob("sub-03*")):
        file.rename(file.with_name(file.name.replace("sub-03", "SUB-03")))
    capital.rename(tmp_path / "SUB-03")
    scans, errors = find_new_runs(str(tmp_path), bundle)
    assert [scan.name for scan in scans] == ["sub-01", "sub-02", "sub-03"]
    assert not errors
    assert all(scan.runs[0].confounds and scan.runs[0].bold.mask for scan in scans)


def test_everyone_has_one_row_and_what_there_is_instead(bundle, write_new_run, tmp_path):
    for session in ("a", "b"):
        write_new_run(tmp_path, session=session)
    write_new_run(tmp_path, person="sub-02", task="pain")
    (tmp_path / "sub-03" / "func").mkdir(parents=True)
    (tmp_path / "participants.tsv").write_text("participant_id\nsub-01\nsub-04\n")
    scans, errors = find_new_runs(str(tmp_path), bundle)
    assert [scan.name for scan in scans] == ["sub-01_ses-a", "sub-01_ses-b"]
    assert [error.scan for error in errors] == ["sub-02", "sub-03", "sub-04"]
    assert "no run of task 'rest', but sub-02_task-pain" in errors[0].reason
    assert "cohort." not in " ".join(error.reason for error in errors)


def test_images_of_one_run_are_a_choice(bundle, write_new_run, tmp_path):
    for file in list(write_new_run(tmp_path).parent.glob("*")):
        for rec in ("a", "b"):
            shutil.copy(file, str(file).replace("task-rest", f"task-rest_rec-{rec}"))
        file.unlink()
    reason = only_error(find_new_runs(str(tmp_path), bundle))
    assert "several images of one run: rec is 'a' or 'b'" in reason
    assert "--entity rec=b" in reason
    (scan,), errors = find_new_runs(str(tmp_path), bundle, entities={"rec": "b"})
    assert ("_rec-b_" in scan.runs[0].bold.path.name, errors) == (True, [])
    missing = only_error(find_new_runs(str(tmp_path), bundle, entities={"rec": "c"}))
    assert "no BOLD image with rec 'c'; accepted: a, b" in missing


def test_volume_of_a_run_and_a_name_that_leads_nowhere_are_errors(bundle, write_new_run, tmp_path):
    image = write_new_run(tmp_path)
    assert "volume 1 of a file" in only_error(find_new_runs(f"{image},1", bundle))
    assert "no such file or folder" in only_error(find_new_runs("myfmriprep", bundle))
