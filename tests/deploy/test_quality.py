import numpy as np
import pytest

from fmnet.deploy.quality import Reference, fit_reference, image_scale, scale_faults
from fmnet.errors import BundleError

VALUES = np.random.default_rng(0).normal(size=(9, 2, 80)).astype(np.float32) * [[1.0], [50.0]]


def test_scale_is_root_mean_square_of_known_voxels():
    assert image_scale(np.array([3.0, np.nan, -4.0], np.float32)) == pytest.approx(12.5**0.5)


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
