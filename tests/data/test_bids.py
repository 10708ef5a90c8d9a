import tarfile

import pytest

from fmnet.data.bids import SYNTHETIC_MARK, find_maps, read_bids
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
    expected = r"participants\.tsv: found columns 'participant_id', 'group'; .*rename: 'diagnosis'"
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
