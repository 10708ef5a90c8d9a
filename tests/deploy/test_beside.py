import json
import shutil

import pytest
from bold_bundle_fixtures import SPACE

from fmnet.deploy.beside import describe_run


@pytest.fixture
def run(write_new_run, tmp_path):
    """A run whose events and sidecar lie in a raw data set that is not around it."""
    image = write_new_run(tmp_path / "derivatives", task="pain")
    raw = tmp_path / "elsewhere" / "sub-01" / "func"
    raw.mkdir(parents=True)
    (raw / "sub-01_task-pain_events.tsv").write_text("onset\tduration\n1\t2\n")
    (raw / "sub-01_task-pain_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    image.with_name(image.name.replace(".nii.gz", ".json")).unlink()
    return image


def test_files_of_a_raw_data_set_elsewhere_are_found_where_it_is_named(run, tmp_path):
    alone = describe_run(run, SPACE)
    assert (alone.events, alone.bold.t_r) == (None, None)
    named = describe_run(run, SPACE, raw=tmp_path / "elsewhere")
    assert named.events.name == "sub-01_task-pain_events.tsv"
    assert named.bold.t_r == 2.0
    assert named.confounds == alone.confounds is not None


def test_raw_data_set_around_the_derivatives_is_found(run, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(tmp_path / "elsewhere", raw)
    (raw / "dataset_description.json").write_text('{"DatasetType": "raw"}')
    shutil.move(tmp_path / "derivatives", raw / "derivatives")
    image = next((raw / "derivatives").rglob("*_bold.nii.gz"))
    assert describe_run(image, SPACE).events.is_relative_to(raw / "sub-01")
