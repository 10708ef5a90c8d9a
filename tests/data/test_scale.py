import nibabel as nib
import numpy as np
import pytest

from fmnet.data.bids import read_bids
from fmnet.data.cohort import open_cohort
from fmnet.data.scale import has_usual_unit, image_scale
from fmnet.errors import CohortError


def rescale(path, factor):
    image = nib.load(path)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) * factor, image.affine), path)


def test_scale_is_root_mean_square_of_known_voxels():
    assert image_scale(np.array([3.0, np.nan, -4.0], np.float32)) == pytest.approx(12.5**0.5)


def test_scale_of_large_values_is_finite():
    assert image_scale(np.array([3e30, -3e30], np.float32)) == pytest.approx(3e30)


def test_unit_is_judged_by_channel():
    scales = np.array([[1.0, 100.0], [1.5, 90.0], [0.8, 110.0], [26.0, 4.0]])
    expected = [[True, True], [True, True], [True, True], [False, False]]
    np.testing.assert_array_equal(has_usual_unit(scales), expected)


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_map_in_another_unit_is_a_fault_of_its_person(bids_tree, store, factor):
    tree = bids_tree(contrasts=("pain", "visual"))
    rescale(tree.map("sub-03", "visual"), factor)
    contrasts = ["pain", "visual"]
    expected = r"sub-03 \(.*contrast-visual.*median of contrast 'visual' is .*another unit\?"
    with pytest.raises(CohortError, match=expected) as caught:
        open_cohort(read_bids(tree.root, contrasts), store)
    assert len(caught.value.faults) == 1
    cohort = open_cohort(read_bids(tree.root, contrasts, on_fault="exclude"), store)
    assert set(tree.people) - set(cohort.participant_ids) == {"sub-03"}


def test_usual_differences_between_people_are_no_fault(bids_tree, store):
    tree = bids_tree()
    rescale(tree.map("sub-02"), 5.0)
    rescale(tree.map("sub-05"), 0.2)
    assert len(open_cohort(read_bids(tree.root), store).scans) == 6
