import numpy as np
import pytest

from benchmarks.power.backgrounds import draw_backgrounds, fill, mirror, read_backgrounds
from benchmarks.power.regions import Brain
from fmnet.errors import CohortError, ConfigError


def test_mirror_image_swaps_left_and_right_alone(grid):
    x, y, z = Brain(grid).places.T
    values = np.stack([x + 1000, 2 * y + 3 * z + 1000]).astype(np.float32)
    mirrored = grid.unmask(mirror(values, grid))
    expected = grid.unmask(np.stack([1000 - x, values[1]]).astype(np.float32))
    known = grid.mask & grid.mask[::-1]
    np.testing.assert_allclose(mirrored[:, known], expected[:, known], rtol=1e-5)
    # the mask lacks two voxels on the left: nobody has a mirrored value for those on the right
    lacking = grid.mask & ~grid.mask[::-1]
    assert lacking.any()
    assert not mirrored[:, lacking].any()


def test_missing_voxels_get_the_mean_of_those_who_have_them():
    values = np.array([[1, np.nan, 3], [5, 2, np.nan], [np.nan, 4, np.nan], [0, 0, np.nan]])
    values[:, 2] = np.nan
    filled = fill(values.astype(np.float32))
    assert filled.tolist() == [[1, 2, 0], [5, 2, 0], [2, 4, 0], [0, 0, 0]]
    assert filled.dtype == np.float32


def test_mirror_images_stand_in_only_where_people_run_out(backgrounds, rng):
    rows, is_mirrored = backgrounds.choose(12, rng)
    assert sorted(rows) == list(range(12))
    assert not is_mirrored.any()
    rows, is_mirrored = backgrounds.choose(17, rng)
    assert is_mirrored.sum() == 5
    assert len(set(zip(rows.tolist(), is_mirrored.tolist(), strict=True))) == 17


def test_too_few_people_even_with_mirror_images(backgrounds, rng):
    match = r"suite\.n: found 25 people, with maps of 12; accepted: at most 24"
    with pytest.raises(ConfigError, match=match):
        backgrounds.choose(25, rng)


def test_made_up_people_differ_by_about_one_sd_and_come_again():
    made = draw_backgrounds(30, 12, seed=3)
    assert made.values.shape == (30, made.grid.n_voxels)
    assert made.values.std(axis=0).mean() == pytest.approx(1, abs=0.1)
    again, other = draw_backgrounds(30, 12, seed=3), draw_backgrounds(30, 12, seed=4)
    assert np.array_equal(made.values, again.values)
    assert made.digest == again.digest != other.digest
    assert not np.array_equal(made.values, other.values)


@pytest.fixture
def table(tmp_path, write_map):
    """Four people's maps and the table that lists them, without labels."""
    for number in range(4):
        write_map(tmp_path / f"{number}.nii.gz")

    def write(rows, columns="participant_id\tpath"):
        (tmp_path / "images.tsv").write_text("\n".join([columns, *rows]) + "\n")
        return tmp_path / "images.tsv"

    return write


def test_reads_one_map_of_each_person(table):
    read = read_backgrounds(table([f"sub-{k}\t{k}.nii.gz" for k in range(4)]), 12)
    assert read.values.shape == (4, read.grid.n_voxels)
    assert np.isfinite(read.values).all()
    fewer = read_backgrounds(table([f"sub-{k}\t{k}.nii.gz" for k in range(3)]), 12)
    assert fewer.digest != read.digest
    known = fewer.values.std(axis=0) > 0
    np.testing.assert_array_equal(fewer.values[:, known], read.values[:3, known])


def test_same_map_under_two_names_is_refused(table):
    with pytest.raises(CohortError, match=r"sub-9"):
        read_backgrounds(table(["sub-0\t0.nii.gz", "sub-1\t1.nii.gz", "sub-9\t1.nii.gz"]), 12)


def test_several_maps_of_a_person_are_refused(table):
    rows = [f"sub-{k // 2}\tpain\t{k % 2}\t{k}.nii.gz" for k in range(4)]
    path = table(rows, "participant_id\tcontrast\trun\tpath")
    with pytest.raises(CohortError, match="several scans of one person"):
        read_backgrounds(path, 12)


def test_contrast_has_to_be_chosen_among_several(table):
    rows = [f"sub-{k // 2}\t{'ab'[k % 2]}\t{k}.nii.gz" for k in range(4)]
    path = table(rows, "participant_id\tcontrast\tpath")
    with pytest.raises(CohortError, match=r"found a, b; accepted: one contrast"):
        read_backgrounds(path, 12)
    assert len(read_backgrounds(path, 12, contrast="b").values) == 2


def test_all_unreadable_maps_come_in_one_report(table, tmp_path):
    (tmp_path / "0.nii.gz").write_bytes(b"nothing")
    (tmp_path / "2.nii.gz").unlink()
    with pytest.raises(CohortError, match=r"(?s)2 faults.*0\.nii\.gz.*2\.nii\.gz"):
        read_backgrounds(table([f"sub-{k}\t{k}.nii.gz" for k in range(4)]), 12)
