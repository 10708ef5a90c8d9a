import json

import nibabel as nib
import numpy as np
import pytest

from fmnet.data.grid import Grid
from fmnet.data.signature_map import SignatureMap, file_stems, read_signature_map
from fmnet.errors import VolumeError

AFFINE = np.array([[4.0, 0, 0, -14], [0, 5, 0, -20], [0, 0, 6, -24], [0, 0, 0, 1]])


@pytest.fixture
def grid():
    mask = np.ones((7, 8, 9), bool)
    mask[0], mask[:, 0] = False, False
    return Grid(mask, AFFINE, "MNI152NLin6Asym")


def make_map(grid, contrasts=("pressure", "visual"), **changes):
    rng = np.random.default_rng(0)
    given = {
        "values": rng.normal(size=(len(contrasts), grid.n_voxels)).astype(np.float32),
        "grid": grid,
        "contrasts": contrasts,
        "description": "weights",
        "units": "score per unit of the map",
        "sign": "positive: more like FM",
        "model": "linear SVM",
        "source": "final",
        "n_subjects": 21,
        "about": {"Intercept": -0.25},
    }
    return SignatureMap(**given | changes)


def test_file_and_sidecar_carry_all_that_a_map_means(grid, tmp_path):
    made = make_map(grid)
    images = made.write(tmp_path / "signature")
    assert [image.name for image in images] == [
        "contrast-pressure_space-MNI152NLin6Asym_desc-weights_statmap.nii.gz",
        "contrast-visual_space-MNI152NLin6Asym_desc-weights_statmap.nii.gz",
    ]
    image = nib.load(images[1])
    np.testing.assert_allclose(image.affine, AFFINE)
    assert int(image.header["sform_code"]) == 4
    np.testing.assert_array_equal(np.asarray(image.dataobj)[grid.mask], made.values[1])
    said = json.loads((tmp_path / "signature" / f"{made.stems()[0]}.json").read_text())
    assert said["Sign"] == "positive: more like FM"
    assert said["Intercept"] == -0.25
    assert said["NumberOfSubjects"] == 21
    read = read_signature_map(tmp_path / "signature", "weights", grid, made.contrasts)
    np.testing.assert_array_equal(read.values, made.values)
    assert (read.model, read.source, read.about) == ("linear SVM", "final", {"Intercept": -0.25})


def test_left_stays_left(grid, tmp_path):
    values = np.zeros((1, *grid.shape), np.float32)
    values[0, 1, 6, 2] = 3.0  # x = -10 mm
    (path,) = make_map(grid, ("pain",), values=values[:, grid.mask]).write(tmp_path)
    image = nib.load(path)
    index = np.argwhere(np.asarray(image.dataobj) == 3.0)[0]
    np.testing.assert_allclose(nib.affines.apply_affine(image.affine, index), [-10, 10, -12])


def test_contrasts_that_are_alike_in_letters_keep_files_of_their_own():
    stems = file_stems(("pain-1", "pain_1", "höher", "???"), "MNI152", "z")
    assert len(set(stems)) == 4
    assert stems[3] == "contrast-map_space-MNI152_desc-z_statmap"


def test_a_map_on_another_grid_is_refused(grid, tmp_path):
    made = make_map(grid)
    made.write(tmp_path)
    moved = Grid(
        grid.mask,
        AFFINE + np.eye(4) * [0, 0, 0, 0] + np.array([[0] * 3 + [4]] + [[0] * 4] * 3),
        grid.space,
    )
    with pytest.raises(VolumeError, match="another grid"):
        read_signature_map(tmp_path, "weights", moved, made.contrasts)


@pytest.mark.parametrize("fault", ["shape", "finite"])
def test_values_that_fit_no_grid_are_refused(grid, fault):
    values = np.zeros((2, grid.n_voxels), np.float32)
    values = values[:, 1:] if fault == "shape" else values * np.nan
    with pytest.raises(VolumeError, match="weights map"):
        make_map(grid, values=values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NumberOfSubjects", float("inf")), ("NumberOfSubjects", "21"), ("NumberOfSubjects", 0),
        ("Units", None), ("Model", 3), ("Source", "elsewhere"),
    ],
)  # fmt: skip
def test_a_sidecar_that_says_something_else_is_refused(grid, tmp_path, name, value):
    made = make_map(grid, ("pain",))
    made.write(tmp_path)
    path = tmp_path / f"{made.stems()[0]}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(VolumeError, match=f"sidecar without a usable {name}"):
        read_signature_map(tmp_path, "weights", grid, made.contrasts)
