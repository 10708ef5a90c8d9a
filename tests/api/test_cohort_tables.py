"""Images and people given in Python become the tables that cohorts are read from."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from fmnet.api.cohort_tables import choose_labels, labels_of, write_tables
from fmnet.api.images import listed, on_disk
from fmnet.data.image_table import read_image_table
from fmnet.errors import InputError

NAME = "sub-{}_contrast-pain_space-MNI152NLin6Asym_stat-t_statmap.nii.gz"


def tables(found):
    return tuple(
        pd.read_csv(found[name], sep="\t", dtype=str) for name in ("images", "participants")
    )


def test_names_say_whose_and_what(tmp_path):
    found = write_tables([NAME.format("b"), NAME.format("a")], tmp_path, y=["FM", "HC"])
    images, people = tables(found)
    assert list(images["participant_id"]) == ["sub-b", "sub-a"]
    assert set(images["contrast"]) == {"pain"}
    assert set(images["space"]) == {"MNI152NLin6Asym"}
    assert list(images["group"]) == ["FM", "HC"]
    assert list(people["participant_id"]) == ["sub-b", "sub-a"]
    assert found["stat"] == "t"


def test_people_are_numbered_where_no_name_says_whose(tmp_path):
    images, _ = tables(write_tables(["one.nii", "two.nii"], tmp_path, y=[1, 0]))
    assert list(images["participant_id"]) == ["sub-001", "sub-002"]
    assert set(images["contrast"]) == {"map"}


def test_rows_of_people_are_those_of_images_without_names(tmp_path):
    people = pd.DataFrame({"participant_id": ["x", "y"], "group": ["FM", "HC"], "age": [40, 50]})
    images, written = tables(write_tables(["one.nii", "two.nii"], tmp_path, participants=people))
    assert list(images["participant_id"]) == ["x", "y"]
    assert list(written["age"]) == ["40", "50"]
    path = tmp_path / "people.tsv"
    people.to_csv(path, sep="\t", index=False)
    assert tables(write_tables(["one.nii", "two.nii"], tmp_path, participants=path))[1].equals(
        written
    )


def test_folders_say_whose_too(tmp_path):
    files = [tmp_path / "sub-7" / "func" / "con_0001.nii", tmp_path / "sub-8" / "con_0001.nii"]
    images, _ = tables(write_tables(files, tmp_path))
    assert list(images["participant_id"]) == ["sub-7", "sub-8"]


def test_sessions_of_a_person_stay_one_person(tmp_path):
    names = [f"sub-1_ses-{ses}_statmap.nii.gz" for ses in ("pre", "post")]
    images, people = tables(write_tables(names, tmp_path, y=["a", "b"]))
    assert list(images["ses"]) == ["pre", "post"]
    assert len(people) == 1


def test_columns_of_a_table_that_are_of_people_go_there(tmp_path):
    frame = pd.DataFrame(
        {
            "participant_id": ["p", "p", "q", "q"],
            "path": ["1.nii", "2.nii", "3.nii", "4.nii"],
            "contrast": ["warm", "cold"] * 2,
            "run": ["1", "1", "1", "1"],
            "group": ["FM", "FM", "HC", "HC"],
            "age": [30, 30, None, None],
        }
    )
    images, people = tables(write_tables(frame, tmp_path, groups=["f", "f", "g", "g"]))
    assert list(images) == ["participant_id", "path", "contrast", "run", "group"]
    assert list(people) == ["participant_id", "age", "family"]
    assert list(people["family"]) == ["f", "g"]
    assert np.isnan(float(people["age"][1]))
    assert images["path"].str.startswith("/").all()


def test_families_join_the_people_that_were_given(tmp_path):
    people = pd.DataFrame({"participant_id": ["x", "y"], "group": ["FM", "HC"]})
    found = write_tables(["one.nii", "two.nii"], tmp_path, participants=people, groups=[3, 3])
    images, written = tables(found)
    assert list(written["family"]) == ["3", "3"]
    assert "family" not in images


@pytest.mark.parametrize("ids", [[2, 1], ["sub-2", "1"]])
def test_families_find_people_however_ids_are_written(tmp_path, ids):
    people = pd.DataFrame({"participant_id": ids})
    names = [NAME.format(one) for one in (1, 2)]
    _, written = tables(write_tables(names, tmp_path, None, people, groups=["a", "b"]))
    assert list(written["family"]) == ["b", "a"]


def test_several_maps_of_a_scan_need_names(tmp_path):
    pairs = [("a1.nii", "a2.nii"), ("b1.nii", "b2.nii")]
    images, _ = tables(write_tables(pairs, tmp_path, y=[0, 1], contrasts=["warm", "cold"]))
    assert list(images["contrast"]) == ["warm", "cold"] * 2
    assert list(images["group"]) == ["0", "0", "1", "1"]
    with pytest.raises(InputError, match="contrasts=\\[NAME"):
        write_tables(pairs, tmp_path)
    with pytest.raises(InputError, match="2 images for a1"):
        write_tables(pairs, tmp_path, contrasts=["warm"])


def test_contrasts_that_names_state_are_never_mixed_up(tmp_path):
    names = ["sub-1_contrast-{}_statmap.nii", "sub-1_contrast-{}_stat-z_statmap.nii"]
    pair = [one.format(contrast) for one, contrast in zip(names, ("warm", "cold"), strict=True)]
    images, _ = tables(write_tables([pair], tmp_path, contrasts=["cold", "warm"]))
    assert list(images["contrast"]) == ["cold", "warm"]
    assert ["warm" in path for path in images["path"]] == [False, True]
    images, _ = tables(write_tables([pair], tmp_path, contrasts=["a", "b"]))  # names of one's own
    assert list(images["contrast"]) == ["a", "b"]
    with pytest.raises(InputError, match="contrast 'cold' whose name says 'warm'"):
        write_tables([[pair[0], "other.nii"]], tmp_path, contrasts=["cold", "warm"])


def test_images_in_memory_are_written_where_they_stay(tmp_path):
    images = [nib.Nifti1Image(np.full((7, 8, 9), k, np.float32), np.eye(4)) for k in (1, 2)]
    nib.save(images[1], tmp_path / NAME.format("z"))
    with pytest.raises(InputError, match="1 of 2 scans whose names don't say whose"):
        write_tables(images, tmp_path / "in")
    found, _ = tables(write_tables(images[1:], tmp_path / "in"))
    assert list(found["participant_id"]) == ["sub-z"]
    assert nib.load(found["path"][0]).get_fdata().mean() == 2
    assert found["path"][0].startswith(str(tmp_path / "in"))


def test_real_numbers_stay_real_under_a_header_of_integers(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    values = np.random.default_rng(0).normal(size=(7, 8, 9)).astype(np.float32)
    found, _ = tables(write_tables([nib.Nifti1Image(values, np.eye(4), header)], tmp_path))
    assert np.array_equal(nib.load(found["path"][0]).get_fdata(dtype=np.float32), values)


def test_a_reader_takes_what_was_written(tmp_path):
    names = [NAME.format(one) for one in "abcd"]
    found = write_tables(names, tmp_path, y=[True, False, True, False])
    listing = read_image_table(
        found["images"], found["participants"], positive="True", negative="False"
    )
    assert not listing.faults
    assert [scan.label for scan in listing.scans] == ["True", "False", "True", "False"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": ["a"]}, "1 values for 2 scans"),
        ({"groups": [1, 2, 3]}, "3 values for 2 scans"),
        ({"participants": pd.DataFrame({"id": [1]})}, "no column participant_id"),
        ({"participants": 3}, "int"),
        (
            {
                "participants": pd.DataFrame({"participant_id": ["a", "b"], "family": ["c", "d"]}),
                "groups": [1, 2],
            },
            "groups, and a column 'family'",
        ),
        ({"images": [NAME.format("a")] * 2, "groups": [1, 2]}, "different ones for scans of a"),
        ({"participants": pd.DataFrame({"participant_id": ["x"]})}, "2 scans .* and 1 people"),
        ({"images": pd.DataFrame({"participant_id": ["x"]})}, "without path"),
        ({"images": [NAME.format("a"), "b.nii"]}, "1 of 2 scans"),
    ],
)
def test_says_what_does_not_fit_together(tmp_path, change, message):
    given = {"images": ["one.nii", "two.nii"]} | change
    with pytest.raises(InputError, match=message):
        write_tables(given.pop("images"), tmp_path, **given)


@pytest.mark.parametrize(
    ("values", "positive", "chosen"),
    [
        (["HC", "FM"], None, ("FM", None)),
        (["HC", "FM", "RA"], None, ("FM", "HC")),
        (["RA", "FM", "HC"], "RA", ("RA", "HC")),
        (["b", "a", ""], None, ("b", None)),
        ([0, 1], None, ("1", None)),
        ([False, True], None, ("True", None)),
        ([10, 9], None, ("10", None)),
        ([0, 1], 0, ("0", None)),
    ],
)
def test_the_positive_group(values, positive, chosen):
    assert choose_labels(values, positive) == chosen


def test_three_groups_need_a_choice():
    with pytest.raises(InputError, match="3 groups: a, b, c"):
        choose_labels(["a", "b", "c"])


def test_labels_come_from_the_first_table_that_has_some(tmp_path):
    paths = [tmp_path / "one.tsv", tmp_path / "two.tsv"]
    pd.DataFrame({"participant_id": ["x"], "path": ["x.nii"]}).to_csv(paths[0], sep="\t")
    pd.DataFrame({"participant_id": ["x"], "arm": ["drug"]}).to_csv(paths[1], sep="\t")
    assert labels_of(paths, "arm") == ["drug"]
    assert labels_of([tmp_path / "nowhere.tsv"], "arm") == []


def test_volumes_are_scans_unless_they_are_a_run(tmp_path):
    image = nib.Nifti1Image(np.zeros((7, 8, 9, 3), np.float32), np.eye(4))
    assert len(listed(image)) == 3
    assert len(listed(image, splits=False)) == 1
    ((first,), *_) = on_disk(listed(image), tmp_path)
    assert nib.load(first.path).shape == (7, 8, 9)
