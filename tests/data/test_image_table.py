import pandas as pd
import pytest

from fmnet.data.image_table import find_table_maps, read_image_table
from fmnet.data.tables import subject_key
from fmnet.errors import CohortError


@pytest.fixture
def images(tmp_path, write_tsv):
    """Write images.tsv from columns."""

    def write(**columns):
        rows = pd.DataFrame(columns).to_dict("records")
        return write_tsv(tmp_path / "tables" / "images.tsv", rows)

    return write


@pytest.fixture
def participants(tmp_path, write_tsv):
    """Write participants.tsv from a mapping of ids to groups."""

    def write(groups):
        rows = [{"participant_id": person, "group": group} for person, group in groups.items()]
        return write_tsv(tmp_path / "participants.tsv", rows)

    return write


def test_lists_a_table_with_labels(images, tmp_path):
    table = images(participant_id=["01", "02"], path=["a.nii", "sub/b.nii"], group=["FM", "HC"])
    listing = read_image_table(table, stat="t")
    assert listing.faults == ()
    assert (listing.contrasts, listing.stat) == (("map",), "t")
    assert [scan.files for scan in listing.scans] == [
        (tmp_path / "tables" / "a.nii",),
        (tmp_path / "tables" / "sub" / "b.nii",),
    ]
    assert [(scan.participant_id, scan.label) for scan in listing.scans] == [
        ("01", "FM"),
        ("02", "HC"),
    ]


def test_absolute_paths_stay(images):
    table = images(participant_id=["01", "02"], path=["/data/a.nii", "b.nii"], group=["FM", "HC"])
    assert str(read_image_table(table).scans[0].files[0]) == "/data/a.nii"


def test_labels_come_from_participants(images, participants):
    table = images(participant_id=["sub-01", "sub-02"], path=["a.nii", "b.nii"])
    listing = read_image_table(table, participants({"01": "FM", "02": "HC"}))
    assert listing.faults == ()
    assert [scan.label for scan in listing.scans] == ["FM", "HC"]


def test_reads_commas(tmp_path):
    path = tmp_path / "images.csv"
    path.write_text("participant_id,path,group\n01,a.nii,FM\n02,b.nii,HC\n")
    assert len(read_image_table(path).scans) == 2


def test_contrasts_become_channels(images):
    table = images(
        participant_id=["01", "01", "02", "02"],
        contrast=["pain", "visual", "visual", "pain"],
        path=["a.nii", "b.nii", "c.nii", "d.nii"],
        group=["FM", "FM", "HC", "HC"],
    )
    listing = read_image_table(table)
    assert listing.faults == ()
    assert listing.contrasts == ("pain", "visual")
    assert [[file.name for file in scan.files] for scan in listing.scans] == [
        ["a.nii", "b.nii"],
        ["d.nii", "c.nii"],
    ]
    chosen = read_image_table(table, contrasts=["visual"])
    assert chosen.contrasts == ("visual",)
    assert [scan.files[0].name for scan in chosen.scans] == ["b.nii", "c.nii"]


def test_other_columns_tell_scans_of_a_person_apart(images):
    table = images(
        participant_id=["01", "01", "02", "02"],
        session=["before", "after", "before", None],
        scanner=["A"] * 4,
        path=["a.nii", "b.nii", "c.nii", "d.nii"],
        group=["FM", "FM", "HC", "HC"],
    )
    listing = read_image_table(table)
    assert listing.faults == ()
    assert [scan.scan_id for scan in listing.scans] == [
        "01_session-after",
        "01_session-before",
        "02_session-before",
        "02_session-none",
    ]


def test_label_may_differ_within_a_person(images):
    table = images(
        participant_id=["01", "01", "02", "02"],
        task=["heat", "rest", "heat", "rest"],
        path=["a.nii", "b.nii", "c.nii", "d.nii"],
    )
    listing = read_image_table(table, label="task", positive="heat")
    assert listing.faults == ()
    assert listing.labels.negative == "rest"
    assert [scan.label for scan in listing.scans] == ["heat", "rest", "heat", "rest"]


def test_label_that_contradicts_itself_within_a_scan_is_a_fault(images):
    table = images(
        participant_id=["01", "01", "02", "02"],
        contrast=["pain", "visual", "pain", "visual"],
        path=["a.nii", "b.nii", "c.nii", "d.nii"],
        group=["FM", "HC", "HC", "HC"],
    )
    listing = read_image_table(table)
    texts = [str(fault) for fault in listing.faults]
    assert any(text.startswith("01_group-FM: found 0 of 'visual'") for text in texts)
    assert any(text.startswith("01_group-HC: found 0 of 'pain'") for text in texts)


def test_two_spellings_are_one_person(images, participants):
    table = images(
        participant_id=["01", "sub-01", "sub-02", "02"],
        session=["1", "2", "1", "2"],
        path=["a.nii", "b.nii", "c.nii", "d.nii"],
    )
    listing = read_image_table(table, participants({"sub-01": "FM", "sub-02": "HC"}))
    assert listing.faults == ()
    ids = [scan.participant_id for scan in listing.scans]
    assert len(set(ids)) == len(set(map(subject_key, ids))) == 2
    assert len({scan.scan_id for scan in listing.scans}) == 4


def test_same_row_twice_names_both_files(images):
    table = images(
        participant_id=["01", "02", "02"],
        path=["a.nii", "b.nii", "c.nii"],
        group=["FM", "HC", "HC"],
    )
    listing = read_image_table(table)
    assert "02: found 2 of 'map'" in str(listing.faults[0])
    assert "b.nii" in str(listing.faults[0])
    assert "c.nii" in str(listing.faults[0])


def test_names_missing_contrast(images):
    table = images(
        participant_id=["01", "01", "02", "03", "03"],
        contrast=["pain", "visual", "pain", "pain", "visual"],
        path=["a.nii", "b.nii", "c.nii", "d.nii", "e.nii"],
        group=["FM", "FM", "HC", "HC", "HC"],
    )
    faults = read_image_table(table).faults
    assert "02: found 0 of 'visual'" in str(faults[0])
    assert {fault.participant_id for fault in faults} == {"02"}


def test_nobody_is_dropped_with_a_contrast_that_was_not_asked_for(images):
    table = images(
        participant_id=["01", "02", "03"],
        contrast=["pain", "pain", "visual"],
        path=["a.nii", "b.nii", "c.nii"],
        group=["FM", "HC", "HC"],
    )
    listing = read_image_table(table, contrasts=["pain"])
    assert [fault.participant_id for fault in listing.faults] == ["03"]
    assert "03: found no map of any contrast asked for; accepted: pain" in str(listing.faults[0])


def test_space_comes_from_the_row_or_from_the_argument(images):
    table = images(
        participant_id=["01", "02"],
        path=["a.nii", "b.nii"],
        group=["FM", "HC"],
        space=["MNI152NLin6Asym", None],
    )
    listing = read_image_table(table, space="MNI152NLin6Asym")
    assert listing.faults == ()
    assert {scan.space for scan in listing.scans} == {"MNI152NLin6Asym"}
    mixed = read_image_table(table, space="MNI152NLin2009cAsym")
    assert "found maps in several spaces" in str(mixed.faults[0])


def test_refuses_space_in_the_row(images):
    table = images(
        participant_id=["01", "02"],
        path=["a.nii", "b.nii"],
        group=["FM", "HC"],
        space=["MNI152", "native"],
    )
    faults = read_image_table(table).faults
    assert [fault.participant_id for fault in faults] == ["02"]
    assert "02: found space 'native'" in str(faults[0])


def test_refuses_space_of_the_argument(images):
    table = images(participant_id=["01", "02"], path=["a.nii", "b.nii"], group=["FM", "HC"])
    faults = read_image_table(table, space="scanner").faults
    assert [fault.participant_id for fault in faults] == ["01", "02"]
    assert all("found space 'scanner'" in str(fault) for fault in faults)


def test_lists_columns_found(images):
    table = images(subject=["01"], file=["a.nii"])
    expected = r"images\.tsv: found columns 'subject', 'file'; .*rename: 'participant_id', 'path'"
    with pytest.raises(CohortError, match=expected):
        read_image_table(table)


def test_lists_columns_found_in_csv(tmp_path):
    path = tmp_path / "images.csv"
    path.write_text("participant_id;path;group\n01;a.nii;FM\n")
    expected = r"images\.csv: found columns 'participant_id;path;group', probably .* semicolons; "
    with pytest.raises(CohortError, match=expected):
        read_image_table(path)


def test_names_label_column_that_is_nowhere(images):
    table = images(participant_id=["01"], path=["a.nii"], arm=["x"])
    expected = r"images\.tsv: found no label column 'group' among 'participant_id', 'path', 'arm'; "
    with pytest.raises(CohortError, match=expected):
        read_image_table(table)


def test_names_label_column_missing_in_participants(images, participants):
    table = images(participant_id=["01"], path=["a.nii"])
    people = participants({"01": "FM"})
    with pytest.raises(CohortError, match=r"participants\.tsv: found columns .*rename: 'arm'"):
        read_image_table(table, people, label="arm")


def test_refuses_table_without_a_row(tmp_path):
    path = tmp_path / "images.tsv"
    path.write_text("participant_id\tpath\n")
    with pytest.raises(CohortError, match=r"images\.tsv: found no row"):
        read_image_table(path)


@pytest.mark.parametrize(("column", "lines"), [("participant_id", "2, 4"), ("path", "2, 4")])
def test_names_lines_without_person_or_path(images, column, lines):
    columns = {"participant_id": ["01", "02", "03"], "path": ["a.nii", "b.nii", "c.nii"]}
    columns[column] = ["n/a", "02", None]
    table = images(**columns)
    with pytest.raises(CohortError, match=rf"images\.tsv: found no {column} in lines {lines};"):
        read_image_table(table)


def test_rows_without_a_contrast_are_one_fault(images):
    table = images(
        participant_id=["01", "01", "02", "02"],
        contrast=["pain", "visual", "pain", None],
        path=["a.nii", "b.nii", "c.nii", "d.nii"],
        group=["FM", "FM", "HC", "HC"],
    )
    with pytest.raises(CohortError, match=r"images\.tsv: found no contrast in line 5;") as caught:
        read_image_table(table)
    assert len(caught.value.faults) == 1


def test_classes_of_incomplete_scans_are_known(images):
    table = images(
        participant_id=["01", "02", "02"],
        contrast=["pain", "pain", "visual"],
        path=["a.nii", "b.nii", "c.nii"],
        group=["FM", "HC", "HC"],
    )
    faults = read_image_table(table, negative="HC").faults
    assert [fault.participant_id for fault in faults] == ["01"]


def test_refuses_a_contrast_asked_for_twice(images):
    table = images(participant_id=["01"], contrast=["pain"], path=["a.nii"])
    with pytest.raises(CohortError, match=r"found contrast pain asked for more than once; "):
        find_table_maps(table, contrasts=["pain", "pain"])


@pytest.mark.parametrize("label", ["participant_id", "path", "contrast", "space"])
def test_refuses_a_label_column_that_means_something_else(images, label):
    table = images(participant_id=["01"], path=["a.nii"])
    with pytest.raises(CohortError, match=rf"cohort\.label: found '{label}'; accepted: a column"):
        read_image_table(table, label=label)


def test_names_the_column_that_breaks_every_scan(images):
    table = images(
        participant_id=["01", "01", "02", "02"],
        contrast=["pain", "visual", "pain", "visual"],
        path=["a.nii", "b.nii", "c.nii", "d.nii"],
        voxels=["10", "11", "12", "13"],
        group=["FM", "FM", "HC", "HC"],
    )
    expected = r"images\.tsv: found a column 'voxels' that differs between the maps of each scan; "
    with pytest.raises(CohortError, match=expected):
        read_image_table(table)
    assert read_image_table(table, contrasts=["pain"]).faults == ()


def test_names_the_columns_that_may_break_one_scan(images):
    table = images(
        participant_id=["01", "01", "02", "02"],
        contrast=["pain", "visual", "pain", "visual"],
        path=["a.nii", "b.nii", "c.nii", "d.nii"],
        session=["1", "2", "1", "1"],
        group=["FM", "FM", "HC", "HC"],
    )
    first = str(read_image_table(table).faults[0])
    assert first.startswith("01_session-1: found 0 of 'visual'")
    assert "columns that tell scans apart ('session') need one value for all of its maps" in first


def test_participants_are_named_as_the_table_that_was_read(images, participants):
    table = images(participant_id=["01", "02"], path=["a.nii", "b.nii"])
    path = participants({"01": "FM", "02": "HC"})
    path.write_text(path.read_text() + "sub-02\tHC\n\n03\tHC\n")
    found = [
        str(fault) for fault in read_image_table(table, path.rename(path.parent / "we.tsv")).faults
    ]
    assert found[0].startswith("sub-02: found 2 rows in we.tsv (lines 3, 4); ")
    assert found[1].startswith("03: found no map; accepted: at least one scan per person in we.tsv")


def test_names_contrast_that_is_not_there(images):
    table = images(participant_id=["01"], contrast=["pain"], path=["a.nii"])
    with pytest.raises(CohortError, match=r"found no map of contrast heat; accepted: pain"):
        find_table_maps(table, contrasts=["pain", "heat"])


def test_names_missing_table(tmp_path):
    with pytest.raises(CohortError, match=r"images\.tsv: found no such file"):
        read_image_table(tmp_path / "images.tsv")


def test_maps_without_a_stated_contrast_are_of_the_one_asked_for(images):
    table = images(participant_id=["01", "02"], path=["a.nii", "b.nii"], group=["FM", "HC"])
    listing = read_image_table(table, contrasts=["pain"])
    assert (listing.contrasts, listing.faults, len(listing.scans)) == (("pain",), (), 2)
    with pytest.raises(CohortError, match=r"no map of contrast pain, visual; accepted: map"):
        read_image_table(table, contrasts=["pain", "visual"])


def test_paths_of_spm_windows_and_macs_are_found(images, tmp_path):
    folder = tmp_path / "tables"
    for name in ("con_0001.nii", "maps/b.nii", "Mu\u0308.nii", "odd,1.nii", "c.nii,1"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    paths = ["con_0001.nii,1", "maps\\b.nii", "M\u00fc.nii", "odd,1.nii", "c.nii,1", "gone.img,1"]
    people = [f"{number}" for number in range(len(paths))]
    table = images(participant_id=people, path=paths, group=["FM", "HC"] * 3)
    listing = read_image_table(table)
    assert listing.faults == ()
    assert [str(scan.files[0].relative_to(folder)) for scan in listing.scans] == [
        "con_0001.nii",
        "maps/b.nii",
        "Mu\u0308.nii",
        "odd,1.nii",
        "c.nii,1",
        "gone.img",
    ]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("con_0001.nii,2", "volume 2 of a file"),
        ("con_0001.IMG,12", "volume 12 of a file"),
        ("C:\\data\\a.nii", "a path of another machine, under Windows"),
        ("x" * 300 + ".nii", "a name of 304 bytes"),
        ("\u00fc" * 130 + ".nii", "a name of 264 bytes"),
        ("a/" * 2500 + "a.nii", "a path of 5"),
    ],
)
def test_path_that_can_be_no_map_is_a_fault_of_its_person(images, path, found):
    table = images(
        participant_id=["01", "02", "03"], path=["a.nii", path, "b.nii"], group=["FM", "FM", "HC"]
    )
    listing = read_image_table(table)
    (fault,) = listing.faults
    assert fault.participant_id == "02"
    assert fault.found.startswith(found)
    assert len(str(fault)) < 400
    assert [scan.participant_id for scan in listing.scans] == ["01", "03"]


def test_group_may_be_called_na(images):
    path = images(participant_id=["01", "02"], path=["a.nii", "b.nii"])
    path.write_text("participant_id\tpath\tgroup\n01\ta.nii\tFM\n02\tb.nii\tNA\n")
    listing = read_image_table(path, negative="NA")
    assert listing.faults == ()
    assert [scan.label for scan in listing.scans] == ["FM", "NA"]


def test_large_tables_take_no_minutes(tmp_path):
    path = tmp_path / "images.tsv"
    rows = "".join(f"{n}\t{n}.nii\t{'FM' if n % 2 else 'HC'}\n" for n in range(5000))
    path.write_text("participant_id\tpath\tgroup\n" + rows)
    assert len(read_image_table(path).scans) == 5000
    path.write_text("participant_id\tpath\tgroup\n" + rows.replace("\tHC", "\tFM") * 2)
    faults = read_image_table(path).faults
    assert len(faults) == 5001
    assert faults[0].found.startswith("2 of 'map'")
