import re
import tarfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from fmriprep_tree import AFFINE, MNI, Tree, make_pointer

from fmnet.bold.dataset import check_dataset
from fmnet.bold.findings import Kind, describe, fault_table
from fmnet.command.main import main
from fmnet.errors import CohortError

PEOPLE = ("sub-01", "sub-02", "sub-03", "sub-04")


@pytest.fixture
def raw(tmp_path):
    """A raw data set without a fault: rest and a task of four people."""
    tree = Tree(tmp_path / "bids")
    tree.describe("raw")
    for person in PEOPLE:
        tree.t1w(person)
        tree.raw(person, "task-rest")
        tree.raw(person, "task-epr", n_volumes=6)
    tree.participants(PEOPLE)
    return tree


@pytest.fixture
def prep(tmp_path):
    """fMRIPrep's output of the same, without a fault."""
    tree = Tree(tmp_path / "bids" / "derivatives" / "fmriprep")
    tree.describe("derivative")
    for person in PEOPLE:
        tree.preprocessed(person, "task-rest")
    tree.participants(PEOPLE)
    return tree


def only(report, kind, match, person="sub-02"):
    """Check that there is one finding, of this kind, person and text."""
    assert len(report.findings) == 1, [str(fault) for fault in report.faults]
    (finding,) = report.findings
    assert (finding.kind, finding.fault.participant_id) == (kind, person)
    assert re.search(match, str(finding.fault)), str(finding.fault)


@pytest.fixture
def run_script(capsys):
    """Run the command in this process: exit status, standard output and error."""

    def run(*arguments):
        return main(["check", *map(str, arguments)]), *capsys.readouterr()

    return run


# raw data ----------------------------------------------------------------------------------------


def test_raw_data_without_faults_are_summed_up(raw):
    report = check_dataset(raw.root)
    assert (report.findings, report.subjects) == ((), PEOPLE)
    assert (report.raw, report.derivatives) == (raw.root, None)
    assert report.table == "4 rows; participant_id, group (FM 2, HC 2)"
    run = next(run for run in report.raw_runs if run.run_id == "sub-02_task-epr")
    assert (run.t_r, run.n_volumes, run.length_s, run.task_name) == (2.0, 6, 12.0, "epr")
    lines = describe(report)
    assert "task epr   -        4       4     2        6" in lines
    assert "No fault found" in lines[-1]


def test_links_without_content_are_counted_not_listed(raw):
    for person in PEOPLE:
        make_pointer(raw.path(person, "T1w.nii.gz"))
        make_pointer(raw.path(person, "task-epr_bold.nii.gz"))
    raw.path("sub-01", "task-rest_bold.nii.gz").write_text("/annex/objects/MD5E-s1--2.nii.gz\n")
    report = check_dataset(raw.root)
    assert {finding.kind for finding in report.findings} == {Kind.POINTER}
    assert len(report.findings) == 9
    text = "\n".join(describe(report))
    assert f"{Kind.POINTER}: 9\n    4 people: sub-01, sub-02, sub-03, sub-04\n" in text
    assert "5 bold.nii.gz, 4 T1w.nii.gz" in text
    assert "... and 6 more" in text
    assert text.count("datalad get") == 2
    assert str(raw.root) not in text.split("\n", 1)[1]
    assert "task epr   -        4       4     2        unknown" in text
    assert "task rest  -        4       4     2        5, 1 unknown" in text


def test_task_asked_for_is_the_only_one_checked(raw):
    make_pointer(raw.path("sub-02", "task-epr_bold.nii.gz"))
    assert check_dataset(raw.root, task="rest").findings == ()
    with pytest.raises(
        CohortError, match=r"no run of task 'pain'; accepted: 'epr', 'rest'.*--task"
    ):
        check_dataset(raw.root, task="pain")


def damage(raw, what):
    """Do one thing to the second person's data."""
    person = "sub-02"
    rest = raw.path(person, "task-rest_bold.nii.gz")
    t1w = raw.path(person, "T1w.nii.gz")
    events = raw.path(person, "task-epr_events.tsv")
    sidecar = raw.path(person, "task-rest_bold.json")
    {
        "no image": lambda: rest.write_bytes(b"no image"),
        "3-D": lambda: rest.write_bytes(t1w.read_bytes()),
        "anatomy": lambda: t1w.write_bytes(b"no image"),
        "no anatomy": t1w.unlink,
        "no rest": rest.unlink,
        "no sidecar": sidecar.unlink,
        "sidecar": lambda: sidecar.write_text("{"),
        "no t_r": lambda: sidecar.write_text('{"TaskName": "rest"}'),
        "t_r": lambda: sidecar.write_text('{"RepetitionTime": 2.5, "TaskName": "rest"}'),
        "header": lambda: raw.image(person, "task-rest", t_r=3.0),
        "other t_r": lambda: raw.raw(person, "task-rest", t_r=1.9),
        "name": lambda: sidecar.write_text('{"RepetitionTime": 2, "TaskName": "emo"}'),
        "no events": events.unlink,
        "empty events": lambda: raw.events(person, "task-epr", []),
        "no column": lambda: events.write_text("onset\tduration\n1\t2\n"),
        "late": lambda: raw.events(person, "task-epr", [(1, 2, "a - B"), (12, 2, "c")]),
        "early": lambda: raw.events(person, "task-epr", [(-1, 2, "a - B"), (5, 2, "c")]),
        "negative": lambda: raw.events(person, "task-epr", [(1, -2, "a - B"), (5, 2, "c")]),
        "number": lambda: raw.events(person, "task-epr", [("x", 2, "a - B"), (5, 2, "c")]),
        "unnamed": lambda: raw.events(person, "task-epr", [(1, 2, "n/a"), (5, 2, "n/a")]),
        "conditions": lambda: raw.events(person, "task-epr", [(1, 2, "a - B"), (5, 2, "C")]),
    }[what]()


@pytest.mark.parametrize(
    ("what", "kind", "match"),
    [
        ("no image", Kind.UNREADABLE, r"task-rest_bold.nii.gz: found a damaged"),
        ("3-D", Kind.UNREADABLE, r"an image of shape \(7, 8, 9\)"),
        ("anatomy", Kind.UNREADABLE, r"T1w.nii.gz: found a damaged"),
        ("no anatomy", Kind.NO_ANATOMY, r"no T1w image"),
        ("no rest", Kind.NO_RUN, r"no run of task 'rest'; accepted: one, as 3 others have"),
        ("no sidecar", Kind.SIDECAR, r"no sidecar"),
        ("sidecar", Kind.SIDECAR, r"a sidecar that can't be read"),
        ("no t_r", Kind.T_R, r"no RepetitionTime; .*ROOT.*--derivatives"),
        ("other t_r", Kind.OTHER_T_R, r"1.9 s; accepted: 2 s, as in 3 of 4 runs of task 'rest'"),
        ("header", Kind.T_R, r"3 s in the header where 2 s is given"),
        ("name", Kind.TASK_NAME, r"TaskName 'emo'; accepted: 'rest', as in 3 of 4 runs"),
        ("no events", Kind.NO_EVENTS, r"sub-02_task-epr: found no events.tsv"),
        ("empty events", Kind.EVENTS, r"found no event with"),
        ("no column", Kind.EVENTS, r"columns 'onset', 'duration'.*add or rename: 'trial_type'"),
        ("late", Kind.EVENTS, r"1 event after the end of the run \(12 s, it lasts 12 s\)"),
        ("early", Kind.EVENTS, r"1 event before the run begins"),
        ("negative", Kind.EVENTS, r"1 event of negative duration"),
        ("number", Kind.EVENTS, r"1 event without a number as onset"),
        ("unnamed", Kind.EVENTS, r"no event with a trial_type"),
        ("conditions", Kind.EVENTS, r"other conditions than in most.*without 'c'; only here 'C'"),
    ],
)
def test_each_fault_of_raw_data_is_named(raw, what, kind, match):
    damage(raw, what)
    only(check_dataset(raw.root), kind, match)


def test_events_without_a_condition_may_be_anything(raw):
    raw.events("sub-02", "task-epr", [(1, 2, "a - B"), (5, 2, "c"), (99, "n/a", "n/a")])
    assert check_dataset(raw.root).findings == ()


def test_sidecar_against_header_and_against_others_are_two_faults(raw):
    damage(raw, "t_r")
    kinds = [finding.kind for finding in check_dataset(raw.root).findings]
    assert kinds == [Kind.T_R, Kind.OTHER_T_R]


def test_what_few_people_have_is_expected_of_nobody(raw):
    raw.raw("sub-01", "task-pilot")
    assert check_dataset(raw.root).findings == ()
    faults = check_dataset(raw.root, task="pilot").faults
    assert [fault.participant_id for fault in faults] == ["sub-02", "sub-03", "sub-04"]


def test_session_that_most_people_have_is_expected_of_all(tmp_path):
    tree = Tree(tmp_path)
    tree.participants(PEOPLE)
    for person in PEOPLE:
        tree.t1w(person)
        for session in ("1", "2") if person != "sub-02" else ("1",):
            tree.image(person, "task-rest", session)
            tree.sidecar(person, "task-rest", session)
    only(check_dataset(tree.root), Kind.NO_RUN, r"no run of task 'rest' in session '2'")


def test_echoes_of_a_run_count_once(tmp_path):
    tree = Tree(tmp_path)
    tree.participants(PEOPLE)
    for person in PEOPLE:
        tree.t1w(person)
        for echo in (1, 2, 3):
            tree.raw(person, f"task-rest_echo-{echo}")
    report = check_dataset(tree.root)
    assert (len(report.raw_runs), report.findings) == (4, ())


# people ------------------------------------------------------------------------------------------


def test_cells_that_are_no_numbers_are_named(raw):
    (raw.root / "participants.tsv").write_text(
        "participant_id\tage\n01\t31\n02\t44\n03\t<18\n04\t-999\n"
    )
    found = [finding.fault.found for finding in check_dataset(raw.root).findings]
    assert found == [
        "no numbers in column 'age': '<18' in line 4",
        "what looks like a missing value in column 'age': '-999' in line 5",
    ]


@pytest.mark.parametrize(
    ("people", "kind", "match", "person"),
    [
        ((*PEOPLE, "sub-99"), Kind.NO_IMAGES, "no folder of this person", "sub-99"),
        (("01", "03", "04"), Kind.NOT_IN_TABLE, "no row", "sub-02"),
        ((*PEOPLE, "sub-02"), Kind.TWICE_IN_TABLE, "2 rows", "sub-02"),
    ],
)
def test_table_and_folders_have_to_agree(raw, people, kind, match, person):
    raw.participants(people)
    only(check_dataset(raw.root), kind, match, person)


def test_table_of_people_is_missing_or_of_no_use(raw):
    raw.participants(PEOPLE, column="id")
    only(check_dataset(raw.root), Kind.NO_TABLE, "add or rename: 'participant_id'", "")
    (raw.root / "participants.tsv").unlink()
    only(check_dataset(raw.root), Kind.NO_TABLE, "no such file.*participant_id, .*group", "")


# preprocessed ------------------------------------------------------------------------------------


def test_preprocessed_data_are_known_by_their_names(prep):
    (prep.root / "dataset_description.json").unlink()
    report = check_dataset(prep.root)
    assert (report.raw, report.derivatives, report.findings) == (None, prep.root, ())
    assert [run.n_volumes for run in report.preprocessed_runs] == [5] * 4


def test_raw_and_preprocessed_data_are_checked_together(raw, prep):
    report = check_dataset(raw.root, prep.root, task="rest")
    assert report.findings == ()
    assert (len(report.raw_runs), len(report.preprocessed_runs)) == (4, 4)
    missing = check_dataset(raw.root, prep.root).findings
    assert Counter(finding.kind for finding in missing) == {Kind.NOT_PREPROCESSED: 4}
    assert missing[0].fault.where == "sub-01_task-epr"


def harm(prep, what):
    """Do one thing to the second person's preprocessed run."""
    person, space = "sub-02", f"task-rest_space-{MNI}"
    image = prep.path(person, f"{space}_desc-preproc_bold.nii.gz")
    mask = prep.path(person, f"{space}_desc-brain_mask.nii.gz")
    confounds = prep.path(person, "task-rest_desc-confounds_timeseries.tsv")
    moved = AFFINE + np.eye(4, 4, 3) * 5
    {
        "pointer": lambda: make_pointer(image),
        "mask pointer": lambda: make_pointer(mask),
        "confounds pointer": lambda: make_pointer(confounds),
        "image": lambda: image.write_bytes(b"x"),
        "no mask": mask.unlink,
        "mask": lambda: prep.mask(person, space, affine=moved),
        "damaged mask": lambda: mask.write_bytes(b"x"),
        "no confounds": confounds.unlink,
        "short": lambda: prep.confounds(person, "task-rest", n_rows=4),
        "wide": lambda: confounds.write_text("a\n1\t2\n"),
        "t_r": lambda: prep.image(person, f"{space}_desc-preproc", t_r=2.5),
        "no run": lambda: (image.unlink(), image.with_name("other").touch()),
        "twice": lambda: image.with_name(image.name.removesuffix(".gz")).touch(),
    }[what]()


@pytest.mark.parametrize(
    ("what", "kind", "match"),
    [
        ("pointer", Kind.POINTER, "preproc_bold.nii.gz: found a DataLad"),
        ("mask pointer", Kind.POINTER, "brain_mask.nii.gz: found a DataLad"),
        ("confounds pointer", Kind.POINTER, "timeseries.tsv: found a DataLad"),
        ("image", Kind.UNREADABLE, "a damaged or truncated file"),
        ("no mask", Kind.MASK, "no mask beside the image"),
        ("mask", Kind.MASK, r"mask of 7x8x9 voxels.*the run's own grid"),
        ("damaged mask", Kind.MASK, "a damaged or truncated file"),
        ("no confounds", Kind.CONFOUNDS, "no confounds beside the image"),
        ("short", Kind.CONFOUNDS, "4 rows; accepted: a row for each of the run's 5 volumes"),
        ("wide", Kind.CONFOUNDS, "rows with more fields"),
        ("t_r", Kind.T_R, "2.5 s in the header where 2 s is given"),
        ("no run", Kind.NO_RUN, "no run of task 'rest'"),
        ("twice", Kind.REPEATED, "several images"),
    ],
)
def test_each_fault_of_preprocessed_data_is_named(prep, what, kind, match):
    harm(prep, what)
    only(check_dataset(prep.root), kind, match)


def test_run_whose_repetition_time_nobody_states_is_named(prep):
    name = f"task-rest_space-{MNI}_desc-preproc"
    prep.path("sub-02", f"{name}_bold.json").unlink()
    prep.image("sub-02", name, t_r=0)
    only(check_dataset(prep.root), Kind.T_R, r"no usable repetition time.*in the image's sidecar")


def test_other_repetition_time_is_named(prep):
    prep.preprocessed("sub-02", t_r=1.0)
    only(check_dataset(prep.root), Kind.OTHER_T_R, r"1 s; accepted: 2 s, as in 3 of 4 runs")


def test_choices_of_preprocessed_data_are_asked_for(prep):
    prep.preprocessed("sub-01", output="space-MNI152NLin6Asym")
    only(check_dataset(prep.root), Kind.CHOICE, r"images in '.*--space NAME", "")
    faults = check_dataset(prep.root, space=MNI).faults
    assert faults == ()


def test_task_in_native_space_alone_is_named(prep):
    for person in PEOPLE:
        prep.preprocessed(person, "task-epr", output="")
    only(check_dataset(prep.root), Kind.UNUSABLE, r"task 'epr'.*native space", "")


def test_task_of_few_people_is_expected_of_nobody(prep):
    prep.preprocessed("sub-01", "task-pilot")
    assert check_dataset(prep.root).findings == ()
    assert len(check_dataset(prep.root, task="pilot").findings) == 3


# folders and the command -------------------------------------------------------------------------


def test_folders_of_no_use_are_refused(tmp_path, raw, prep):
    with pytest.raises(CohortError, match=r"(?s)2 faults.*a: found no such.*b: found no such"):
        check_dataset(tmp_path / "a", tmp_path / "b")
    with pytest.raises(CohortError, match=r"no BOLD image.*correct the folder"):
        check_dataset(tmp_path)
    with pytest.raises(CohortError, match=r"no BOLD image; accepted: fMRIPrep's output"):
        check_dataset(raw.root, tmp_path)
    with pytest.raises(CohortError, match=r"no run of task 'epr'; accepted: 'rest'"):
        check_dataset(raw.root, prep.root, task="epr")


def test_command_tells_by_its_exit_status(tmp_path, raw, run_script):
    status, out, err = run_script(raw.root)
    assert (status, err) == (0, "")
    assert "No fault found" in out
    damage(raw, "no events")
    damage(raw, "name")
    status, out, err = run_script(raw.root, "--out", tmp_path / "faults.tsv")
    assert (status, err) == (1, "")
    assert "2 faults, 1 person concerned" in out
    table = pd.read_csv(tmp_path / "faults.tsv", sep="\t")
    assert list(table["kind"]) == [str(Kind.TASK_NAME), str(Kind.NO_EVENTS)]
    assert set(table["participant_id"]) == {"sub-02"}


def test_command_says_why_a_folder_is_of_no_use(tmp_path, raw, run_script):
    status, out, err = run_script(tmp_path / "nowhere")
    assert (status, out) == (2, "")
    assert "nowhere: found no such folder" in err
    status, _, err = run_script(raw.root, "--out", tmp_path / "nowhere" / "faults.tsv")
    assert status == 2
    assert "faults.tsv" in err or "nowhere" in err


def test_table_of_faults_is_sorted_by_kind_and_person(raw):
    for person in ("sub-04", "sub-02"):
        raw.path(person, "task-epr_events.tsv").unlink()
        raw.path(person, "T1w.nii.gz").unlink()
    table = fault_table(check_dataset(raw.root))
    assert list(table["participant_id"]) == ["sub-02", "sub-04"] * 2
    assert list(table["kind"]) == [str(Kind.NO_ANATOMY)] * 2 + [str(Kind.NO_EVENTS)] * 2


def test_real_data_set_as_it_is_right_after_installing(real_data, tmp_path):
    archive = real_data / "ds004144_bids_skeleton.tar.gz"
    if not archive.exists():
        pytest.skip(f"no {archive.name}")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter=lambda member, _: member)  # links lead outside
    (description,) = tmp_path.rglob("dataset_description.json")
    report = check_dataset(description.parent)
    assert len(report.subjects) == 66
    assert Counter(run.task for run in report.raw_runs) == {"rest": 66, "epr": 65}
    assert {run.t_r for run in report.raw_runs} == {2.0}
    kinds = Counter(finding.kind for finding in report.findings)
    assert kinds.pop(Kind.POINTER) == 265
    assert kinds == {Kind.NO_TABLE: 1, Kind.NO_RUN: 1, Kind.TASK_NAME: 1, Kind.NO_EVENTS: 2}
    by_kind = {finding.kind: finding.fault.participant_id for finding in report.findings}
    assert (by_kind[Kind.NO_RUN], by_kind[Kind.TASK_NAME]) == ("sub-005", "sub-077")
    assert len(describe(report)) < 50
