import json

import numpy as np
import pytest

from fmnet.errors import BundleError
from fmnet.inference.bundle import write_plain
from fmnet.inference.quality import (
    Reference,
    fit_reference,
    motion_fault,
    read_reference,
    scale_readings,
    temporal_sd,
)

VALUES = np.random.default_rng(0).normal(size=(9, 2, 80)).astype(np.float32) * [[1.0], [50.0]]


def scale_faults(values, reference, name):
    readings = scale_readings(values, reference, name)
    return [reading.fault for reading in readings if not reading.is_passed]


def test_training_scans_pass_their_own_reference():
    reference = fit_reference(VALUES, ("pressure", "visual"))
    assert reference.n_scans == 9
    assert not any(scale_faults(scan, reference, "scan") for scan in VALUES)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_other_units_are_named_with_their_contrast(factor):
    reference = fit_reference(VALUES, ("pressure", "visual"))
    scan = VALUES[0] * np.array([[1.0], [factor]])
    (fault,) = scale_faults(scan, reference, "new.nii.gz")
    assert fault.where == "new.nii.gz"
    assert "contrast 'visual'" in fault.found


def test_limits_that_do_not_fit_are_refused():
    with pytest.raises(BundleError, match="limits that don't fit the contrasts"):
        Reference(("pressure", "visual"), (1.0,), (2.0,), 9)


@pytest.mark.parametrize("limits", [(1.0, np.inf), (np.nan, 1.0), (3.0, 2.0), (-1.0, 2.0)])
def test_limits_that_are_none_are_refused(limits):
    with pytest.raises(BundleError, match="found limits from"):
        Reference(("pressure",), (limits[0],), (limits[1],), 9)


@pytest.mark.parametrize("factor", [1e-6, 1e6, 1e25])
def test_one_training_scan_in_another_unit_does_not_open_the_gate(factor):
    spoilt = VALUES.copy()
    spoilt[4, 1] *= factor
    others = np.delete(VALUES, 4, axis=0)
    reference = fit_reference(spoilt, ("pressure", "visual"))
    expected = fit_reference(others, ("pressure", "visual"))
    assert reference.scale_low[1] == expected.scale_low[1]
    assert reference.scale_high[1] == expected.scale_high[1]
    assert scale_faults(spoilt[4], reference, "scan")


def test_disk_and_back_is_identical(tmp_path):
    reference = fit_reference(VALUES, ("pressure", "visual"))
    write_plain(reference, tmp_path / "reference.json")
    assert read_reference(tmp_path / "reference.json") == reference


def test_reference_without_motion_is_read(tmp_path):
    path = tmp_path / "reference.json"
    write_plain(fit_reference(VALUES, ("pressure", "visual")), path)
    content = json.loads(path.read_text())
    del content["mean_fd_high_mm"]
    path.write_text(json.dumps(content))
    assert read_reference(path).mean_fd_high_mm is None
    path.write_text(json.dumps(content | {"mean_fd_high_mm": "0.3"}))
    with pytest.raises(BundleError, match="'mean_fd_high_mm' that is not a number from 0, or null"):
        read_reference(path)


def test_motion_is_held_against_the_worst_training_run():
    reference = fit_reference(VALUES, ("pressure", "visual"), [0.1, None, 0.2, float("nan")])
    assert reference.mean_fd_high_mm == 0.2
    assert motion_fault(0.3, reference, "run") is None
    assert motion_fault(0.31, reference, "run").where == "run"
    for unknown in (None, float("nan")):
        assert "that nobody states" in motion_fault(unknown, reference, "run").found


def test_motion_that_training_did_not_know_is_no_gate():
    reference = fit_reference(VALUES, ("pressure", "visual"), [None])
    assert motion_fault(9.0, reference, "run") is None


def test_temporal_sd_is_one_map():
    series = np.arange(12, dtype=np.float32).reshape(4, 3)
    series[2, 1] = np.nan
    found = temporal_sd(series)
    assert found.shape == (1, 3)
    np.testing.assert_allclose(found[0, [0, 2]], np.std([0, 3, 6, 9]), rtol=1e-6)
    assert np.isnan(found[0, 1])
