import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from signature_bundle_fixtures import UNSTABLE, add_signature, planted_weights

from fmnet.data.nifti import write_volume
from fmnet.data.volume import Volume
from fmnet.errors import BundleError, ExplanationError
from fmnet.export.run_scans import read_run_scans
from fmnet.inference.bold import NewBoldScan, describe_run
from fmnet.inference.bundle import read_bundle
from fmnet.inference.bundle_files import write_hashes
from fmnet.inference.contributions import effects_of_regions
from fmnet.inference.explain import explain_scan, read_explainer
from fmnet.inference.predict import read_values
from fmnet.inference.signature_files import coordinate_boxes, world_points
from fmnet.networks.rebuild import read_network
from fmnet.signature.attribution import occlusion
from fmnet.signature.linear import linear_part


@pytest.fixture
def scan(finished):
    return read_run_scans(finished.run_dir, 1)[0]


@pytest.fixture
def explained(finished, tmp_path):
    """Give a copy of the network's bundle a signature."""
    folder = shutil.copytree(finished.bundle_dir, tmp_path / "bundle")
    grid = read_bundle(folder).preparation.grid
    return add_signature(folder, planted_weights(grid, 2))


def test_map_adds_up_to_the_linear_part(explained, scan):
    found = explain_scan(explained, scan)
    values, weights = read_values(explained, scan), read_explainer(explained).weights
    dot = float((weights.values * np.nan_to_num(values)).sum(dtype=np.float64))
    assert np.isfinite(values).all()
    assert found.total == pytest.approx(dot + 0.25, abs=1e-4)
    assert found.start + found.map.values.sum() == pytest.approx(found.total, abs=1e-4)
    above = values - explained.preparation.mean
    np.testing.assert_allclose(found.map.values, weights.values * above, atol=1e-6)
    np.testing.assert_allclose(found.regions["linear"].sum(), found.map.values.sum(), atol=1e-4)


def test_linear_model_is_explained_whole(finished, chosen, tmp_path, scan):
    folder = shutil.copytree(chosen.bundle.folder, tmp_path / "bundle")
    network, _ = read_network(finished.run_dir / "model_linear")
    part = linear_part(network, chosen.bundle.preparation)
    bundle = add_signature(folder, part.weights.astype(np.float32), part.intercept)
    found = explain_scan(bundle, scan)
    assert found.total == pytest.approx(found.prediction.score, abs=1e-4)
    at_mean = bundle.score(np.zeros((1, *bundle.preparation.input_shape), np.float32))[0]
    assert found.regions["effect"].sum() == pytest.approx(
        found.prediction.score - at_mean, abs=1e-3
    )


def test_missing_voxels_add_nothing_and_are_told(explained, scan):
    explainer = read_explainer(explained)
    values = read_values(explained, scan)
    values[0, :200] = np.nan
    prediction = explain_scan(explained, scan).prediction
    found = explainer.explain(prediction, values)
    assert not found.map.values[0, :200].any()
    assert found.map.values[1, :200].any()
    assert "% of the mask holds no data in this scan" in found.notes[0]


def test_effects_are_those_of_the_network_before_export(finished, explained, scan):
    network, _ = read_network(finished.run_dir / "model")
    grid, values = explained.preparation.grid, read_values(explained, scan)
    numbers, names = coordinate_boxes(grid, 60.0)
    found = effects_of_regions(explained, values, numbers, tuple(names))
    regions = np.rint(grid.unmask(numbers.astype(np.float32))).astype(int)
    (expected,) = occlusion(network, explained.preparation.inputs(values), regions)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found).max() > 1e-3


def test_what_is_on_the_left_is_written_on_the_left(explained, scan, tmp_path):
    grid = explained.preparation.grid
    found = explain_scan(explained, scan)
    where = world_points(grid)[np.abs(found.map.values[0]).argmax()]
    assert where[0] < 0  # as planted
    (path, _) = found.map.write(tmp_path / "map")
    image = nib.load(path)
    data = np.abs(image.get_fdata())
    index = np.argwhere(data > 0.5 * data.max())
    assert (nib.affines.apply_affine(image.affine, index)[:, 0] < 0).all()
    sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert sidecar["Sign"] == (
        "positive: raises the score, towards FM; negative: lowers it, towards HC"
    )
    assert sidecar["Score"] == pytest.approx(found.prediction.score)


def test_effects_beyond_both_groups_are_told(finished, tmp_path, scan):
    folder = shutil.copytree(finished.bundle_dir, tmp_path / "bundle")
    _, boxes = coordinate_boxes(read_bundle(folder).preparation.grid, 48.0)
    effects = np.full((24, len(boxes)), 1e6)
    effects[:, 0] = np.where(np.arange(24) % 2, 1e6, -1e6)  # one bar on each side
    effects[:, 1] = -1e6
    found = explain_scan(add_signature(folder, effects=effects), scan).regions.set_index("label")
    assert found["outside"].to_list().count("below") == len(boxes) - 2
    first, second = list(boxes)[:2]
    assert (found.loc[first, "outside"], found.loc[second, "outside"]) == ("", "above")
    assert found.loc[second, "high_negative"] == -1e6
    assert found["effect"].abs().is_monotonic_decreasing


def test_without_weights_regions_are_painted(finished, tmp_path, scan):
    folder = shutil.copytree(finished.bundle_dir, tmp_path / "bundle")
    found = explain_scan(add_signature(folder), scan)
    assert (found.map.description, found.map.contrasts, found.total) == (
        "occlusion",
        ("all",),
        None,
    )
    largest = found.regions.iloc[0]
    regions = read_explainer(read_bundle(folder)).regions
    painted = found.map.values[0, regions == largest["label"]]
    np.testing.assert_allclose(painted, largest["effect"], rtol=1e-5)


@pytest.mark.parametrize("is_known", [True, False])
def test_signature_that_is_not_stable_explains_nothing_unless_forced(
    finished, tmp_path, scan, is_known
):
    folder = shutil.copytree(finished.bundle_dir, tmp_path / "bundle")
    bundle = add_signature(folder, facts=UNSTABLE) if is_known else read_bundle(folder)
    why = "no stable signature: it did not hold that" if is_known else "no record of which regions"
    with pytest.raises(ExplanationError, match=f"found {why}.*; to do: .*--force"):
        explain_scan(bundle, scan)
    found = explain_scan(bundle, scan, is_forced=True)
    assert found.mark.startswith(f"Forced: this signature is not stable ({why}")
    assert found.map.sidecar("all")["Mark"] == found.mark
    assert (found.people, found.total) == (None, None)
    sides = found.regions["x"] < 0
    assert (found.regions["region"].str.startswith("left") == sides).all()


def test_scan_without_score_is_not_explained(explained, scan):
    with pytest.raises(ExplanationError, match=r"no score \(.*no such file"):
        explain_scan(explained, replace(scan, files=(Path("nosuch.nii.gz"), Path("no2.nii.gz"))))


def test_maps_made_of_runs_are_explained(maps_export, bold_tree, tmp_path):
    folder = shutil.copytree(maps_export.bundle.folder, tmp_path / "bundle")
    bundle = add_signature(folder, planted_weights(maps_export.bundle.preparation.grid, 2))
    image = sorted(bold_tree.rglob("*_bold.nii.gz"))[0]
    run = describe_run(image, "MNI152NLin2009cAsym")
    found = explain_scan(bundle, NewBoldScan("one", (run,)))
    assert found.map.contrasts == ("temporal_sd", "alff")
    assert found.map.values.any()


def test_series_are_refused(series_export, scan):
    with pytest.raises(ExplanationError, match="found a signature that reads time series"):
        explain_scan(series_export.bundle, scan, is_forced=True)


def rewritten(bundle, name, change):
    """Change a file of a signature, with hashes that fit."""
    path = bundle.folder / "signature" / name
    change(path)
    write_hashes(bundle.folder)
    return read_bundle(bundle.folder)


def as_other_grid(path):
    image = np.ones((1, 7, 8, 9), np.float32)
    write_volume(Volume(image, np.diag([20.0, 20, 20, 1]), "MNI152"), path)


def as_other_regions(path):
    image = nib.load(path)
    nib.Nifti1Image(image.get_fdata() * 2, image.affine).to_filename(path)


def without_last_name(path):
    content = json.loads(path.read_text())
    content["regions"]["name"].pop()
    path.write_text(json.dumps(content))


def without_groups(path):
    content = json.loads(path.read_text())
    del content["scores"]["negative"]
    path.write_text(json.dumps(content))


DAMAGED = {
    "regions_dseg.nii.gz": [(as_other_grid, "another grid"), (as_other_regions, "not those of")],
    "reference_people.json": [
        (without_last_name, "lists don't belong together"),
        (without_groups, "no 'scores.negative'"),
    ],
}


@pytest.mark.parametrize(
    ("name", "change", "found"), [(name, *one) for name, all_ in DAMAGED.items() for one in all_]
)
def test_files_that_do_not_belong_together_are_refused(explained, scan, name, change, found):
    with pytest.raises(BundleError, match=found):
        explain_scan(rewritten(explained, name, change), scan)


def test_weights_that_are_no_image_are_refused(explained, scan):
    (name, *_) = [path.name for path in (explained.folder / "signature").glob("*weights*.nii.gz")]
    changed = rewritten(explained, name, lambda path: path.write_bytes(b"x" * 400))
    with pytest.raises(BundleError, match="weights that can't be read"):
        explain_scan(changed, scan)
