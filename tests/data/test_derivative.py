import json

import pytest

from fmnet.data.derivative import describe_derivative, describe_source, ignore_lines, source_of


@pytest.fixture
def study(tmp_path):
    """A raw data set, a derivative within it, and files that lie in neither."""
    raw, glm = tmp_path / "raw", tmp_path / "raw" / "derivatives" / "glm"
    (glm / "sub-01" / "func").mkdir(parents=True)
    (tmp_path / "spm" / "one" / "stats").mkdir(parents=True)
    (tmp_path / "spm" / "two").mkdir()
    (raw / "dataset_description.json").write_text(json.dumps({"DatasetDOI": "doi:10.1/x"}))
    (glm / "dataset_description.json").write_text("{")
    return tmp_path


def test_files_are_of_the_nearest_data_set_or_of_the_folder_above_them(study):
    files = [
        study / "raw" / "derivatives" / "glm" / "sub-01" / "func" / "a.nii.gz",
        study / "raw" / "sub-01" / "b.nii.gz",
        study / "spm" / "one" / "stats" / "con_0001.nii",
        study / "spm" / "two" / "con_0001.nii",
    ]
    assert source_of(files) == {
        study / "raw" / "derivatives" / "glm": files[:1],
        study / "raw": files[1:2],
        study / "spm": files[2:],
    }


def test_source_has_its_address_and_what_it_states(study):
    raw = study / "raw"
    assert describe_source(raw) == {"URL": raw.as_uri(), "DOI": "doi:10.1/x"}
    glm = raw / "derivatives" / "glm"  # its description can't be read
    assert describe_source(glm, "3") == {"URL": glm.as_uri(), "Version": "3"}


def test_description_is_of_a_derivative():
    described = describe_derivative("mine", {"Name": "fmnet"}, [{"URL": "file:///a"}])
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"] == [{"Name": "fmnet"}]
    assert described["SourceDatasets"] == [{"URL": "file:///a"}]


def test_ignored_names_are_lines_after_a_comment():
    assert ignore_lines("Why.", ["a.tsv", "model"]) == "# Why.\na.tsv\nmodel\n"
