import json
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fmnet.errors import BundleError
from fmnet.inference.bundle import read_bundle
from fmnet.inference.bundle_files import write_hashes


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished.bundle_dir, tmp_path / "copy")


def test_holds_all_that_is_promised(bundle):
    names = {path.name for path in bundle.folder.iterdir()}
    assert names >= {
        "MODEL_CARD.md", "SHA256SUMS", "calibration.json", "configs", "gates.json",
        "gates.safetensors", "metadata.json", "model.onnx", "model.pt2", "preparation.json",
        "preparation.safetensors", "reference.json", "unseen.json",
    }  # fmt: skip
    assert bundle.metadata["format_version"] == 2
    contract = bundle.metadata["input"]
    assert contract["contrasts"] == ["pressure", "visual"]
    assert contract["orientation"] == "RAS+"
    assert contract["space"] == "MNI152NLin2009aSym"
    assert contract["shape"] == list(bundle.preparation.grid.shape)
    assert "not a diagnosis" in bundle.metadata["intended_use"]
    assert bundle.is_synthetic


def test_model_card_says_synthetic_and_not_a_diagnosis(bundle):
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "synthetic data" in card
    assert "not a diagnosis" in card


def test_scores_any_batch_size(bundle):
    images = np.random.default_rng(0).normal(size=(5, *bundle.preparation.input_shape))
    images = images.astype(np.float32)
    together = bundle.score(images)
    assert together.shape == (5,)
    np.testing.assert_allclose(together[3], bundle.score(images[3:4])[0], atol=1e-5)


@pytest.mark.parametrize("name", ["model.onnx", "metadata.json", "calibration.json", "model.pt2"])
def test_altered_file_is_named(copy, name):
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=f"{name} altered since export"):
        read_bundle(copy)


def test_missing_file_is_named(copy):
    (copy / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx missing"):
        read_bundle(copy)


def test_every_fault_of_the_files_is_named(copy):
    (copy / "model.onnx").unlink()
    (copy / "reference.json").write_text("{}")
    with pytest.raises(BundleError, match=r"model\.onnx missing, reference\.json altered"):
        read_bundle(copy)


def test_file_without_hash_is_refused(copy):
    sums = copy / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines(True) if "model.onnx" not in line]
    sums.write_text("".join(lines))
    with pytest.raises(BundleError, match=r"model\.onnx without a hash"):
        read_bundle(copy)


def test_hash_of_a_file_elsewhere_is_refused(copy):
    sums = copy / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  ../secret\n")
    with pytest.raises(BundleError, match=r"\.\./secret missing"):
        read_bundle(copy)


def test_other_format_version_is_refused(copy):
    metadata = json.loads((copy / "metadata.json").read_text())
    (copy / "metadata.json").write_text(json.dumps(metadata | {"format_version": 99}))
    write_hashes(copy)
    with pytest.raises(BundleError, match="found bundle format 99; accepted: format 1"):
        read_bundle(copy)


def replace_field(path, name, value):
    """Set a field of a JSON file, a dot leads into one; None removes it."""
    content = json.loads(path.read_text())
    *above, last = name.split(".")
    place = content
    for key in above:
        place = place[key]
    place.pop(last) if value is None else place.__setitem__(last, value)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "name", "value", "found"),
    [
        ("metadata", "training", None, "no 'training.positive', no 'training.negative'"),
        ("metadata", "input", None, "no 'input.contrasts', no 'input.stat', no 'input.space'"),
        ("metadata", "input", [], "no 'input.contrasts'"),
        ("metadata", "input.contrasts", "pressure", "'input.contrasts' that is not a list"),
        ("metadata", "input.contrasts", [1, 2], "'input.contrasts' that is not a list"),
        ("metadata", "input.space", "T1w", "'input.space' that is not an MNI152 space"),
        ("metadata", "training.n_scans", "24", "'training.n_scans' that is not a whole number"),
        ("calibration", "slope", "steep", "'slope' that is not a number from 0"),
        ("calibration", "slope", float("nan"), "'slope' that is not a number from 0"),
        ("calibration", "slope", -1.0, "'slope' that is not a number from 0"),
        ("calibration", "intercept", True, "'intercept' that is not a finite number"),
        ("reference", "scale_low", ["a", "b"], "'scale_low' that is not a list"),
        ("reference", "scale_high", 3, "'scale_high' that is not a list"),
        ("reference", "scale_high", [1.0], "limits that don't fit the contrasts"),
        ("reference", "contrasts", ["visual", "pressure"], "reference.json for contrasts visual"),
        ("preparation", "contrasts", ["visual", "pressure"], "preparation.json for contrasts vis"),
        ("preparation", "fwhm_mm", None, "no 'fwhm_mm'"),
        ("preparation", "min_coverage", 2, "'min_coverage' that is not a number from 0 to 1"),
        ("preparation", "affine", [[1.0], [2.0, 3.0]], "a preparation that can't be read"),
    ],
)
def test_field_that_is_missing_or_wrong_is_named(copy, file, name, value, found):
    replace_field(copy / f"{file}.json", name, value)
    write_hashes(copy)
    with pytest.raises(BundleError, match=f"found .*{re.escape(found)}"):
        read_bundle(copy)


@pytest.mark.parametrize("name", ["metadata", "calibration", "reference", "preparation"])
@pytest.mark.parametrize("text", ["[]", "3", "null", "{", '{"format_version": 1}', "[" * 10**5])
def test_file_that_holds_something_else_is_refused(copy, name, text):
    (copy / f"{name}.json").write_text(text)
    write_hashes(copy)
    with pytest.raises(BundleError, match=name):
        read_bundle(copy)


def test_other_format_version_without_versions_is_refused(copy):
    (copy / "metadata.json").write_text('{"format_version": 3, "versions": 3}')
    write_hashes(copy)
    with pytest.raises(BundleError, match=r"found bundle format 3; .*\(unknown\)"):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("mean", lambda array: array * np.nan, "not finite float32"),
        ("weight", lambda array: array.astype(np.float64), "of type float64"),
        ("mask", lambda array: array.ravel(), "a mask of shape"),
        ("mask", np.zeros_like, "with 0 voxels"),
    ],
)
def test_arrays_that_can_not_be_used_are_refused(copy, name, change, found):
    arrays = load_file(copy / "preparation.safetensors")
    save_file(arrays | {name: change(arrays[name])}, copy / "preparation.safetensors")
    write_hashes(copy)
    with pytest.raises(BundleError, match=found):
        read_bundle(copy)


def test_preparation_of_another_shape_than_the_network_is_refused(copy):
    arrays = load_file(copy / "preparation.safetensors")
    arrays["mask"] = np.pad(arrays["mask"], ((0, 1), (0, 0), (0, 0)))
    save_file(arrays, copy / "preparation.safetensors")
    write_hashes(copy)
    with pytest.raises(
        BundleError, match=r"model\.onnx from .* to \['score', 'features'\], not from \(2, "
    ):
        read_bundle(copy)


def test_gate_of_other_features_than_the_network_gives_is_refused(copy):
    arrays = load_file(copy / "gates.safetensors")
    shorter = {
        name: array[..., 1:] if array.ndim and name != "features variances" else array
        for name, array in arrays.items()
        if name.startswith("features")
    }
    save_file(arrays | shorter, copy / "gates.safetensors")
    write_hashes(copy)
    n_features = len(arrays["features mean"])
    found = f"model.onnx with {n_features} features, and a gate of {n_features - 1}"
    with pytest.raises(BundleError, match=found):
        read_bundle(copy)


def test_model_that_is_no_onnx_is_refused(copy):
    (copy / "model.onnx").write_bytes(b"not a model")
    write_hashes(copy)
    with pytest.raises(BundleError, match="a part that can't be read"):
        read_bundle(copy)


def test_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"no readable metadata\.json"):
        read_bundle(tmp_path)
