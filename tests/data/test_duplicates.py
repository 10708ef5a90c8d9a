import os
import resource
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.image import resample_img

from fmnet.data.bids import read_bids
from fmnet.data.cohort import open_cohort
from fmnet.data.duplicates import correlations
from fmnet.data.image_table import read_image_table
from fmnet.data.store import ScanStore
from fmnet.data.template import build_grid
from fmnet.errors import CohortError


def faults_of(tree, store) -> str:
    with pytest.raises(CohortError, match="the same image as") as caught:
        open_cohort(read_bids(tree.root, entities={"ses": "any"}), store)
    return str(caught.value)


def test_image_in_another_unit_and_type_is_found(bids_tree, store):
    tree = bids_tree()
    image = nib.load(tree.map("sub-01"))
    numbers = np.rint(1000 * image.get_fdata()).astype(np.int16)
    nib.Nifti1Image(numbers, image.affine).to_filename(tree.map("sub-04"))
    text = faults_of(tree, store)
    assert text.count("the same image as") == 2
    assert text.index("sub-01") < text.index("sub-04")


def test_mirrored_storage_of_the_same_image_is_found(bids_tree, store):
    tree = bids_tree()
    image = nib.load(tree.map("sub-02"))
    flipped = image.affine.copy()
    flipped[0] *= -1
    flipped[0, 3] = image.affine[0, 3]
    mirrored = image.affine @ np.diag([-1, 1, 1, 1])
    mirrored[:3, 3] += image.affine[:3, 0] * (image.shape[0] - 1)
    nib.Nifti1Image(image.get_fdata()[::-1], mirrored).to_filename(tree.map("sub-05"))
    assert "sub-05" in faults_of(tree, store)


def test_two_scans_of_one_person_may_be_alike(bids_tree, store, write_map):
    tree = bids_tree()
    image = nib.load(tree.map("sub-01"))
    louder = 1.5 * image.get_fdata()
    for session, data in (("ses-1", image.get_fdata()), ("ses-2", louder)):
        write_map(tree.map("sub-01", more=f"{session}_"), data)
    tree.map("sub-01").unlink()
    assert len(open_cohort(read_bids(tree.root, entities={"ses": "any"}), store).scans) == 7


def test_correlations_ignore_missing_voxels():
    values = np.random.default_rng(0).normal(size=(3, 500)).astype(np.float32)
    values[1] = 2 * values[0] + 5
    values[1, :50] = np.nan
    found = correlations(values)
    assert found[0, 1] > 0.93
    assert abs(found[0, 2]) < 0.2


def test_real_map_on_another_grid_is_found_and_real_people_are_not(real_data, tmp_path, write_tsv):
    maps = sorted((real_data / "maps_4mm" / "hcp_emotion").rglob("*.nii.gz"))[:6]
    copy = tmp_path / "copy.nii.gz"
    resample_img(
        nib.load(maps[0]), np.diag([3, 3, 3]), force_resample=True, copy_header=True
    ).to_filename(copy)

    def open_maps(files: list[Path]):
        rows = [
            {"participant_id": f"sub-{k}", "group": ["FM", "HC"][k % 2], "path": str(path)}
            for k, path in enumerate(files)
        ]
        listing = read_image_table(write_tsv(tmp_path / "images.tsv", rows))
        return open_cohort(listing, ScanStore(tmp_path / "store", build_grid(4)))

    assert len(open_maps(maps).scans) == 6
    with pytest.raises(CohortError, match=r"sub-6 .*copy\.nii\.gz\): found the same image as"):
        open_maps([*maps, copy])


def test_large_cohorts_keep_no_file_open_for_each_scan(bids_tree, store):
    """As with ``ulimit -n 1024`` and a thousand scans."""
    tree = bids_tree(n=20)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 15, before[1]))
    try:
        cohort = open_cohort(read_bids(tree.root, entities={"ses": "any"}), store)
        assert cohort.values().shape == (40, 1, store.grid.n_voxels)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert np.array_equal(cohort.values()[7], cohort.stored[7].values(), equal_nan=True)
