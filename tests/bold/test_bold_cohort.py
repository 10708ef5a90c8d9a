import shutil
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from run_tree import CONFOUNDS, IMAGE, MASK

from fmnet.bold.bold_cohort import read_bold
from fmnet.bold.settings import CleaningSettings
from fmnet.data.cohort import open_cohort
from fmnet.data.scans import FILE_SEPARATOR
from fmnet.data.store import ArrayStore
from fmnet.errors import CohortError, ConfigError

MOTION = CleaningSettings("motion6", 0.01, 0.1, None, 50)
SPACE = "MNI152NLin2009aSym"


def read(root, maps=("temporal_sd",), **options):
    return read_bold(root, cleaning=MOTION, maps=maps, **options)


@pytest.fixture
def open_tree(tmp_path, coarse_grid):
    """Open the cohort of a tree."""

    def open_root(root, **options):
        listing = read(root, **options)
        return open_cohort(
            listing, ArrayStore(tmp_path / "store", listing.recipe(coarse_grid, 0.5))
        )

    return open_root


# what is listed --------------------------------------------------------------------------------


def test_runs_of_a_person_and_session_are_one_scan(grow_tree):
    tree = grow_tree(
        a={"ses-1 run-1": 1, "ses-1 run-2": 2, "ses-1 run-10": 3, "ses-2 run-1": 4}, b={"ses-1": 5}
    )
    listing = read(tree.root, sessions=["1"])
    assert [scan.scan_id for scan in listing.scans] == [
        "sub-a_ses-1_task-rest",
        "sub-b_ses-1_task-rest",
    ]
    runs = [path.name.split("_")[3] for path in listing.scans[0].files]
    assert runs == ["run-1", "run-2", "run-10"]
    assert all(scan.is_series and scan.space == SPACE for scan in listing.scans)
    assert listing.faults == ()


def test_each_session_is_a_scan_of_its_own(grow_tree, open_tree):
    tree = grow_tree(a={"ses-1": 1, "ses-2": 2}, b={"ses-1": 3, "ses-2": 4})
    cohort = open_tree(tree.root, sessions=["1", "ses-2"])
    assert cohort.participant_ids == ["sub-a", "sub-a", "sub-b", "sub-b"]
    assert cohort.labels.tolist() == [1, 1, 0, 0]
    moved = [stored.facts["mean_framewise_displacement"] for stored in cohort.stored]
    columns = [float(text) for text in cohort.covariate("mean_framewise_displacement")]
    expected = np.mean(np.reshape(moved, (2, 2)), axis=1)
    np.testing.assert_allclose(columns, np.repeat(expected, 2), rtol=1e-4)


def test_listing_says_how_maps_are_made(rest_people, tmp_path):
    listing = read(rest_people, ("alff", "seed:pcc=0,-52,26"), raw=tmp_path)
    assert listing.contrasts == ("alff", "seed-pcc")
    assert listing.origin == "synthetic"
    maps = ["alff", "seed:pcc=0,-52,26"]
    expected = {"cleaning": asdict(MOTION), "maps": maps, "raw": str(tmp_path)}
    assert listing.made_by == expected
    assert read(rest_people).made_by["raw"] is None


def test_raw_data_set_may_lie_anywhere(grow_tree, pain_people, tmp_path):
    tree, raw = grow_tree(), tmp_path / "elsewhere"
    tree.plant(pain_people / "sub-synthetic001" / "func", "sub-a")
    for path in tree.root.rglob("*_events.tsv"):
        (raw / "sub-a" / "func").mkdir(parents=True, exist_ok=True)
        shutil.move(path, raw / "sub-a" / "func")
    (raw / "participants.tsv").write_text("participant_id\tgroup\nsub-a\tFM\n")
    listing = read(tree.root, raw=raw)
    runs = listing.recipe(None, 0.5).runs["sub-a_task-pain"]
    assert [run.events.parent for run in runs] == [raw / "sub-a" / "func"] * 2


# a good cohort ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort(rest_people, tmp_path_factory, coarse_grid):
    """All eight people; their maps are alike, which makes them no duplicates."""
    listing = read(rest_people, ("temporal_sd", "alff"))
    store = ArrayStore(tmp_path_factory.mktemp("store"), listing.recipe(coarse_grid, 0.5))
    return open_cohort(listing, store, n_jobs=2)


def test_opens_maps_and_series(cohort, coarse_grid):
    assert cohort.values().shape == (8, 2, coarse_grid.n_voxels)
    assert [series.n_volumes for series in cohort.series] == [58] * 8
    assert {series.t_r for series in cohort.series} == {2.0}
    assert sorted(cohort.labels) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert all(stored.tsnr[0] < stored.tsnr[1] < stored.tsnr[2] for stored in cohort.stored)
    table = cohort.table()
    assert set(table["used"]) == {"yes"}
    assert set(table["space"]) == {SPACE}
    assert [text.endswith(IMAGE) for text in table["files"]] == [True] * 8
    assert [len(text.split(",")) for text in table["source_sha256"]] == [4] * 8


def test_motion_is_added_to_the_table_of_people(cohort, rest_people):
    truth = pd.read_csv(rest_people / "truth" / "people.tsv", sep="\t")
    moved = [float(text) for text in cohort.covariate("mean_framewise_displacement")]
    np.testing.assert_allclose(moved, truth["mean_framewise_displacement"], rtol=0.05)
    assert cohort.covariate("share_scrubbed") == ["0"] * 8
    assert cohort.covariate("n_volumes_kept") == ["58"] * 8


def test_motion_that_the_table_states_is_kept(grow_tree, open_tree):
    tree = grow_tree(a=1, b=2)
    path = tree.root / "participants.tsv"
    table = pd.read_csv(path, sep="\t").assign(mean_framewise_displacement=[0.5, None])
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    cohort = open_tree(tree.root)
    assert cohort.covariate("mean_framewise_displacement") == ["0.5", ""]
    assert cohort.covariate("n_volumes_kept") == ["58", "58"]


# what is wrong ---------------------------------------------------------------------------------


@pytest.fixture
def spoilt(grow_tree):
    """Two good people, and one for each thing that may be wrong."""
    tree = grow_tree(a=1, b=2, c=3, d=4, e=5, f=6, g=7, h=8, i={})
    tree.file("c", CONFOUNDS).unlink()
    tree.file("d", MASK).unlink()
    tree.cut("e", 45)
    image = tree.file("f", IMAGE)
    image.write_bytes(image.read_bytes()[:3000])
    tree.state_t_r("g", 3.0)
    table = tree.root / "participants.tsv"
    table.write_text(table.read_text().replace("sub-h\tHC", "sub-h\tn/a"))
    (tree.root / "sub-i").mkdir()
    return tree


FAULTS = {
    "sub-c": "found no confounds beside the image",
    "sub-d": "found no mask beside the image",
    "sub-e": "found 43 of 45 volumes left without 2 non-steady",
    "sub-f": "damaged or truncated",
    "sub-g": "a repetition time of 3 s; accepted: 2 s, as for",
    "sub-h": "no label in column 'group'",
    "sub-i": "found no run of task 'rest'",
}


def test_all_faults_of_all_people_come_at_once(spoilt, open_tree):
    with pytest.raises(CohortError) as caught:
        open_tree(spoilt.root)
    for person, text in FAULTS.items():
        own = [fault for fault in caught.value.faults if fault.participant_id == person]
        assert any(text in str(fault) for fault in own), (person, own)
        assert person in str(own[0])


def test_people_with_faults_are_left_out_if_so_asked(spoilt, open_tree):
    cohort = open_tree(spoilt.root, on_fault="exclude")
    assert cohort.participant_ids == ["sub-a", "sub-b"]
    table = cohort.table().set_index("participant_id")
    assert set(table.index) == {"sub-a", "sub-b", *FAULTS}
    for person, text in FAULTS.items():
        assert table.at[person, "used"] == "no"
        assert text in table.at[person, "reason"]


def test_class_without_anybody_left_is_refused_with_the_reasons(grow_tree, open_tree):
    tree = grow_tree(a=1, b=2)
    tree.file("b", CONFOUNDS).unlink()
    with pytest.raises(CohortError, match=r"class 'HC': found no scan left(.|\n)*no confounds"):
        open_tree(tree.root, on_fault="exclude")


def test_same_run_under_two_names_is_found(grow_tree, open_tree):
    tree = grow_tree(a=1, b=2, c=1)
    with pytest.raises(CohortError) as caught:
        open_tree(tree.root)
    assert [fault.participant_id for fault in caught.value.faults] == ["sub-a", "sub-c"]
    for fault, other in zip(caught.value.faults, ("sub-c", "sub-a"), strict=True):
        assert fault.found == f"the same image as {tree.file(other[4:], IMAGE)}"


def test_one_of_several_runs_of_somebody_else_is_found(grow_tree, open_tree):
    tree = grow_tree(a={"run-1": 1, "run-2": 2}, b={"run-1": 3, "run-2": 2}, c=4)
    tree.other_confounds("b", "run-2")
    with pytest.raises(CohortError) as caught:
        open_tree(tree.root)
    assert [fault.participant_id for fault in caught.value.faults] == ["sub-a", "sub-b"]
    assert FILE_SEPARATOR in caught.value.faults[0].found


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maps": ("alf",)}, ConfigError, r"cohort\.maps: found 'alf'"),
        ({"task": "pain"}, CohortError, "pain"),
        ({"space": "MNI152NLin6Asym"}, CohortError, "MNI152NLin6Asym"),
        ({"label": "participant_id"}, CohortError, "participant_id"),
        ({"participants": "absent.tsv"}, CohortError, "absent.tsv"),
    ],
)
def test_settings_that_fit_nothing_are_refused(rest_people, options, error, message):
    with pytest.raises(error, match=message):
        read(rest_people, **options)


def test_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CohortError, match="no such folder"):
        read(tmp_path / "absent")
