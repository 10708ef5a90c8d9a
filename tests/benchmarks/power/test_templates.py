import numpy as np
import pytest

from benchmarks.power.templates import name_templates, read_templates
from fmnet.errors import CohortError


def test_templates_lie_on_the_grid_in_order(grid, tmp_path, write_map, rng):
    fields = rng.normal(size=(2, grid.n_voxels)).astype(np.float32)
    fields[0, 3] = np.nan
    files = [tmp_path / "b.nii.gz", tmp_path / "a.nii.gz"]
    for file, field in zip(files, fields, strict=True):
        write_map(file, grid.unmask(field))
    np.testing.assert_allclose(read_templates(files, grid, "MNI152"), np.nan_to_num(fields))
    assert read_templates([], grid, "MNI152") is None


def test_all_faults_come_in_one_report(grid, tmp_path, write_map):
    empty = write_map(tmp_path / "empty.nii.gz", np.zeros(grid.shape, np.float32))
    match = r"(?s)2 faults.*no\.nii\.gz: found no such file.*empty\.nii\.gz: found no value in"
    with pytest.raises(CohortError, match=match):
        read_templates([tmp_path / "no.nii.gz", empty], grid, "MNI152")


def test_templates_are_called_after_their_files():
    assert name_templates(["a/hot.nii.gz", "b/loud.nii"]) == ("hot", "loud")
    assert name_templates(["a/hot.nii", "b/hot.nii.gz"]) == ("a/hot.nii", "b/hot.nii.gz")
    assert name_templates([]) == ()
