import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fmnet.bold.bold_file import BoldHeader
from fmnet.bold.bold_values import STEPS, RunValues
from fmnet.data.files import open_draft
from fmnet.data.resample import Lookup
from fmnet.errors import VolumeError


def values_of(rows, known=None, slope=1.0, intercept=0.0):
    n_volumes, width = rows.shape
    header = BoldHeader(
        (width, 1, 1), n_volumes, rows.dtype, slope, intercept, 352, np.eye(4), 2.0, ""
    )
    known = np.ones(width, dtype=bool) if known is None else known
    return RunValues(Path("bold.nii"), header, Lookup(np.arange(width), known))


def write(rows, **more):
    with tempfile.TemporaryDirectory() as folder, open_draft(Path(folder)) as draft:
        scale = values_of(rows, **more).write(list(rows), draft)
        draft.seek(0)
        return np.load(io.BytesIO(draft.read())), scale


@given(
    rows=arrays(np.float32, (6, 5), elements=st.floats(-1e5, 1e5, width=32)).filter(
        lambda rows: (rows != rows[0]).any()
    )
)
def test_error_is_half_a_step_at_most(rows):
    kept, (slope, intercept) = write(rows)
    assert kept.dtype == np.int16
    restored = kept * slope + intercept
    step = (rows.max(axis=0).astype(float) - rows.min(axis=0)) / STEPS
    rounding = np.abs(rows).max(axis=0) * 2.0**-22
    assert (np.abs(restored - rows) <= 0.51 * step + rounding).all()


@given(
    rows=arrays(np.float64, (6, 5), elements=st.floats(8000, 12000)).filter(
        lambda rows: (rows != rows[0]).any()
    )
)
def test_bold_is_far_nearer_than_in_float16(rows):
    kept, (slope, intercept) = write(rows)
    assert np.abs(kept * slope + intercept - rows).max() < 0.04


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, ">i2", ">u2"])
def test_small_integers_are_kept_number_by_number(rng, dtype):
    info = np.iinfo(np.dtype(dtype))
    rows = rng.integers(info.min, info.max, size=(4, 7), endpoint=True).astype(dtype)
    kept, scale = write(rows)
    assert scale is None
    assert kept.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(kept, rows)


def test_voxels_without_data_are_nan(rng):
    known = np.array([True, False, True])
    for dtype in (np.int16, np.float32):
        rows = rng.normal(1000, 50, size=(5, 3)).astype(dtype)
        kept, (slope, intercept) = write(rows, known=known, slope=2.0, intercept=3.0)
        values = kept * slope + intercept
        assert np.isnan(values[:, 1]).all()
        np.testing.assert_allclose(values[:, [0, 2]], rows[:, [0, 2]] * 2.0 + 3, rtol=1e-5)


def test_voxel_without_change_keeps_its_value():
    rows = np.array([[7.25, 1], [7.25, 2]], np.float32)
    kept, (slope, intercept) = write(rows)
    np.testing.assert_array_equal((kept * slope + intercept)[:, 0], 7.25)


def test_names_volume_with_values_that_are_not_finite():
    rows = np.ones((4, 3), np.float32)
    rows[2, :2] = np.nan, np.inf
    with pytest.raises(VolumeError, match=r"bold\.nii: found 2 values in volume 2 that are NaN"):
        write(rows)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_refuses_one_volume_repeated(dtype):
    rows = np.repeat(np.arange(1, 4, dtype=dtype)[None], 5, axis=0)
    with pytest.raises(VolumeError, match="found no change from volume to volume"):
        write(rows)


@pytest.mark.parametrize(("dtype", "slope"), [(np.int16, 1e3), (np.float32, 1e3)])
def test_refuses_values_out_of_range(dtype, slope):
    rows = np.array([[1, 2], [3, 4000]], dtype)
    with pytest.raises(VolumeError, match=r"found values as large as 4e\+06, beyond 1e\+06"):
        write(rows, slope=slope)


def test_a_spike_is_refused_with_its_voxel(rng):
    rows = rng.normal(9000, 90, size=(6, 300)).astype(np.float32)
    rows[3, 17] = 4e5
    with pytest.raises(VolumeError, match=r"found a spike of 400000 at voxel \(17, 0, 0\), where"):
        write(rows)
    known = np.arange(300) != 17
    write(rows, known=known)
    whole = rng.integers(500, 900, size=(6, 300)).astype(np.int16)
    write(whole)
    whole[2, 250] = -32768
    with pytest.raises(VolumeError, match=r"found a spike of 32768 at voxel \(250, 0, 0\)"):
        write(whole)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_volume_far_beyond_the_others_is_refused(rng, dtype, number):
    rows = rng.normal(300, 5, (6, 70)).astype(dtype)
    rows[number] *= 30
    with pytest.raises(
        VolumeError, match=rf"on average in volume {number}, where .* of (300|299);"
    ):
        write(rows)
    rows[number] //= 10  # as before a steady state
    write(rows)
