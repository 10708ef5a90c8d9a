import json
import shutil

import numpy as np
import pytest

from fmnet.deploy.bundle import read_bundle, write_sums
from fmnet.errors import BundleError


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished.bundle_dir, tmp_path / "copy")


def test_holds_all_that_is_promised(bundle):
    names = {path.name for path in bundle.folder.iterdir()}
    assert names == {
        "MODEL_CARD.md", "SHA256SUMS", "calibration.json", "metadata.json", "model.onnx",
        "model.pt2", "preparation.json", "preparation.safetensors", "reference.json",
    }  # fmt: skip
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
    write_sums(copy)
    with pytest.raises(BundleError, match="found bundle format 99; accepted: format 1"):
        read_bundle(copy)


def test_model_that_is_no_onnx_is_refused(copy):
    (copy / "model.onnx").write_bytes(b"not a model")
    write_sums(copy)
    with pytest.raises(BundleError, match="a part that can't be read"):
        read_bundle(copy)


def test_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"no readable metadata\.json"):
        read_bundle(tmp_path)
