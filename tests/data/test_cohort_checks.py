import os
import resource
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.image import resample_img

from fmnet.data.bids import read_bids
from fmnet.data.cohort import open_cohort
from fmnet.data.cohort_checks import correlations, look_alikes
from fmnet.data.image_table import read_image_table
from fmnet.data.scans import MapsOnGrid, Scan
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.data.values import has_usual_unit, image_scale
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
        return open_cohort(listing, ArrayStore(tmp_path / "store", MapsOnGrid(build_grid(4))))

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


def alike_in(values, own, people=None):
    """Find look-alikes in values (N, C, V) of people by number; return whom each group is of."""
    people = [f"sub-{k:02}" for k in range(len(values))] if people is None else people
    scans = [
        Scan(f"scan-{k}", person, (), "MNI152", ["HC", "FM"][k % 3 % 2])
        for k, person in enumerate(people)
    ]
    stored = {
        scan.scan_id: SimpleNamespace(values=lambda k=k: values[k]) for k, scan in enumerate(scans)
    }
    number = {scan.participant_id: k for k, scan in enumerate(scans)}
    found = look_alikes(scans, stored)
    assert all(0.6 <= group.correlation <= 1 for group in found)
    return [{own[number[person]] for person in group.people} for group in found], found


def people_of(rng, n, n_channels=1, n_voxels=3000, n_factors=3):
    """Maps with a common part and a few patterns that people have more or less of."""
    factors = rng.normal(size=(n_factors, n_channels, n_voxels))
    shared = np.tensordot(rng.normal(size=(n, n_factors)), factors, 1)
    common = rng.normal(size=(n_channels, n_voxels))
    return common + 0.2 * shared + rng.normal(size=(n, n_channels, n_voxels))


@pytest.mark.parametrize("n_names", [2, 3])
@pytest.mark.parametrize("n_twice", [3, 10, 20])
def test_people_under_several_names_are_found(n_names, n_twice):
    rng = np.random.default_rng(n_names + n_twice)
    own = [*range(20), *[k for k in range(n_twice) for _ in range(n_names - 1)]]
    values = people_of(rng, 20)[own] + 0.4 * rng.normal(size=(len(own), 1, 3000))
    groups, found = alike_in(values, own)
    assert sorted(groups, key=min) == [{k} for k in range(n_twice)]
    assert all(len(group.people) == n_names for group in found)
    assert all(group.next_correlation < 0.5 for group in found)


@pytest.mark.parametrize("n_factors", [2, 5, 8])
def test_unrelated_people_and_twins_are_not_taken_for_one(n_factors):
    rng = np.random.default_rng(n_factors)
    values = people_of(rng, 24, n_factors=n_factors)
    values[1] += 1.2 * (values[0] - values.mean(axis=0))  # as alike as sessions or twins are
    values[1] += 1.5 * rng.normal(size=values[1].shape)
    assert alike_in(values, range(24)) == ([], [])


def test_one_contrast_of_several_is_enough_and_units_and_gaps_dont_matter():
    rng = np.random.default_rng(0)
    values = people_of(rng, 20, n_channels=2)
    values[7, 1] = 1000 * (values[3, 1] + 0.4 * rng.normal(size=3000)) + 5
    values[7, 1, :300] = np.nan
    _, (found,) = alike_in(values, range(20))
    assert found.people == ("sub-03", "sub-07")
    assert found.labels == ("HC", "FM")


def test_scans_of_one_person_are_one_person():
    rng = np.random.default_rng(1)
    values = people_of(rng, 20)[[*range(20), *range(20)]]
    values = values + 0.4 * rng.normal(size=values.shape)
    people = [f"sub-{k % 20:02}" for k in range(40)]
    assert alike_in(values, [*range(20), *range(20)], people) == ([], [])
    people[35] = "sub-other"
    _, (found,) = alike_in(values, [*range(20), *range(20)], people)
    assert found.people == ("sub-15", "sub-other")


def test_few_people_cant_be_told_from_one():
    rng = np.random.default_rng(2)
    assert alike_in(people_of(rng, 5)[[0, 0, 1, 2, 3]], range(5)) == ([], [])


@pytest.mark.parametrize("folder", ["hcp_emotion", "langloc_asl_12mm", "pain_predictive"])
def test_real_people_are_not_taken_for_one(real_data, folder):
    root = real_data / "maps_4mm"
    table = pd.read_csv(root / folder / "images.tsv", sep="\t", dtype=str)
    table = table.head(70)
    mask = np.asarray(nib.load(root / "mask_4mm.nii.gz").dataobj) > 0
    maps = [nib.load(root / folder / path).get_fdata()[mask] for path in table["path"]]
    people = table["participant_id"].tolist()
    values = np.stack(maps)[:, None].astype(np.float32)
    values[values == 0] = np.nan
    assert alike_in(values, range(len(people)), people)[1] == []


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
