import os
import subprocess
import tarfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.bids import (
    MAX_AGAIN,
    MAX_DEPTH,
    SYNTHETIC_MARK,
    describe,
    find_maps,
    read_bids,
    read_tree,
)
from fmnet.errors import CohortError

POINTER = "../../.git/annex/objects/2V/Qj/MD5E-s7412588--3eab.nii.gz/MD5E-s7412588--3eab.nii.gz"


@pytest.fixture
def touch_tree(tmp_path, write_tsv):
    """Write empty files, which is all that listing looks at, and a participants table."""

    def build(*files, groups=("FM", "FM", "HC", "HC")):
        root = tmp_path / "derivatives"
        for name in files:
            path = root / name.split("_")[0] / "func" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        people = [f"sub-{number:02d}" for number in range(1, len(groups) + 1)]
        rows = zip(people, groups, strict=True)
        write_tsv(
            root / "participants.tsv",
            [{"participant_id": person, "group": group} for person, group in rows],
        )
        return root

    return build


def names(template, count=4):
    return [template.format(f"sub-{number:02d}") for number in range(1, count + 1)]


def test_lists_a_tree(bids_tree):
    tree = bids_tree(contrasts=("pain", "visual"))
    listing = read_bids(tree.root, contrasts=["visual", "pain"])
    assert listing.faults == ()
    assert (listing.contrasts, listing.stat) == (("visual", "pain"), "z")
    assert [scan.participant_id for scan in listing.scans] == list(tree.people)
    first = listing.scans[0]
    assert first.files == (tree.map("sub-01", "visual"), tree.map("sub-01", "pain"))
    assert (first.label, first.space) == ("FM", "MNI152")


@pytest.mark.parametrize(
    "template",
    [
        "{}_contrast-pain_stat-z_statmap.nii.gz",
        "{}_contrast-pain_stat-z_statmap.nii",
        "{}_task-heat_contrast-pain_stat-z_statmap.nii.gz",
        "{}_task-heat_space-MNI152_contrast-pain_stat-z_statmap.nii.gz",
        "{}_statmap.nii.gz",
    ],
)
def test_reads_spelling(touch_tree, template):
    listing = read_bids(touch_tree(*names(template)))
    assert listing.faults == ()
    assert len(listing.scans) == 4


def test_space_comes_from_the_name(touch_tree):
    root = touch_tree(*names("{}_space-MNI152NLin6Asym_contrast-pain_stat-z_statmap.nii.gz"))
    listing = read_bids(root)
    assert {scan.space for scan in listing.scans} == {"MNI152NLin6Asym"}


def test_refuses_space_named_in_the_file(touch_tree):
    files = names("{}_contrast-pain_stat-z_statmap.nii.gz", 3)
    listing = read_bids(touch_tree(*files, "sub-04_space-T1w_contrast-pain_stat-z_statmap.nii.gz"))
    assert [fault.participant_id for fault in listing.faults] == ["sub-04"]
    assert "sub-04: found space 'T1w'" in str(listing.faults[0])


def test_chooses_among_spaces(touch_tree):
    root = touch_tree(
        *names("{}_space-MNI152NLin6Asym_contrast-pain_stat-z_statmap.nii.gz"),
        *names("{}_space-MNI152NLin2009cAsym_contrast-pain_stat-z_statmap.nii.gz"),
    )
    assert read_bids(root, space="MNI152NLin6Asym").faults == ()
    with pytest.raises(CohortError, match=r"same maps in several spaces: .*cohort\.space=NAME"):
        read_bids(root)
    with pytest.raises(CohortError, match=r"no map with space 'T1w'.*MNI152NLin6Asym \(4\)"):
        read_bids(root, space="T1w")


def test_chooses_task(touch_tree):
    root = touch_tree(
        *names("{}_task-heat_contrast-pain_stat-z_statmap.nii.gz"),
        *names("{}_task-cold_contrast-pain_stat-z_statmap.nii.gz"),
    )
    listing = read_bids(root, task="cold")
    assert [scan.scan_id for scan in listing.scans][:2] == ["sub-01_task-cold", "sub-02_task-cold"]
    with pytest.raises(CohortError, match=r"no map with task 'rest'; accepted: cold \(4\), heat"):
        read_bids(root, task="rest")


def test_chooses_among_maps_that_differ_in_desc(touch_tree):
    root = touch_tree(
        *names("{}_contrast-pain_stat-z_desc-raw_statmap.nii.gz"),
        *names("{}_contrast-pain_stat-z_desc-clean_statmap.nii.gz"),
        *names("{}_contrast-pain_stat-z_statmap.nii.gz"),
    )
    several = str(read_bids(root).faults[0])
    assert several.startswith("sub-01: found 3 of 'pain'")
    assert "desc is '' or 'clean' or 'raw': choose one with cohort.desc='NAME'" in several
    for desc, part in (("clean", "_desc-clean_"), ("", "_stat-z_statmap")):
        listing = read_bids(root, desc=desc)
        assert listing.faults == ()
        assert all(part in scan.files[0].name for scan in listing.scans)
    with pytest.raises(CohortError, match=r"no map with desc 'cleaned'; accepted: .*clean \(4\)"):
        read_bids(root, desc="cleaned")


def test_refuses_a_contrast_asked_for_twice(bids_tree):
    with pytest.raises(CohortError, match=r"found contrast pain asked for more than once; "):
        read_bids(bids_tree().root, contrasts=["pain", "pain"])


def test_refuses_ids_as_labels(bids_tree):
    with pytest.raises(CohortError, match=r"cohort\.label: found 'participant_id'; "):
        read_bids(bids_tree().root, label="participant_id")


def test_names_folder_that_may_not_be_looked_into(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.is_dir", refuse)
    with pytest.raises(CohortError, match=r"x: found Permission denied; .* permissions"):
        read_bids(tmp_path / "locked" / "x")


def test_takes_z_where_there_are_several_statistics(touch_tree):
    root = touch_tree(
        *names("{}_contrast-pain_stat-z_statmap.nii.gz"),
        *names("{}_contrast-pain_stat-effect_statmap.nii.gz"),
    )
    assert read_bids(root).stat == "z"
    assert read_bids(root, stat="effect").stat == "effect"
    with pytest.raises(CohortError, match=r"no map with stat 'p'; accepted: effect \(4\), z \(4\)"):
        read_bids(root, stat="p")


def test_asks_which_statistic_where_z_is_absent(touch_tree):
    root = touch_tree(
        *names("{}_contrast-pain_stat-t_statmap.nii.gz"),
        *names("{}_contrast-pain_stat-effect_statmap.nii.gz"),
    )
    with pytest.raises(CohortError, match=r"found statistics effect, t; .*cohort\.stat"):
        read_bids(root)


def test_asks_which_contrasts(bids_tree):
    tree = bids_tree(contrasts=("pain", "visual"))
    with pytest.raises(CohortError, match=r"found contrasts pain, visual; .*cohort\.contrasts"):
        read_bids(tree.root)


def test_names_contrast_that_is_not_there(bids_tree):
    with pytest.raises(CohortError, match="found no map of contrast heat; accepted: pain"):
        read_bids(bids_tree().root, contrasts=["pain", "heat"])


def test_names_missing_contrast_of_one_person(bids_tree):
    tree = bids_tree(contrasts=("pain", "visual"))
    tree.map("sub-02", "visual").unlink()
    listing = read_bids(tree.root, contrasts=["pain", "visual"])
    assert "sub-02: found 0 of 'visual'" in str(listing.faults[0])


def test_names_two_files_for_one_scan(bids_tree):
    tree = bids_tree()
    plain = tree.map("sub-03").with_suffix("")
    plain.touch()
    listing = read_bids(tree.root)
    text = str(listing.faults[0])
    assert "sub-03: found 2 of 'pain'" in text
    assert f"{plain}, {tree.map('sub-03')}" in text


def test_runs_and_sessions_are_scans_of_their_own(touch_tree):
    root = touch_tree(
        *names("{}_ses-1_run-1_contrast-pain_stat-z_statmap.nii.gz"),
        *names("{}_ses-1_run-2_contrast-pain_stat-z_statmap.nii.gz"),
        *names("{}_ses-2_run-1_contrast-pain_stat-z_statmap.nii.gz"),
    )
    listing = read_bids(root)
    assert listing.faults == ()
    assert len(listing.scans) == 12
    assert listing.scans[0].scan_id == "sub-01_ses-1_run-1"
    assert {scan.participant_id for scan in listing.scans} == {f"sub-0{n}" for n in range(1, 5)}


def test_passes_over_what_tools_hide(bids_tree, write_map):
    tree = bids_tree()
    write_map(tree.root / ".unfinished" / "sub-09" / tree.map("sub-01").name)
    assert read_bids(tree.root).faults == ()


def test_names_people_and_scans_without_each_other(bids_tree):
    tree = bids_tree()
    tree.map("sub-01").unlink()
    rows = tree.participants.read_text().splitlines()
    tree.participants.write_text("\n".join(row for row in rows if "sub-02" not in row))
    listing = read_bids(tree.root)
    found = {(fault.participant_id, fault.found) for fault in listing.faults}
    assert ("sub-01", "no map") in found
    assert ("sub-02", "maps but no row in participants.tsv") in found
    assert len(listing.faults) == 2


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_finds_participants_up_to_two_folders_above(bids_tree, levels):
    tree = bids_tree()
    place = [tree.root, *tree.root.parents][levels] / "participants.tsv"
    tree.participants.rename(place)
    assert read_bids(tree.root).faults == ()


def test_lists_where_it_looked_for_participants(bids_tree):
    tree = bids_tree()
    tree.participants.unlink()
    expected = r"no participants\.tsv \(looked for .*glm/participants\.tsv, "
    with pytest.raises(CohortError, match=expected):
        read_bids(tree.root)


def test_reads_named_participants(bids_tree, tmp_path):
    tree = bids_tree()
    elsewhere = tree.participants.rename(tmp_path / "people.tsv")
    assert read_bids(tree.root, participants=elsewhere).faults == ()
    with pytest.raises(CohortError, match=r"nobody\.tsv: found no such file"):
        read_bids(tree.root, participants=tmp_path / "nobody.tsv")


def test_names_label_column_that_is_not_there(bids_tree):
    expected = r"columns 'participant_id', 'group'; .*set cohort.label to .*rename: 'diagnosis'"
    with pytest.raises(CohortError, match=expected):
        read_bids(bids_tree().root, label="diagnosis")


def test_participants_table_without_a_row(bids_tree):
    tree = bids_tree()
    tree.participants.write_text("participant_id\tgroup\n")
    listing = read_bids(tree.root)
    assert {fault.participant_id for fault in listing.faults} == {*tree.people, ""}
    assert any("found no value" in str(fault) for fault in listing.faults)


def test_names_missing_folder(tmp_path):
    with pytest.raises(CohortError, match=r"nowhere: found no such folder; .*cohort\.root"):
        read_bids(tmp_path / "nowhere")


def test_names_folder_without_images(tmp_path):
    expected = (
        r"found no '\*_statmap\.nii\.gz' among 0 images; accepted: sub-\*/func/.*cohort=table"
    )
    with pytest.raises(CohortError, match=expected):
        read_bids(tmp_path)


def test_says_that_preprocessed_data_need_a_first_level_model(touch_tree):
    root = touch_tree(*names("{}_task-rest_desc-preproc_bold.nii.gz"))
    with pytest.raises(CohortError, match=r"among 4 images; .*run a first-level model"):
        read_bids(root)


def test_lists_pointers_of_maps_as_files(touch_tree):
    """A pointer is a file that is there; opening it says that its content isn't."""
    root = touch_tree(*names("{}_contrast-pain_stat-z_statmap.nii.gz", 3))
    pointer = root / "sub-04" / "func" / "sub-04_contrast-pain_stat-z_statmap.nii.gz"
    pointer.parent.mkdir(parents=True)
    pointer.symlink_to(POINTER)
    listing = read_bids(root)
    assert listing.faults == ()
    assert listing.scans[3].files == (pointer,)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        (f'{{"Name": "{SYNTHETIC_MARK}"}}', "synthetic"),
        ('{"Name": "study"}', ""),
        ("[]", ""),
        ("{", ""),
    ],
)
def test_recognises_synthetic_cohorts(bids_tree, text, origin):
    tree = bids_tree()
    (tree.root / "dataset_description.json").write_text(text)
    assert read_bids(tree.root).origin == origin


def test_real_datalad_tree_says_what_it_is_and_what_to_do(real_data, tmp_path):
    with tarfile.open(real_data / "ds004144_bids_skeleton.tar.gz") as archive:
        archive.extractall(tmp_path, filter="tar")
    with pytest.raises(CohortError, match=r"ds004144_skeleton: found no '\*_statmap") as caught:
        read_bids(tmp_path / "ds004144_skeleton")
    text = str(caught.value)
    assert "all of them DataLad pointers without content" in text
    assert "run a first-level model" in text
    assert "'datalad get'" in text


def test_entity_without_a_value_says_nothing(tmp_path):
    path = tmp_path / "sub-01" / "sub-01_run_contrast-pain_stat-z_statmap.nii.gz"
    path.parent.mkdir()
    path.touch()
    maps = find_maps(tmp_path)
    assert (maps.contrasts, maps.stat) == (("pain",), "z")
    assert list(maps.rows["scan_id"]) == ["sub-01"]


# what is found ---------------------------------------------------------------------------------


@pytest.mark.parametrize("endings", [[".NII.GZ"], [".NII"], [".img", ".hdr"], [".IMG", ".HDR"]])
def test_finds_what_can_be_read(touch_tree, endings):
    files = [
        name for end in endings for name in names("{}_contrast-pain_stat-z_statmap" + end, count=3)
    ]
    listing = read_bids(touch_tree(*files, "sub-04_contrast-pain_stat-z_statmap.nii"))
    assert listing.faults == ()
    assert all(scan.files[0].name.endswith(endings[0]) for scan in listing.scans[:3])
    assert len(listing.scans) == 4


def test_finds_capital_flat_and_bare_names(touch_tree):
    root = touch_tree("sub-04_contrast-pain_stat-z_statmap.nii")
    for place in (
        "SUB-01/func/SUB-01_contrast-pain_stat-z_statmap.nii",
        "sub-02_contrast-pain_stat-z_statmap.nii",
        "sub-03/contrast-pain_stat-z_statmap.nii",  # as nilearn writes without a prefix
    ):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).touch()
    listing = read_bids(root)
    assert listing.faults == ()
    assert [scan.participant_id for scan in listing.scans] == [f"sub-0{n}" for n in range(1, 5)]


def test_names_everyone_without_a_map_and_what_there_is_instead(touch_tree):
    root = touch_tree(
        *names("{}_contrast-pain_stat-z_statmap.nii", 2), "sub-03_zmap.nii", "sub-04_tmap.nii.gz"
    )
    (root / "sub-05" / "func").mkdir(parents=True)
    found = {fault.participant_id: fault.found for fault in read_bids(root).faults}
    assert found == {
        "sub-03": "no map, but sub-03_zmap.nii",
        "sub-04": "no map, but sub-04_tmap.nii.gz",
        "sub-05": "no map",
    }


def test_map_in_the_folder_of_somebody_else_is_a_fault(touch_tree):
    root = touch_tree(*names("{}_contrast-pain_stat-z_statmap.nii", 3))
    wrong = root / "sub-04" / "sub-03_contrast-pain_stat-z_statmap.nii.gz"
    wrong.parent.mkdir()
    wrong.touch()
    (fault,) = read_bids(root).faults
    assert fault.participant_id == "sub-04"
    assert "a map named sub-03 in the folder of sub-04" in fault.found


# levels ----------------------------------------------------------------------------------------


@pytest.fixture
def fitlins_tree(touch_tree):
    """As FitLins leaves it: two runs and their subject level for everyone, and the group's."""
    root = touch_tree()
    for number in range(1, 5):
        person = f"sub-0{number}"
        for node, run in (("runLevel", "_run-1"), ("runLevel", "_run-2"), ("subjectLevel", "")):
            path = (
                root / f"node-{node}" / person / f"{person}{run}_contrast-pain_stat-z_statmap.nii"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / "node-dataLevel").mkdir()
    (root / "node-dataLevel" / "contrast-pain_stat-z_statmap.nii").touch()
    return root


def test_levels_of_fitlins_are_a_choice(fitlins_tree):
    expected = (
        r"maps of several nodes: 'runLevel' \(8 maps, as sub-01_run-1_.*\), 'subjectLevel' \(4 "
        r"maps, as sub-01_contrast-.*; to do: choose with 'cohort.entities=\{node: subjectLevel\}'"
    )
    with pytest.raises(CohortError, match=expected):
        read_bids(fitlins_tree)
    whole = read_bids(fitlins_tree, entities={"node": "subjectLevel"})
    assert (len(whole.scans), whole.faults) == (4, ())
    runs = read_bids(fitlins_tree, entities={"node": "runLevel"})
    assert (len(runs.scans), runs.faults) == (8, ())
    first = read_bids(fitlins_tree, entities={"node": "runLevel", "run": 1})
    assert [scan.scan_id for scan in first.scans][:2] == ["sub-01_run-1", "sub-02_run-1"]


@pytest.mark.parametrize("entity", ["run", "ses", "task", "dir"])
def test_maps_of_parts_beside_the_map_over_them_are_refused(touch_tree, entity):
    root = touch_tree(
        *names(f"{{}}_{entity}-1_contrast-pain_stat-z_statmap.nii", 4),
        *names("{}_contrast-pain_stat-z_statmap.nii", 2),
    )
    listing = read_bids(root)
    assert [fault.participant_id for fault in listing.faults] == ["sub-01", "sub-02"]
    text = str(listing.faults[0])
    assert f"without {entity} (sub-01_contrast-pain_stat-z_statmap.nii) and with {entity} 1" in text
    assert [scan.participant_id for scan in listing.scans] == ["sub-03", "sub-04"]
    over = read_bids(root, entities={entity: "n/a"})
    assert [scan.scan_id for scan in over.scans] == ["sub-01", "sub-02"]


@pytest.mark.parametrize("entity", ["res", "rec", "echo", "hemi", "den", "cohort", "anything"])
def test_entities_that_tell_files_apart_are_named_and_can_be_chosen(touch_tree, entity):
    root = touch_tree(
        *names(f"{{}}_{entity}-1_contrast-pain_stat-z_statmap.nii"),
        *names(f"{{}}_{entity}-02_contrast-pain_stat-z_statmap.nii"),
    )
    faults = read_bids(root).faults
    assert len(faults) == 4
    expected = f"{entity} is '02' or '1': choose with 'cohort.entities={{{entity}: 1}}'"
    assert expected in str(faults[0])
    listing = read_bids(root, entities={entity: 2})
    assert listing.faults == ()
    assert all(f"_{entity}-02_" in scan.files[0].name for scan in listing.scans)
    with pytest.raises(CohortError, match=rf"no map with {entity} '3'; accepted: 0?[12] \(4\), "):
        read_bids(root, entities={entity: 3})


# spellings -------------------------------------------------------------------------------------


def write_people(root, rows):
    lines = ["participant_id\tgroup", *("\t".join(row) for row in rows)]
    (root / "participants.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def test_two_spellings_of_a_person_and_a_label_are_one(touch_tree):
    root = touch_tree(
        "sub-Mu\u0308_contrast-pain_stat-z_statmap.nii",
        *names("{}_contrast-pain_stat-z_statmap.nii", 3),
    )
    rows = [
        ("sub-M\u00fc", "mu\u0308de"),
        ("\u200bsub-01", "m\u00fcde\u00a0"),
        ("sub-02\u00ad", "\ufeffHC"),
        ("sub-03", "HC"),
    ]
    write_people(root, rows)
    listing = read_bids(root, positive="m\u00fcde")
    assert listing.faults == ()
    labels = {scan.participant_id: scan.label for scan in listing.scans}
    assert labels == {
        "sub-01": "m\u00fcde",
        "sub-02": "HC",
        "sub-03": "HC",
        "sub-M\u00fc": "m\u00fcde",
    }


def test_one_person_under_two_spellings_is_no_two_people(touch_tree):
    files = [f"sub-{name}_contrast-pain_stat-z_statmap.nii" for name in ("Mu\u0308", "M\u00fc")]
    root = touch_tree(*files)
    write_people(root, [("sub-M\u00fc", "FM"), ("sub-Mu\u0308", "FM"), ("sub-3", "HC")])
    found = [fault.found for fault in read_bids(root).faults]
    assert any(text.startswith("2 of 'pain' (files: ") for text in found)
    assert "2 rows in participants.tsv (lines 2, 3)" in found


def test_group_may_be_called_na(touch_tree):
    root = touch_tree(
        *names("{}_contrast-pain_stat-z_statmap.nii"), groups=("FM",) * 2 + ("-",) * 2
    )
    write_people(
        root, zip((f"sub-0{n}" for n in range(1, 5)), ("FM", "FM", "NA", "NA"), strict=True)
    )
    listing = read_bids(root, negative="NA")
    assert listing.faults == ()
    assert [scan.label for scan in listing.scans] == ["FM", "FM", "NA", "NA"]
    assert "no label in column 'group'" in str(read_bids(root, negative="HC").faults[-1])


def test_row_without_an_id_is_named_by_its_line(touch_tree):
    root = touch_tree(*names("{}_contrast-pain_stat-z_statmap.nii", 2))
    write_people(root, [("sub-01", "FM"), ("n/a", "HC"), ("sub-02", "HC")])
    (fault,) = read_bids(root).faults
    assert str(fault).startswith("participants.tsv: found no participant_id in line 3; ")


@pytest.mark.parametrize("entity", ["res", "desc", "rec", "hemi"])
def test_forms_that_differ_between_people_are_a_choice(touch_tree, entity):
    name = f"{{}}_{entity}-{{}}_contrast-pain_stat-z_statmap.nii.gz"
    values = ("a", "a", "b", "b")
    root = touch_tree(*(name.format(f"sub-0{k + 1}", one) for k, one in enumerate(values)))
    found = f"{entity} that differs between people: 'a' of sub-01, sub-02, 'b' of sub-03, sub-04"
    with pytest.raises(CohortError, match=f"{found}.*{entity}: any"):
        read_bids(root)
    listing = read_bids(root, entities={entity: "any"})
    assert (len(listing.scans), listing.faults) == (4, ())
    chosen = read_bids(root, entities={entity: "b"})
    assert {fault.participant_id for fault in chosen.faults} == {"sub-01", "sub-02"}


@pytest.mark.parametrize("entity", ["run", "ses"])
def test_maps_of_runs_of_some_beside_maps_over_runs_of_others_are_refused(touch_tree, entity):
    name = f"{{}}_{entity}-{{}}_contrast-pain_stat-z_statmap.nii.gz"
    single = [name.format(f"sub-0{k}", run) for k in (1, 2) for run in (1, 2)]
    whole = names("{}_contrast-pain_stat-z_statmap.nii.gz")[2:]
    root = touch_tree(*single, *whole)
    found = (
        f"without {entity} of sub-03, sub-04, and several with {entity} of sub-01, sub-02; "
        f"accepted: one level; to do: .*{entity}: n/a.*{entity}: any"
    )
    with pytest.raises(CohortError, match=found):
        read_bids(root)
    assert len(read_bids(root, entities={entity: "any"}).scans) == 6
    listing = read_bids(root, entities={entity: "n/a"})
    assert {fault.participant_id for fault in listing.faults} == {"sub-01", "sub-02"}


def test_person_with_one_run_may_leave_its_number_out(touch_tree):
    name = "{}_contrast-pain_stat-z_statmap.nii.gz"
    root = touch_tree("sub-01_run-1_contrast-pain_stat-z_statmap.nii.gz", *names(name)[1:])
    assert (len(read_bids(root).scans), read_bids(root).faults) == (4, ())


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def nest(folder, depth):
    """Make folders in one another by way of their parent; whole paths may be too long."""
    home = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    os.fchdir(home)
    os.close(home)


@pytest.fixture
def unprivileged():
    """Root may search every folder: be nobody for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("sub-01_contrast-pain_statmap.nii", ".nii"),
        ("sub-01_contrast-pain_statmap.NII.GZ", ".nii.gz"),
        ("SUB-01_Contrast-pain_StatMap.img", ".img"),
        ("sub-01_contrast-pain_statmap.IMG.gz", ".img.gz"),
    ],
)
def test_names_are_read_whatever_the_case(name, extension):
    found = describe(Path(name))
    assert (found.participant_id, found.suffix) == ("sub-01", "statmap")
    assert (found.entities["contrast"], found.extension) == ("pain", extension)


def test_values_keep_their_hyphens():
    found = describe(Path("sub-a-1_contrast-pain-rest_run_statmap.nii"))
    assert found.entities == {"sub": "a-1", "contrast": "pain-rest"}


def test_folders_say_what_names_do_not():
    folders = ("glm", "node-runLevel", "sub-07_ses-2", "func")
    found = describe(Path("contrast-x_ses-3_statmap.nii"), folders)
    assert found.entities == {"node": "runLevel", "sub": "07", "ses": "3", "contrast": "x"}
    assert found.folder_sub == "07"


def test_pairs_are_one_image(tmp_path):
    for name in ("a.img", "a.hdr", "b.IMG", "b.HDR", "c.hdr", "d.img.gz", "d.hdr.gz"):
        touch(tmp_path / "sub-1" / name)
    names = [image.path.name for image in read_tree(tmp_path).images]
    assert names == ["a.img", "b.IMG", "c.hdr", "d.img.gz"]


def test_everyone_is_named_with_what_there_is(tmp_path):
    touch(tmp_path / "sub-01" / "func" / "sub-01_zmap.nii", tmp_path / "sub-02" / "a.func.gii")
    touch(tmp_path / "sub-03_statmap.nii", tmp_path / "SUB-04" / "x.json")
    touch(tmp_path / ".git" / "sub-05" / "a.nii", tmp_path / "sourcedata" / "sub-06" / "a.nii")
    (tmp_path / "sub-07").symlink_to("nowhere")
    (tmp_path / "sub-08").symlink_to("sub-08")
    people = read_tree(tmp_path).subjects
    assert people == {
        "sub-01": ("sub-01_zmap.nii",),
        "sub-02": ("a.func.gii",),
        "sub-03": ("sub-03_statmap.nii",),
        "sub-04": (),
        "sub-07": (),
        "sub-08": (),
    }


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path / "elsewhere" / "func" / "sub-01_statmap.nii")
    root = tmp_path / "root"
    touch(root / "sub-02" / "sub-02_statmap.nii")
    (root / "sub-01").symlink_to(tmp_path / "elsewhere")
    (root / "sub-02" / "all").symlink_to(root)
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (root / "latest").symlink_to(root / "sub-02")
    tree = read_tree(root)
    found = [str(image.path.relative_to(root)) for image in tree.images]
    assert found == ["sub-01/func/sub-01_statmap.nii", "sub-02/sub-02_statmap.nii"]
    assert tree.faults == ()


def test_links_without_end_are_one_fault(tmp_path):
    for number in range(30):
        (tmp_path / f"d{number}").mkdir()
        for other in range(30):
            (tmp_path / f"d{number}" / f"l{other}").symlink_to(tmp_path / f"d{other}")
    (fault,) = read_tree(tmp_path).faults
    assert f"more than {MAX_AGAIN:,} times" in fault.found


def test_depth_is_bounded_and_said(tmp_path):
    touch(tmp_path / "sub-01" / "sub-01_statmap.nii")
    nest(tmp_path / "sub-01", 1500)
    tree = read_tree(tmp_path)
    assert len(tree.images) == 1
    (fault,) = tree.faults
    assert f"folders more than {MAX_DEPTH} deep" in fault.found
    assert fault.participant_id == "sub-01"
    # Python removes folders by recursion, and pytest would end in it
    subprocess.run(["rm", "-rf", str(tmp_path / "sub-01")], check=True)


def test_folder_that_may_not_be_searched_is_a_fault_of_its_person(tmp_path, unprivileged):
    locked = tmp_path / "sub-01" / "ses-2"
    if os.geteuid() == 65534:
        os.seteuid(0)
        for folder in (tmp_path, *tmp_path.parents):
            if "pytest-of-" in str(folder):
                folder.chmod(0o755)
    touch(tmp_path / "sub-01" / "ses-1" / "sub-01_ses-1_statmap.nii", locked / "a.nii")
    locked.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    tree = read_tree(tmp_path)
    assert len(tree.images) == 1
    (fault,) = tree.faults
    assert (fault.where, fault.participant_id) == (str(locked), "sub-01")
    assert "can't be searched (Permission denied)" in fault.found


def test_two_spellings_of_a_name_are_one_person(tmp_path):
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "sub-Mü")
        touch(tmp_path / name / f"{name}_statmap.nii")
    (person,) = read_tree(tmp_path).subjects
    assert person == unicodedata.normalize("NFC", "sub-Mü")


def test_names_of_other_encodings_are_found(tmp_path):
    touch(tmp_path / os.fsdecode(b"sub-M\xfc") / os.fsdecode(b"sub-M\xfc_statmap.nii"))
    (image,) = read_tree(tmp_path).images
    assert os.fsencode(image.participant_id) == b"sub-M\xfc"


@given(name=st.text("abAB01-_. ü", min_size=1, max_size=20))
def test_no_name_is_too_odd(name):
    found = describe(Path(f"{name}_statmap.nii"), (name,))
    assert found is not None
    assert found.extension == ".nii"
    assert all(found.entities.values())
