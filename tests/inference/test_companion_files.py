import json
import shutil
from pathlib import Path

import pytest
from bold_bundle_fixtures import SPACE

from fmnet.errors import VolumeError
from fmnet.inference.bold import Stated, describe_run


@pytest.fixture
def image(write_new_run, tmp_path):
    return write_new_run(tmp_path / "raw" / "derivatives" / "fmriprep", session="a", run="2")


def test_files_are_found_by_name(image):
    run = describe_run(image, "MNI152")
    start = "sub-01_ses-a_task-rest_run-2"
    assert run.bold.run_id == start
    assert (run.bold.participant_id, run.task, run.session, run.run) == ("sub-01", "rest", "a", "2")
    assert run.bold.space == "MNI152"
    assert run.bold.t_r == 2.0
    assert run.bold.mask == image.with_name(f"{start}_space-{SPACE}_desc-brain_mask.nii.gz")
    assert run.confounds == image.with_name(f"{start}_desc-confounds_timeseries.tsv")
    assert run.events is None


def test_what_is_stated_overrules_what_is_found(image):
    stated = Stated(Path("mask.nii"), Path("own.tsv"), Path("events.tsv"), 1.5)
    run = describe_run(image, SPACE, stated)
    assert (run.bold.mask, run.confounds, run.events) == (
        stated.mask,
        stated.confounds,
        stated.events,
    )
    assert (run.bold.t_r, run.bold.is_t_r_certain) == (1.5, True)


def test_what_a_sidecar_states_has_to_agree_with_the_header(image):
    assert not describe_run(image, SPACE).bold.is_t_r_certain


@pytest.mark.parametrize("value", ['"0.5"', "NaN", "true", "1e9"])
def test_start_time_that_is_no_time_is_refused(image, value):
    path = image.with_name(image.name.replace(".nii.gz", ".json"))
    path.write_text(f'{{"RepetitionTime": 2, "StartTime": {value}}}')
    with pytest.raises(VolumeError, match=r"desc-preproc_bold\.json: found StartTime .*a number"):
        describe_run(image, SPACE)


def test_stated_repetition_time_cures_a_damaged_sidecar(image):
    image.with_name(image.name.replace(".nii.gz", ".json")).write_text("{")
    with pytest.raises(VolumeError, match=r"desc-preproc_bold\.json: found a sidecar that can't"):
        describe_run(image, SPACE)
    assert describe_run(image, SPACE, Stated(t_r=2.0)).bold.t_r == 2.0


def test_sidecar_without_repetition_time_is_refused(image):
    image.with_name(image.name.replace(".nii.gz", ".json")).write_text("{}")
    with pytest.raises(VolumeError, match=r"no RepetitionTime; .* or state it with --t-r"):
        describe_run(image, SPACE)


def test_events_of_the_raw_data_set_are_found(image, tmp_path):
    raw = tmp_path / "raw"
    (raw / "dataset_description.json").write_text(json.dumps({"Name": "raw"}))
    folder = raw / "sub-01" / "ses-a" / "func"
    folder.mkdir(parents=True)
    events = folder / "sub-01_ses-a_task-rest_run-2_events.tsv"
    events.write_text("onset\tduration\ttrial_type\n0\t1\tpain\n")
    assert describe_run(image, SPACE).events == events


def test_files_may_lie_outside_any_data_set(image, tmp_path):
    flat = tmp_path / "flat"
    shutil.copytree(image.parent, flat)
    run = describe_run(flat / image.name, SPACE)
    assert run.confounds.parent == run.bold.mask.parent == flat
    assert run.bold.t_r == 2.0


def test_image_of_another_name_stands_alone(tmp_path):
    (tmp_path / "rest_bold.json").write_text('{"RepetitionTime": 3.0}')
    run = describe_run(tmp_path / "rest_bold.nii.gz", SPACE, Stated(confounds=Path("a.tsv")))
    assert run.bold.run_id == run.bold.participant_id == "rest_bold"
    assert (run.bold.mask, run.bold.t_r, run.confounds) == (None, None, Path("a.tsv"))


@pytest.fixture
def run_of_pain(write_new_run, tmp_path):
    """A run whose events and sidecar lie in a raw data set that is not around it."""
    image = write_new_run(tmp_path / "derivatives", task="pain")
    raw = tmp_path / "elsewhere" / "sub-01" / "func"
    raw.mkdir(parents=True)
    (raw / "sub-01_task-pain_events.tsv").write_text("onset\tduration\n1\t2\n")
    (raw / "sub-01_task-pain_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    image.with_name(image.name.replace(".nii.gz", ".json")).unlink()
    return image


def test_files_of_a_raw_data_set_elsewhere_are_found_where_it_is_named(run_of_pain, tmp_path):
    alone = describe_run(run_of_pain, SPACE)
    assert (alone.events, alone.bold.t_r) == (None, None)
    named = describe_run(run_of_pain, SPACE, raw=tmp_path / "elsewhere")
    assert named.events.name == "sub-01_task-pain_events.tsv"
    assert named.bold.t_r == 2.0
    assert named.confounds == alone.confounds is not None


def test_raw_data_set_around_the_derivatives_is_found(run_of_pain, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(tmp_path / "elsewhere", raw)
    (raw / "dataset_description.json").write_text('{"DatasetType": "raw"}')
    shutil.move(tmp_path / "derivatives", raw / "derivatives")
    image = next((raw / "derivatives").rglob("*_bold.nii.gz"))
    assert describe_run(image, SPACE).events.is_relative_to(raw / "sub-01")
