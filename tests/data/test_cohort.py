import shutil

import nibabel as nib
import numpy as np
import pytest

from fmnet.data.bids import read_bids
from fmnet.data.cohort import open_cohort, t_r_faults
from fmnet.data.image_table import read_image_table
from fmnet.data.nifti import ANALYZE_NOTE, read_volume
from fmnet.data.scans import FILE_SEPARATOR, MapsOnGrid, Scan, Series, StoredScan
from fmnet.data.store import ArrayStore
from fmnet.data.tables import read_table_file, write_table
from fmnet.data.template import build_grid
from fmnet.errors import CohortError

POINTER = "../../.git/annex/objects/2V/Qj/MD5E-s7412588--3eab.nii.gz/MD5E-s7412588--3eab.nii.gz"


def edit_participants(tree, person, group):
    """Change a person's group; None removes the row."""
    rows = tree.participants.read_text().splitlines()
    kept = [row for row in rows if not row.startswith(f"{person}\t")]
    if group is not None:
        kept.append(f"{person}\t{group}")
    tree.participants.write_text("\n".join(kept) + "\n")


def open_tree(tree, store, **options):
    return open_cohort(read_bids(tree.root, **options), store)


# a good cohort ---------------------------------------------------------------------------------


def test_opens_a_tree(bids_tree, store, grid):
    tree = bids_tree(contrasts=("pain", "visual"), age=["30", "n/a", "40", "50", "60", "70"])
    cohort = open_tree(tree, store, contrasts=["pain", "visual"])
    assert cohort.participant_ids == list(tree.people)
    np.testing.assert_array_equal(cohort.labels, [1, 0, 1, 0, 1, 0])
    assert cohort.labels.dtype == np.int64
    assert cohort.covariate("age") == ["30", "", "40", "50", "60", "70"]
    assert cohort.covariate("motion") == [""] * 6
    assert cohort.left_out == ()
    values = cohort.values()
    assert (values.shape, values.dtype) == ((6, 2, grid.n_voxels), np.float32)
    expected = read_volume(tree.map("sub-03", "visual"), "MNI152").data[0][grid.mask]
    np.testing.assert_array_equal(values[2, 1], expected)


def test_table_accounts_for_everybody(bids_tree, store):
    tree = bids_tree(contrasts=("pain", "visual"))
    table = open_tree(tree, store, contrasts=["visual", "pain"]).table()
    assert table["participant_id"].tolist() == list(tree.people)
    assert set(table["used"]) == {"yes"}
    assert set(table["reason"]) == {""}
    assert set(table["space"]) == {"MNI152"}
    files = [str(tree.map("sub-01", name)) for name in ("visual", "pain")]
    assert table["files"][0].split(FILE_SEPARATOR) == files
    assert [len(text.split(",")) for text in table["source_sha256"]] == [2] * 6


def test_table_notes_analyze_files_without_handedness(tmp_path, write_map, write_tsv, store, rng):
    affine = np.diag([20.0, 20, 20, 1])
    rows = []
    for number, group in enumerate(("FM", "HC")):
        data = rng.normal(size=(9, 10, 11)).astype(np.float32)
        path = tmp_path / f"con_{number}.img"
        write_map(path, data, affine, nib.AnalyzeImage)
        rows.append({"participant_id": str(number), "path": path.name, "group": group})
    rows.append({"participant_id": "2", "path": "con_2.nii", "group": "HC"})
    write_map(tmp_path / "con_2.nii")
    listing = read_image_table(write_tsv(tmp_path / "images.tsv", rows))
    table = open_cohort(listing, store).table()
    assert table["notes"].tolist() == [ANALYZE_NOTE, ANALYZE_NOTE, ""]


def test_second_opening_decodes_nothing(bids_tree, store, monkeypatch):
    tree = bids_tree()
    first = open_tree(tree, store)

    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr("fmnet.data.scans.read_volume", fail)
    assert open_tree(tree, store).stored == first.stored


def test_several_scans_of_a_person(bids_tree, store, write_map):
    tree = bids_tree()
    for person in tree.people:
        tree.map(person).rename(tree.map(person, more="ses-1_"))
        write_map(tree.map(person, more="ses-2_"))
    cohort = open_tree(tree, store)
    assert len(cohort.scans) == 12
    assert cohort.participant_ids[:3] == ["sub-01", "sub-01", "sub-02"]
    assert cohort.labels[:4].tolist() == [1, 1, 0, 0]


# one fault at a time ---------------------------------------------------------------------------


def spoil(path, how, write_map, shape):
    """Make an image unusable in the way named."""
    match how:
        case "text":
            path.write_text("no image")
        case "truncated":
            path.write_bytes(path.read_bytes()[:-3])
        case "unlocked pointer":
            path.write_text("/annex/objects/MD5E-s7412588--3eab1328dd20.nii.gz\n")
        case "pointer":
            path.unlink()
            path.symlink_to(POINTER)
        case "series":
            write_map(path, np.ones((*shape, 5), np.float32))
        case "nan" | "constant":
            write_map(path, np.full(shape, np.nan if how == "nan" else 2, np.float32))


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("text", "a damaged or truncated file"),
        ("truncated", "a damaged or truncated file"),
        ("series", r"an image of shape \(7, 8, 9, 5\)"),
        ("nan", "no value other than NaN and 0"),
        ("constant", "the constant 2 in every voxel"),
        ("pointer", "a DataLad .*'datalad get sub-02_contrast-pain"),
        ("unlocked pointer", "a DataLad .*'datalad get sub-02_contrast-pain"),
    ],
)
def test_names_subject_and_file_of_a_bad_image(bids_tree, store, grid, write_map, how, found):
    tree = bids_tree()
    spoil(tree.map("sub-02"), how, write_map, grid.shape)
    expected = rf"sub-02 \(.*sub-02_contrast-pain_stat-z_statmap\.nii\.gz\): found {found}"
    with pytest.raises(CohortError, match=expected):
        open_tree(tree, store)
    cohort = open_tree(tree, store, on_fault="exclude")
    assert set(tree.people) - set(cohort.participant_ids) == {"sub-02"}


@pytest.mark.parametrize("name", ["copy.nii.gz", "copy.nii"])
def test_same_image_under_two_subjects_names_both(bids_tree, store, name):
    tree = bids_tree()
    source, copy = tree.map("sub-01"), tree.map("sub-04")
    if name.endswith(".gz"):
        shutil.copy(source, copy)
    else:
        copy.unlink()
        copy = copy.with_suffix("")
        nib.save(nib.load(source), copy)
    with pytest.raises(CohortError, match="2 faults:") as caught:
        open_tree(tree, store)
    text = str(caught.value)
    assert f"sub-01 ({source}): found the same image as {copy}" in text
    assert f"sub-04 ({copy}): found the same image as {source}" in text
    cohort = open_tree(tree, store, on_fault="exclude")
    assert set(tree.people) - set(cohort.participant_ids) == {"sub-01", "sub-04"}


def test_same_image_as_two_contrasts_of_one_person(bids_tree, store):
    tree = bids_tree(contrasts=("pain", "visual"))
    shutil.copy(tree.map("sub-03", "pain"), tree.map("sub-03", "visual"))
    expected = r"sub-03 \(.*contrast-pain.*found the same image as .*contrast-visual"
    with pytest.raises(CohortError, match=expected):
        open_tree(tree, store, contrasts=["pain", "visual"])


def test_same_path_for_two_people(tmp_path, write_map, write_tsv, store):
    write_map(tmp_path / "a.nii")
    write_map(tmp_path / "b.nii")
    rows = [
        {"participant_id": person, "path": path, "group": group}
        for person, path, group in (
            ("1", "a.nii", "FM"),
            ("2", "a.nii", "HC"),
            ("3", "b.nii", "HC"),
        )
    ]
    listing = read_image_table(write_tsv(tmp_path / "images.tsv", rows))
    with pytest.raises(CohortError, match=r"2 \(.*a\.nii\): found the same image as .*a\.nii"):
        open_cohort(listing, store)


def test_site_that_gives_the_label_away_is_refused(bids_tree, store):
    tree = bids_tree(site=["A", "B", "A", "B", "C", "n/a"])
    expected = r"column 'site': found A: only 'FM', B: only 'HC', C: only 'FM'; .*the scanner"
    with pytest.raises(CohortError, match=expected):
        open_tree(tree, store)


def test_site_that_gives_the_label_away_is_reported_beside_other_faults(bids_tree, store):
    tree = bids_tree(site=["A", "B", "A", "B", "A", "B"])
    tree.map("sub-01").write_bytes(b"nothing")
    with pytest.raises(CohortError, match=r"(?s)2 faults.*sub-01.*column 'site'"):
        open_tree(tree, store)


@pytest.mark.parametrize(
    "site", [["A", "B", "A", "B", "B", "A"], ["A"] * 6, ["n/a"] * 6, ["A", "A", "A", "B", "B", "B"]]
)
def test_other_sites_are_accepted(bids_tree, store, site):
    assert len(open_tree(bids_tree(site=site), store).scans) == 6


# all faults at once ----------------------------------------------------------------------------


@pytest.fixture
def faulty_tree(bids_tree, write_map, grid):
    """24 people with two contrasts, eleven of whom have a fault each; a twelfth has no scan."""
    tree = bids_tree(n=12, contrasts=("pain", "visual"))
    tree.map("sub-01", "visual").unlink()
    edit_participants(tree, "sub-02", "n/a")
    edit_participants(tree, "sub-03", "FMS")
    edit_participants(tree, "sub-04", None)
    shutil.rmtree(tree.root / "sub-05")
    truncated = tree.map("sub-06")
    truncated.write_bytes(truncated.read_bytes()[:300])
    write_map(tree.map("sub-07"), np.ones((*grid.shape, 2), np.float32))
    write_map(tree.map("sub-08"), np.full(grid.shape, np.nan, np.float32))
    shutil.copy(tree.map("sub-09"), tree.map("sub-10"))
    tree.participants.write_text(tree.participants.read_text() + "sub-11\tFM\n")
    tree.map("sub-12").unlink()
    tree.map("sub-12").symlink_to(POINTER)
    return tree


FAULTS = {
    "sub-01": "0 of 'visual'",
    "sub-02": "no label in column 'group'",
    "sub-03": "label 'FMS'",
    "sub-04": "maps but no row in participants.tsv",
    "sub-05": "no map",
    "sub-06": "a damaged or truncated file",
    "sub-07": "an image of shape (7, 8, 9, 2)",
    "sub-08": "no value other than NaN and 0",
    "sub-09": "the same image as",
    "sub-10": "the same image as",
    "sub-11": "2 rows in participants.tsv",
    "sub-12": "a DataLad (git-annex) pointer without content",
}
CONTRASTS = ["pain", "visual"]


def test_all_faults_come_in_one_error(faulty_tree, store):
    with pytest.raises(CohortError, match=r"the cohort can't be used, 1\d faults:") as caught:
        open_tree(faulty_tree, store, contrasts=CONTRASTS)
    lines = str(caught.value).splitlines()[1:]
    for person, found in FAULTS.items():
        assert any(line.startswith(f"  - {person}") and found in line for line in lines), person
    assert {fault.participant_id for fault in caught.value.faults} == set(FAULTS)


def test_exclude_goes_on_without_the_people_and_says_why(faulty_tree, store):
    cohort = open_tree(faulty_tree, store, contrasts=CONTRASTS, on_fault="exclude")
    assert set(cohort.participant_ids) == set(faulty_tree.people) - set(FAULTS)
    table = cohort.table()
    assert set(table["participant_id"]) == set(faulty_tree.people)
    assert table["participant_id"].is_unique
    by_person = table.set_index("participant_id")
    for person in faulty_tree.people:
        row = by_person.loc[person]
        assert row["used"] == ("no" if person in FAULTS else "yes")
        assert FAULTS.get(person, "") in row["reason"]
        assert bool(row["reason"]) == (person in FAULTS)
        assert bool(row["source_sha256"]) == (person not in FAULTS)


def test_table_of_a_cohort_reads_back(faulty_tree, store, tmp_path):
    cohort = open_tree(faulty_tree, store, contrasts=CONTRASTS, on_fault="exclude")
    write_table(cohort.table(), tmp_path / "cohort.tsv")
    table = read_table_file(tmp_path / "cohort.tsv", ("participant_id", "used", "reason"))
    assert table.to_dict("list") == cohort.table().to_dict("list")


def test_reason_is_given_where_participants_leave_out_the_prefix(bids_tree, store):
    tree = bids_tree()
    text = tree.participants.read_text().replace("sub-", "")
    tree.participants.write_text(text + "02\tHC\n")
    cohort = open_tree(tree, store, on_fault="exclude")
    assert "sub-02" not in cohort.participant_ids
    table = cohort.table()
    assert table["participant_id"].tolist() == list(tree.people)
    assert "2 rows in participants.tsv" in table.set_index("participant_id").at["sub-02", "reason"]


def test_excluding_a_person_excludes_all_their_scans(bids_tree, store, write_map):
    tree = bids_tree()
    for person in tree.people:
        tree.map(person).rename(tree.map(person, more="ses-1_"))
        write_map(tree.map(person, more="ses-2_"))
    tree.map("sub-02", more="ses-2_").write_text("no image")
    cohort = open_tree(tree, store, on_fault="exclude")
    assert "sub-02" not in cohort.participant_ids
    rows = cohort.table().query("participant_id == 'sub-02'")
    assert rows["scan_id"].tolist() == ["sub-02_ses-1", "sub-02_ses-2"]
    assert rows["reason"].str.contains("damaged").all()


def test_exclude_raises_where_a_class_is_left_empty(bids_tree, store):
    tree = bids_tree(n=2)
    for person in ("sub-02", "sub-04"):
        tree.map(person).write_text("no image")
    with pytest.raises(CohortError, match="class 'HC': found no scan left") as caught:
        open_tree(tree, store, on_fault="exclude")
    named = {fault.participant_id for fault in caught.value.faults}
    assert named == {"", "sub-02", "sub-04"}, "why nobody is left is not said"


@pytest.mark.parametrize("on_fault", ["raise", "exclude"])
def test_fault_of_the_whole_cohort_can_not_be_excluded(bids_tree, store, on_fault):
    tree = bids_tree(groups=("FM", "HC", "LBP"))
    with pytest.raises(CohortError, match="label column 'group': found 'FM'") as caught:
        open_tree(tree, store, negative=None, on_fault=on_fault)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize("on_fault", ["raise", "exclude"])
def test_one_class_only_is_refused(bids_tree, store, on_fault):
    tree = bids_tree(groups=("FM",))
    with pytest.raises(CohortError, match=r"label column 'group': found .*'FM' \(3\)"):
        open_tree(tree, store, negative=None, on_fault=on_fault)


# real data -------------------------------------------------------------------------------------


def test_real_language_maps_open(real_data, tmp_path):
    images = real_data / "maps_4mm" / "langloc_asl_12mm" / "images.tsv"
    listing = read_image_table(images, label="task", positive="langloc", stat="z")
    cohort = open_cohort(listing, ArrayStore(tmp_path, MapsOnGrid(build_grid(8))))
    assert len(cohort.scans) == 32
    assert len(set(cohort.participant_ids)) == 16
    assert cohort.labels.sum() == 16
    assert np.isfinite(cohort.values()).mean() > 0.9


# repetition times ------------------------------------------------------------------------------


def scans_with(t_rs):
    """Scans of BOLD with these repetition times; None is one of maps."""
    scans = [Scan(f"sub-{k}_task-rest", f"sub-{k}", (), "MNI152") for k in range(len(t_rs))]
    stored = {
        scan.scan_id: StoredScan(None, (), (), (), t_r and Series((), (100,), t_r))
        for scan, t_r in zip(scans, t_rs, strict=True)
    }
    return scans, stored


@pytest.mark.parametrize("t_rs", [[None] * 3, [], [2.0] * 3, [2.0, 2.0, 2.015]])
def test_one_repetition_time_is_no_fault(t_rs):
    assert t_r_faults(*scans_with(t_rs)) == []


def test_everybody_with_another_repetition_time_is_named():
    faults = t_r_faults(*scans_with([2.0, 0.72, 2.0, 3.0, 2.0]))
    assert [fault.participant_id for fault in faults] == ["sub-1", "sub-3"]
    accepted = "a repetition time of 0.72 s; accepted: 2 s, as for 3 other scans"
    assert accepted in str(faults[0])


def test_scans_that_could_not_be_read_have_no_repetition_time():
    scans, stored = scans_with([2.0, 3.0, 2.0])
    del stored["sub-1_task-rest"]
    assert t_r_faults(scans, stored) == []


# what the maps' headers say --------------------------------------------------------------------


def intend(path, intent):
    image = nib.load(path, mmap=False)
    new = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
    new.header.set_intent(intent)
    new.to_filename(path)


@pytest.mark.parametrize(
    ("intent", "words"), [("p value", "p values"), ("label", "labels"), ("t test", "t values")]
)
def test_map_of_another_statistic_is_a_fault_of_its_person(bids_tree, store, intent, words):
    tree = bids_tree(n=3)
    intend(tree.map("sub-02"), intent)
    expected = rf"sub-02 \(.*\): found a map whose header says {words} .*accepted: 'z'"
    for _ in range(2):  # also where the store knows the file
        with pytest.raises(CohortError, match=expected):
            open_tree(tree, store)
    cohort = open_tree(tree, store, on_fault="exclude")
    assert cohort.participant_ids == [name for name in tree.people if name != "sub-02"]


def test_statistic_that_all_headers_state_is_the_cohort_s(tmp_path, write_map, write_tsv, store):
    rows = []
    for number in range(4):
        path = write_map(tmp_path / f"{number}.nii")
        intend(path, "z score")
        group = ("FM", "HC")[number % 2]
        rows.append({"participant_id": f"s{number}", "path": path.name, "group": group})
    table = write_tsv(tmp_path / "images.tsv", rows)
    assert open_cohort(read_image_table(table), store).listing.stat == "z"
    with pytest.raises(CohortError, match=r"s0 \(.*says z values .*accepted: 't'"):
        open_cohort(read_image_table(table, stat="t"), store)
    intend(tmp_path / "3.nii", "t test")
    with pytest.raises(CohortError, match=r"s3 \(.*says t values .*accepted: 'z'"):
        open_cohort(read_image_table(table), store)
    intend(tmp_path / "3.nii", "none")
    assert open_cohort(read_image_table(table), store).listing.stat == "n/a"


def test_statistic_that_most_names_state_is_the_cohort_s(tmp_path, write_map, write_tsv, store):
    rows = []
    for number in range(4):
        path = write_map(tmp_path / f"{number}_stat-z_statmap.nii")
        intend(path, "none")
        group = ("FM", "HC")[number % 2]
        rows.append({"participant_id": f"s{number}", "path": path.name, "group": group})
    intend(write_map(tmp_path / "3.nii"), "t test")
    rows[3]["path"] = "3.nii"
    table = write_tsv(tmp_path / "images.tsv", rows)
    with pytest.raises(CohortError, match=r"s3 \(.*says t values .*accepted: 'z'"):
        open_cohort(read_image_table(table), store)


def test_a_spike_is_a_fault_of_its_person(bids_tree, store, write_map, grid, rng):
    tree = bids_tree(n=3)
    data = grid.unmask(rng.normal(size=grid.n_voxels).astype(np.float32))
    data[3, 4, 5] = -1e5
    write_map(tree.map("sub-04"), data)
    with pytest.raises(
        CohortError, match=r"sub-04 \(.*found a spike: -100000 at voxel \(3, 4, 5\)"
    ):
        open_tree(tree, store)
