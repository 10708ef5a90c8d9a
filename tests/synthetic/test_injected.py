import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.cohort import open_cohort
from fmnet.data.scans import MapsOnGrid
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.errors import CohortError
from fmnet.synthetic.injected import plant, read_injected


@given(st.floats(0, 3), st.integers(0, 99))
def test_planted_people_get_the_pattern_in_units_of_the_spread(amplitude, seed):
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(7, 8)) * np.arange(1, 9)).astype(np.float32)
    pattern = rng.normal(size=8).astype(np.float32)
    is_planted = [True, False, True, True, False, False, False]
    added = plant(values, pattern, is_planted, amplitude) - values
    assert np.allclose(added[[1, 4, 5, 6]], 0)
    steps = added[0] / values.std(axis=0)
    np.testing.assert_allclose(steps, added[2] / values.std(axis=0), atol=1e-3)
    assert np.sqrt(np.mean(steps**2)) == pytest.approx(amplitude, abs=1e-3)
    assert (steps * pattern >= -1e-3).all()


def test_missing_voxels_stay_missing():
    values = np.arange(56, dtype=np.float32).reshape(7, 8)
    values[2, 3] = np.nan
    planted = plant(values, np.ones(8, np.float32), [True] * 7, 1.0)
    assert np.argwhere(np.isnan(planted)).tolist() == [[2, 3]]


@pytest.fixture
def people(tmp_path, write_map):
    """Ten people's maps with a table of paths, and a template on another grid."""
    for number in range(10):
        write_map(tmp_path / f"sub-{number}.nii.gz")
    rows = [f"sub-{number}\tsub-{number}.nii.gz" for number in range(10)]
    (tmp_path / "images.tsv").write_text("participant_id\tpath\n" + "\n".join(rows) + "\n")
    return tmp_path


def read(people, **changes):
    settings = {
        "images": people / "images.tsv",
        "template": people / "sub-0.nii.gz",
        "amplitude": 2.0,
        "voxel_size_mm": 12,
        "root": people / "out",
    }
    return read_injected(**settings | changes)


def test_half_of_the_people_are_planted_and_all_are_listed(people, tmp_path):
    listing = read(people)
    assert sorted(scan.label for scan in listing.scans) == ["plain"] * 5 + ["planted"] * 5
    assert listing.origin == "injected"
    cohort = open_cohort(listing, ArrayStore(tmp_path / "store", MapsOnGrid(build_grid(12), 0.0)))
    assert len(cohort.scans) == 10


def test_same_input_is_made_once_and_other_seeds_draw_others(people):
    before = {scan.scan_id: scan.label for scan in read(people).scans}
    made = sorted((people / "out").rglob("*"))
    assert {scan.scan_id: scan.label for scan in read(people).scans} == before
    assert sorted((people / "out").rglob("*")) == made
    others = [{s.scan_id: s.label for s in read(people, seed=seed).scans} for seed in (1, 2, 3)]
    assert any(labels != before for labels in others)


def test_fewer_people_can_be_drawn(people):
    assert len(read(people, n_subjects=6).scans) == 6
    with pytest.raises(CohortError, match=r"n_subjects: found 11; accepted: at most 10"):
        read(people, n_subjects=11)


def test_all_bad_maps_come_in_one_report(people):
    (people / "sub-3.nii.gz").write_bytes(b"nothing")
    (people / "sub-5.nii.gz").unlink()
    with pytest.raises(CohortError, match=r"(?s)sub-5\.nii\.gz: found no such file"):
        read(people)
    (people / "sub-5.nii.gz").write_bytes(b"nothing")
    with pytest.raises(CohortError, match=r"(?s)2 faults.*sub-3\.nii\.gz.*sub-5\.nii\.gz"):
        read(people)
