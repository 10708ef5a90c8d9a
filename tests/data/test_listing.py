import pandas as pd
import pytest

from fmnet.data.listing import MapTable, build_listing, group_scans


def maps_of(*people, contrasts=("pain",), **columns):
    """Build one map per person and contrast; columns override what rows say."""
    rows = [
        {
            "participant_id": person,
            "scan_id": person,
            "contrast": contrast,
            "space": "MNI152",
            "path": f"{person}_{contrast}.nii",
        }
        for person in people
        for contrast in contrasts
    ]
    return MapTable(pd.DataFrame(rows).assign(**columns), contrasts)


def people_of(**groups):
    """Build the participants table: an underscore stands for the hyphen of sub-01."""
    rows = [
        {"participant_id": person.replace("_", "-"), "group": group}
        for person, group in groups.items()
    ]
    return pd.DataFrame(rows)


FOUR = ("sub-01", "sub-02", "sub-03", "sub-04")
GROUPS = {"sub_01": "FM", "sub_02": "FM", "sub_03": "HC", "sub_04": "HC"}


def listing_of(maps=None, participants=None, positive="FM", negative="HC"):
    maps = maps_of(*FOUR) if maps is None else maps
    participants = people_of(**GROUPS) if participants is None else participants
    return build_listing(maps, participants, "group", positive, negative)


def texts(listing):
    return [str(fault) for fault in listing.faults]


def test_lists_scans_with_labels():
    listing = listing_of(maps_of(*FOUR, contrasts=("pain", "visual")))
    assert listing.faults == ()
    assert [scan.label for scan in listing.scans] == ["FM", "FM", "HC", "HC"]
    assert [file.name for file in listing.scans[0].files] == [
        "sub-01_pain.nii",
        "sub-01_visual.nii",
    ]
    assert listing.contrasts == ("pain", "visual")


def test_cells_that_are_no_numbers_are_faults_of_the_table():
    people = people_of(**GROUPS).assign(age=["31", "44", "<18", "52"], fd=["0,2", "0,3", "", "0,1"])
    (fault,) = listing_of(participants=people).faults
    assert str(fault).startswith(
        "participants.tsv: found no numbers in column 'age': '<18' for sub-03; accepted: numbers"
    )
    assert fault.participant_id == ""


def test_label_may_be_what_elsewhere_stands_for_missing():
    groups = dict(zip(GROUPS, ("1", "1", "-9", "-9"), strict=True))
    assert listing_of(None, people_of(**groups), "1", "-9").faults == ()


def test_channels_follow_the_order_of_the_contrasts_asked_for():
    maps = maps_of("sub-01", contrasts=("pain", "visual"))
    scans, faults = group_scans(MapTable(maps.rows, ("visual", "pain")))
    assert faults == []
    assert [file.name for file in scans[0].files] == ["sub-01_visual.nii", "sub-01_pain.nii"]


@pytest.mark.parametrize("prefix", ["", "sub-"])
def test_prefix_of_the_id_does_not_matter(prefix):
    people = people_of(**GROUPS)
    people["participant_id"] = prefix + people["participant_id"].str.removeprefix("sub-")
    listing = listing_of(participants=people)
    assert listing.faults == ()
    assert [scan.label for scan in listing.scans] == ["FM", "FM", "HC", "HC"]


def test_names_missing_contrast_of_one_person():
    maps = maps_of(*FOUR, contrasts=("pain", "visual"))
    maps.rows = maps.rows.drop(index=3)
    listing = listing_of(maps)
    assert "sub-02: found 0 of 'visual' (files: sub-02_pain.nii)" in texts(listing)[0]
    assert {fault.participant_id for fault in listing.faults} == {"sub-02"}
    assert [scan.scan_id for scan in listing.scans] == ["sub-01", "sub-03", "sub-04"]


def test_names_both_files_of_a_scan_given_twice():
    maps = maps_of(*FOUR)
    twice = maps.rows.iloc[[0]].assign(path="elsewhere/sub-01_pain.nii")
    maps.rows = pd.concat([maps.rows, twice])
    listing = listing_of(maps)
    expected = "sub-01: found 2 of 'pain' (files: sub-01_pain.nii, elsewhere/sub-01_pain.nii)"
    assert expected in texts(listing)[0]


def test_names_person_with_two_rows():
    people = pd.concat([people_of(**GROUPS), people_of(sub_03="FM")])
    listing = listing_of(participants=people)
    assert [fault.participant_id for fault in listing.faults] == ["sub-03"]
    assert "sub-03: found 2 rows in participants.tsv" in texts(listing)[0]


def test_same_person_with_and_without_prefix_is_named():
    people = pd.concat(
        [people_of(**GROUPS), pd.DataFrame([{"participant_id": "03", "group": "HC"}])]
    )
    listing = listing_of(participants=people)
    assert any("found 2 rows in participants.tsv" in text for text in texts(listing))


def test_names_scan_without_person():
    listing = listing_of(maps_of(*FOUR, "sub-05"))
    assert "sub-05: found maps but no row in participants.tsv" in texts(listing)[0]
    assert {fault.participant_id for fault in listing.faults} == {"sub-05"}


def test_names_person_without_scan():
    listing = listing_of(maps_of(*FOUR[:3]))
    assert [fault.participant_id for fault in listing.faults] == ["sub-04"]
    assert "sub-04: found no map" in texts(listing)[0]


@pytest.mark.parametrize(
    ("value", "found"), [("", "no label in column 'group'"), ("FMS", "label 'FMS'")]
)
def test_names_missing_or_unknown_label(value, found):
    listing = listing_of(participants=people_of(**GROUPS | {"sub_02": value}))
    assert texts(listing)[0].startswith(f"sub-02: found {found}; accepted: 'FM' or 'HC'")
    assert [fault.participant_id for fault in listing.faults] == ["sub-02"]


def test_negative_may_be_left_out_of_two_values():
    listing = listing_of(negative=None)
    assert listing.faults == ()
    assert listing.labels.negative == "HC"


def test_asks_for_the_negative_among_three_values():
    participants = people_of(**GROUPS | {"sub_02": "LBP"})
    listing = listing_of(participants=participants, negative=None)
    assert len(listing.faults) == 1
    expected = "label column 'group': found 'FM' (1), 'HC' (2), 'LBP' (1); accepted: two classes"
    assert texts(listing)[0].startswith(expected)
    assert "cohort.negative=VALUE" in texts(listing)[0]
    assert listing.faults[0].participant_id == ""


@pytest.mark.parametrize("negative", [None, "HC"])
@pytest.mark.parametrize("only", ["FM", "HC"])
def test_refuses_one_class_only(only, negative):
    participants = people_of(**dict.fromkeys(GROUPS, only))
    listing = listing_of(participants=participants, negative=negative)
    assert "label column 'group': found" in texts(listing)[0]
    assert f"'{only}' (4)" in texts(listing)[0]


def test_names_class_that_does_not_occur():
    listing = listing_of(positive="fibromyalgia")
    expected = "label column 'group': found 'FM' (2), 'HC' (2); accepted: both classes present"
    assert texts(listing)[0].startswith(expected)
    assert "'fibromyalgia' doesn't occur" in texts(listing)[0]


def test_refuses_the_same_value_for_both_classes():
    listing = listing_of(negative="FM")
    assert "label column 'group': found 'FM' for both classes" in texts(listing)[0]
    assert listing.faults[0].participant_id == ""


def test_labels_may_be_numbers():
    participants = people_of(sub_01="1", sub_02="1", sub_03="0", sub_04="0")
    listing = listing_of(participants=participants, positive=1, negative=0)
    assert listing.faults == ()
    assert (listing.labels.positive, listing.labels.negative) == ("1", "0")


def test_names_scan_in_wrong_space():
    spaces = ["MNI152", "T1w", "MNI152", "MNI152"]
    listing = listing_of(maps_of(*FOUR, space=spaces))
    assert texts(listing)[0].startswith("sub-02: found space 'T1w'; accepted: MNI152, ")
    assert [fault.participant_id for fault in listing.faults] == ["sub-02"]


def test_names_mixed_spaces():
    spaces = ["MNI152NLin6Asym", "MNI152NLin6Asym", "MNI152NLin2009cAsym", "MNI152NLin6Asym"]
    listing = listing_of(maps_of(*FOUR, space=spaces))
    expected = "space 'MNI152NLin2009cAsym'; accepted: 'MNI152NLin6Asym', as for 3 other scans"
    assert expected in texts(listing)[0]
    assert [fault.participant_id for fault in listing.faults] == ["sub-03"]


def test_names_spaces_of_which_none_is_more_frequent():
    listing = listing_of(maps_of(*FOUR, space=["MNI152NLin6Asym", "MNI152NLin2009cAsym"] * 2))
    assert [fault.participant_id for fault in listing.faults] == [""]
    assert "'MNI152NLin6Asym' (2), 'MNI152NLin2009cAsym' (2)" in texts(listing)[0]


@pytest.mark.parametrize("second", ["T1w", "MNI152NLin6Asym"])
def test_names_scan_whose_contrasts_are_in_different_spaces(second):
    maps = maps_of(*FOUR, contrasts=("pain", "visual"))
    maps.rows.loc[3, "space"] = second
    listing = listing_of(maps)
    assert f"sub-02: found maps in several spaces: 'MNI152', '{second}'" in texts(listing)[0]
    assert {fault.participant_id for fault in listing.faults} == {"sub-02"}
    assert "sub-02" not in {scan.scan_id for scan in listing.scans}


def test_label_may_belong_to_the_map():
    people = ("sub-01", "sub-01", "sub-02", "sub-02")
    maps = maps_of(*people, label=["FM", "HC", "FM", "HC"], scan_id=list("abcd"))
    participants = pd.DataFrame({"participant_id": ["sub-01", "sub-02"]})
    listing = listing_of(maps, participants)
    assert listing.faults == ()
    assert [(scan.participant_id, scan.label) for scan in listing.scans] == [
        ("sub-01", "FM"),
        ("sub-01", "HC"),
        ("sub-02", "FM"),
        ("sub-02", "HC"),
    ]


def test_no_person_at_all():
    participants = pd.DataFrame({"participant_id": [], "group": []}, dtype=str)
    listing = listing_of(participants=participants)
    found = " ".join(texts(listing))
    assert all(f"{person}: found maps but no row" in found for person in FOUR)
    assert "label column 'group': found no value" in found


def test_collects_every_fault():
    maps = maps_of(*FOUR[:3], "sub-06", space=["MNI152", "T1w", "MNI152", "MNI152"])
    listing = listing_of(maps, people_of(**GROUPS | {"sub_01": ""}))
    named = {fault.participant_id for fault in listing.faults}
    assert named == {"sub-01", "sub-02", "sub-04", "sub-06"}


@pytest.mark.parametrize(
    ("asked", "written"),
    [((1, 0), ("1.0", "0.0")), ((True, False), ("TRUE", "FALSE")), (("1.0", "0.0"), ("1", "0"))],
)
def test_labels_are_found_as_the_table_writes_them(asked, written):
    people = people_of(**dict(zip(GROUPS, (*written, *written), strict=True)))
    listing = listing_of(None, people, *asked)
    assert listing.faults == ()
    assert (listing.labels.positive, listing.labels.negative) == written


def test_label_that_two_tables_contradict_is_a_fault_of_its_person():
    maps = maps_of(*FOUR, label=["FM", "FM", "HC", "FM"])
    people = people_of(**dict(zip(GROUPS, ("FM", "FM", "HC", "HC"), strict=True)))
    (fault,) = listing_of(maps, people).faults
    assert fault.found == "label 'FM' in the table of maps and 'HC' in participants.tsv"
    assert fault.participant_id == FOUR[-1]


def test_ids_that_differ_in_capitals_or_zeros_are_told():
    people = pd.DataFrame({"participant_id": ["sub-A", "sub-a", "sub-7"], "group": list("xyx")})
    listing = listing_of(maps_of("sub-A", "sub-a", "sub-07"), people, "x", "y")
    assert [fault.participant_id for fault in listing.faults] == [
        "sub-7", "sub-07", "sub-A", "sub-a",
    ]  # fmt: skip
    assert "is it 'sub-07'? capitals and zeros" in listing.faults[0].action
    assert "is it 'sub-7'? capitals and zeros" in listing.faults[1].action
    assert listing.faults[2].found == "an id that differs from 'sub-a' in capitals alone"


def test_wrong_choice_of_labels_is_told_once():
    (fault,) = listing_of(positive="pain", negative="none").faults
    assert "'FM' (2), 'HC' (2)" in fault.found
