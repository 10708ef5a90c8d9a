"""Real files of several formats: read as they are, or refused with a reason."""

import nibabel as nib
import numpy as np
import pytest

from fmnet.bold.bold_file import BoldRun, open_bold
from fmnet.bold.decoded import DecodedBold
from fmnet.data.store import ArrayStore
from fmnet.errors import VolumeError

#: Shape, volumes, and the repetition time in seconds where the header states a usable one.
READ = {
    "formats/example4d.nii.gz": ((128, 96, 24), 2, None),
    "formats/example_nifti2.nii.gz": ((32, 20, 12), 2, None),
    "formats/functional.nii": ((17, 21, 3), 20, 2.0),
    "haxby_sub001/bold.nii.gz": ((40, 20, 1), 1452, 2.5),
}
REFUSED = {
    "anatomical.nii": r"an image of shape \(33, 41, 25\)",
    "phantom_EPI_asc_CLEAR_2_1.PAR": r"a file named 'phantom_EPI_asc_CLEAR_2_1\.PAR'",
    "phantom_EPI_asc_CLEAR_2_1.REC": r"a file named 'phantom_EPI_asc_CLEAR_2_1\.REC'",
    "scaled+tlrc.BRIK": r"a file named 'scaled\+tlrc\.BRIK'",
    "scaled+tlrc.HEAD": r"a file named 'scaled\+tlrc\.HEAD'",
    "test.mgz": r"a file named 'test\.mgz'",
}


def test_every_file_is_looked_at(real_data):
    there = {path.name for path in (real_data / "bold/formats").iterdir()}
    assert there == {name.rpartition("/")[2] for name in READ if "formats/" in name} | set(REFUSED)


@pytest.mark.parametrize("name", READ)
def test_is_read_as_nibabel_reads_it(real_data, tmp_path, name):
    path = real_data / "bold" / name
    shape, n_volumes, t_r = READ[name]
    with open_bold(path) as file:
        header = file.header
    assert (header.shape, header.n_volumes, header.t_r) == (shape, n_volumes, t_r)
    mask = tmp_path / "mask.nii"
    nib.Nifti1Image(np.ones(shape, np.uint8), nib.load(path).affine).to_filename(mask)
    run = BoldRun("a", "a", path, "own", mask, t_r or 2.0)
    stored = ArrayStore(tmp_path / "store", DecodedBold(min_coverage=0.3)).add(run)
    assert (stored.n_volumes, stored.t_r) == (n_volumes, t_r or 2.0)
    ras = nib.as_closest_canonical(nib.load(path))
    assert nib.aff2axcodes(stored.grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(stored.grid.affine, ras.affine, atol=1e-5)
    expected = np.asarray(ras.dataobj[..., -1], np.float32)[stored.grid.mask]
    np.testing.assert_allclose(stored.volume(n_volumes - 1), expected, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, facts in READ.items() if facts[2] is None])
def test_time_that_is_none_is_asked_for(real_data, tmp_path, grid, name):
    """2000 s between volumes, as these headers state: milliseconds, said to be seconds."""
    run = BoldRun("a", "a", real_data / "bold" / name, "MNI152")
    with pytest.raises(VolumeError, match=r"no usable repetition time .*give t_r, in seconds"):
        ArrayStore(tmp_path / "store", DecodedBold(grid)).add(run)


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_with_a_reason(real_data, name):
    path = real_data / "bold/formats" / name
    pattern = rf"{path.stem[:4]}.*: found {REFUSED[name]}; accepted: one 4-D NIfTI file"
    with pytest.raises(VolumeError, match=pattern), open_bold(path):
        pass
