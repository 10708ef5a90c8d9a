"""`fmnet.load(...).predict(...)` on every form in which somebody holds images."""

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import fmnet
from fmnet.errors import BundleError, ConfigError, InputError
from fmnet.inference.predict import NewScan, predict_scan, predictions_table
from fmnet.synthetic.maps import write_cohort

BUNDLE = Path(__file__).resolve().parents[2] / "checkpoints" / "synthetic"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Three people whom the shipped signature can score, as a BIDS folder."""
    root = tmp_path_factory.mktemp("people")
    return write_cohort(root / "people", n_subjects=4, effect_size=2.5, seed=2)


@pytest.fixture(scope="module")
def maps(people):
    return [str(path) for path in sorted(people.rglob("func/*_statmap.nii.gz"))[:3]]


@pytest.fixture(scope="module")
def signature():
    return fmnet.load(BUNDLE)


@pytest.fixture(scope="module")
def scored(signature, maps):
    return signature.predict(maps)


def test_says_what_the_command_says(signature, maps, scored):
    expected = [predict_scan(signature._bundle, NewScan(path, (Path(path),))) for path in maps]
    table = predictions_table(expected)
    assert list(scored) == list(table)
    assert list(scored["scan"]) == maps
    assert scored["score"].to_list() == pytest.approx(table["score"].to_list())
    assert list(scored["set"]) == list(table["set"])
    assert scored["in_training"].dtype == "boolean"
    assert not scored["in_training"].any()


def test_takes_images_in_memory_and_leaves_them_alone(signature, maps, scored):
    images = [nib.load(path) for path in maps]
    own = [nib.Nifti1Image(one.get_fdata(dtype=np.float32), one.affine) for one in images]
    found = signature.predict(own)
    assert found["score"].to_list() == pytest.approx(scored["score"].to_list(), abs=1e-5)
    assert list(found["scan"]) == ["image 1", "image 2", "image 3"]
    assert all(one.get_filename() is None for one in own)
    assert signature.predict(images)["scan"].to_list() == maps


def test_takes_each_volume_of_four_dimensions_for_a_map(signature, maps, scored):
    joined = nib.concat_images([nib.load(path) for path in maps])
    found = signature.predict(joined)
    assert found["score"].to_list() == pytest.approx(scored["score"].to_list(), abs=1e-5)


def test_takes_a_table_in_memory(signature, maps, scored):
    table = pd.DataFrame({"participant_id": ["b", "a", "c"], "path": maps})
    found = signature.predict(table).set_index("scan")
    assert found.loc["b", "score"] == pytest.approx(scored["score"][0])
    assert found.loc["a", "score"] == pytest.approx(scored["score"][1])
    assert list(found.index) == ["b", "a", "c"]  # one may put the scores beside the table


def test_names_the_person_of_a_table_and_not_its_copy(signature, maps):
    table = pd.DataFrame({"participant_id": ["b", None, "a"], "path": maps})
    (row,) = signature.predict(table).to_dict("records")
    assert row["scan"] == "images.tsv"
    assert "participant_id in line 3" in row["reason"]
    table = pd.DataFrame({"participant_id": ["b", "a", "c"], "path": [maps[0], "no.nii", maps[2]]})
    found = signature.predict(table)
    assert list(found["scan"]) == ["b", "a", "c"]
    assert list(found["status"]) == ["ok", "error", "ok"]


def test_takes_a_folder_and_a_single_path(signature, people, maps, scored):
    found = signature.predict(people)
    assert len(found) == 4
    assert found["score"][0] == pytest.approx(scored["score"][0])
    assert signature.predict(maps[0])["score"][0] == pytest.approx(scored["score"][0])


def test_one_scan_of_no_use_costs_no_other(signature, maps):
    found = signature.predict([maps[0], "nowhere.nii.gz"])
    assert list(found["status"]) == ["ok", "error"]
    assert "no such file" in found["reason"][1]
    assert np.isnan(found["score"][1])


def test_names_no_temporary_file(signature):
    small = nib.Nifti1Image(np.ones((7, 8, 9), np.float32), np.diag([8.0, 8, 8, 1]))
    (reason,) = signature.predict(small)["reason"]
    assert "fmnet-" not in reason
    assert signature.predict([small, small]).shape[0] == 2


def test_passes_on_what_is_asked(signature, maps, scored):
    rare = signature.predict(maps, prevalence=0.05)
    assert (rare["probability"] < scored["probability"]).all()
    with pytest.raises(ConfigError, match="number between 0 and 1"):
        signature.predict(maps, level=80)
    turned = nib.load(maps[0])
    turned = nib.Nifti1Image(turned.get_fdata()[:, :, ::-1], turned.affine)
    assert list(signature.predict(turned)["status"]) == ["cannot_say"]
    assert list(signature.predict(turned, force=True)["status"]) == ["forced"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (np.zeros((2, 3)), "ndarray as image 1"),
        (3.0, "float"),
        ([], "no image"),
        (pd.DataFrame({"path": ["a.nii"]}), "without participant_id"),
    ],
)
def test_refuses_what_is_no_image(signature, given, found):
    with pytest.raises(InputError, match=found):
        signature.predict(given)


def test_takes_maps_of_several_contrasts_in_any_order(finished):
    signature = fmnet.load(finished.bundle_dir)
    files = [scan.files for scan in finished.listing.scans[:2]]
    found = signature.predict([files[0], files[1][::-1]])
    expected = [
        predict_scan(signature._bundle, NewScan(scan.scan_id, scan.files)).score
        for scan in finished.listing.scans[:2]
    ]
    assert found["score"].to_list() == pytest.approx(expected)
    assert found["scan"][0] == ",".join(map(str, files[0]))


def test_joins_the_runs_of_a_session(series_export, bold_tree):
    signature = fmnet.load(series_export.bundle.folder)
    image = next(bold_tree.rglob("*_bold.nii.gz"))
    table = pd.DataFrame({"participant_id": ["sub-01"], "path": [image]})
    assert signature.predict(table)["scan"].to_list() == ["sub-01"]
    assert signature.predict([image])["score"][0] == pytest.approx(
        signature.predict(table)["score"][0]
    )


def test_shows_where_and_what_it_weighs(signature):
    weights = signature.weights_img_
    grid = signature._bundle.preparation.grid
    assert weights.shape == grid.shape
    assert not weights.get_fdata()[~grid.mask].any()
    assert weights.get_fdata().any()
    assert signature.contrasts == ("pressure",)
    assert "evidence" in signature.about


def test_says_what_it_is_for(signature):
    assert "SYNTHETIC" in repr(signature)
    assert "not a diagnosis" in signature._repr_html_()


def test_refuses_an_altered_bundle(tmp_path):
    folder = shutil.copytree(BUNDLE, tmp_path / "altered")
    (folder / "calibration.json").write_text("{}")
    with pytest.raises(BundleError, match="calibration"):
        fmnet.load(folder)


def test_imports_nothing_that_it_does_not_need(maps):
    """No numpy for `import fmnet`; none of torch and its kind for a prediction."""
    program = f"""
import sys
import fmnet
assert "numpy" not in sys.modules, "import fmnet"
assert {{"load", "study", "SignatureClassifier"}} <= set(dir(fmnet))
table = fmnet.load({str(BUNDLE)!r}).predict({maps[:1]!r})
assert list(table["status"]) == ["ok"], table
slow = {{"torch", "monai", "pytorch_lightning", "hydra", "nilearn", "sklearn", "matplotlib"}}
print(sorted(slow & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
