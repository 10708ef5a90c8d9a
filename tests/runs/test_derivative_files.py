import hashlib
import json
from dataclasses import replace

import pytest
from bids_validator import bids_errors
from cohort_fixtures import list_cohort

from fmnet.data.scans import StoredScan
from fmnet.runs.derivative_files import ABOUT, derivative_files
from fmnet.runs.run_folder import FILES, FOLDERS, check_run_files, write_run_files

RECORD = {"versions": {"fmnet": "0.3.1"}, "code_sha256": "c0de"}


@pytest.fixture
def cohort(grid, tmp_path):
    """Three people with maps in a data set, two with maps elsewhere."""
    root = tmp_path / "maps"
    root.mkdir()
    (root / "dataset_description.json").write_text(json.dumps({"DatasetDOI": "doi:10.1/x"}))
    places = [root, root, root, tmp_path / "spm" / "a", tmp_path / "spm" / "b"]
    found = list_cohort([0, 1, 0, 1, 1], grid, age=list("12345"))
    scans = tuple(
        replace(scan, files=(place / f"{scan.scan_id}.nii.gz",))
        for scan, place in zip(found.scans, places, strict=True)
    )
    stored = tuple(StoredScan(None, (f"hash {n}",), (), ("grid",)) for n in (2, 0, 1, 4, 3))
    return replace(found, scans=scans, stored=stored)


def test_sources_are_named_with_a_hash_of_what_was_used(cohort, tmp_path):
    described = json.loads(derivative_files(cohort, RECORD, tmp_path)["dataset_description.json"])
    inside, elsewhere = described["SourceDatasets"]
    assert (inside["URL"], inside["DOI"]) == ((tmp_path / "maps").as_uri(), "doi:10.1/x")
    sha256 = hashlib.sha256(b"hash 0\nhash 1\nhash 2").hexdigest()
    assert inside["Version"] == f"sha256:{sha256} of the scans used"
    assert elsewhere["URL"] == (tmp_path / "spm").as_uri()
    (made_by,) = described["GeneratedBy"]
    assert (made_by["Name"], made_by["Version"]) == ("fmnet", "0.3.1")
    assert "c0de" in made_by["Description"]
    assert described["Name"] == "fmnet study of FM against HC: Results. Research use only"


def test_made_up_people_are_said_to_be(cohort, tmp_path):
    made_up = replace(cohort, listing=replace(cohort.listing, origin="synthetic"))
    assert "people who don't exist" in derivative_files(made_up, {}, tmp_path)["README.md"]


def test_a_readme_of_people_is_kept(cohort, tmp_path):
    (tmp_path / "README.md").write_text(derivative_files(cohort, {}, tmp_path)["README.md"])
    assert "README.md" in derivative_files(cohort, {}, tmp_path)
    (tmp_path / "README.md").write_text("Our notes on this run")
    assert "README.md" not in derivative_files(cohort, {}, tmp_path)


def test_everything_a_run_may_hold_is_explained():
    explained = {name.strip("/") for names in ABOUT for name in names.split(", ")}
    assert explained == {*FILES, *FOLDERS} - {
        "dataset_description.json",
        ".bidsignore",
        "README.md",
    }


def test_validator_finds_no_error_in_a_run(cohort, tmp_path):
    """With every file and folder that a run may have, whatever is in it."""
    run = tmp_path / "run"
    for folder in FOLDERS:
        (run / folder).mkdir(parents=True)
        (run / folder / "regions_dseg.json").write_text("{}")
    for name in FILES[:-1]:  # the last are the hashes, which are written
        (run / name).write_text("participant_id\nsub-01\n")
    write_run_files(run, derivative_files(cohort, RECORD, run))
    assert bids_errors(run) == []


def test_descriptions_may_be_written_on(cohort, tmp_path):
    """Authors are for people to add; results are still as the run wrote them."""
    run = tmp_path / "run"
    run.mkdir()
    write_run_files(run, derivative_files(cohort, RECORD, run) | {"metrics.json": "{}"})
    path = run / "dataset_description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Authors": ["A. Body", "B. Ody"]}))
    assert check_run_files(run) == ""
    write_run_files(run, derivative_files(cohort, RECORD | {"code_sha256": "later"}, run))
    described = json.loads(path.read_text())
    assert described["Authors"] == ["A. Body", "B. Ody"]
    assert "later" in described["GeneratedBy"][0]["Description"]
