import re

import pytest
from fmriprep_tree import MNI, Tree

from fmnet.bold.derivatives import find_runs
from fmnet.errors import CohortError

RES2 = f"space-{MNI}_res-2"


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "study [1]" / "derivatives" / "fmriprep")  # brackets mean much to glob


@pytest.fixture
def raw(tmp_path):
    tree = Tree(tmp_path / "study [1]")
    tree.describe("raw")
    return tree


def only_fault(listing, match):
    """Return the one fault, once it is the one that is meant."""
    assert len(listing.faults) == 1, [str(fault) for fault in listing.faults]
    assert re.search(match, str(listing.faults[0])), str(listing.faults[0])
    return listing.faults[0]


# what is found -----------------------------------------------------------------------------------


def test_run_comes_with_all_that_belongs_to_it(tree):
    image = tree.preprocessed("sub-01", "task-rest_run-1")
    listing = find_runs(tree.root)
    (run,) = listing.runs
    assert listing.faults == ()
    assert (run.bold.run_id, run.bold.participant_id) == ("sub-01_task-rest_run-1", "sub-01")
    assert (run.bold.path, run.bold.space, run.bold.t_r) == (image, MNI, 2.0)
    assert run.bold.mask.name == f"sub-01_task-rest_run-1_space-{MNI}_desc-brain_mask.nii.gz"
    assert run.confounds.name == "sub-01_task-rest_run-1_desc-confounds_timeseries.tsv"
    assert (run.task, run.session, run.run, run.events) == ("rest", "", "1", None)


def test_runs_of_one_person_come_in_the_order_of_their_numbers(tree):
    for number in (10, 2, 1):
        tree.preprocessed("sub-01", f"task-rest_run-{number}", n_volumes=4 + number)
    assert [run.run for run in find_runs(tree.root).runs] == ["1", "2", "10"]


def test_other_entities_tell_runs_apart(tree):
    for name in ("task-rest_acq-mb", "task-rest_acq-sb", "task-rest_acq-mb_dir-AP"):
        tree.preprocessed("sub-01", name)
    ids = [run.bold.run_id for run in find_runs(tree.root).runs]
    assert ids == [
        "sub-01_task-rest_acq-mb",
        "sub-01_task-rest_acq-mb_dir-AP",
        "sub-01_task-rest_acq-sb",
    ]


def test_old_name_of_confounds_is_known(tree):
    tree.preprocessed("sub-01")
    new = tree.path("sub-01", "task-rest_desc-confounds_timeseries.tsv")
    old = new.rename(tree.path("sub-01", "task-rest_desc-confounds_regressors.tsv"))
    assert find_runs(tree.root).runs[0].confounds == old


def test_person_at_top_and_person_in_sessions_are_both_found(tree):
    tree.preprocessed("sub-01")
    tree.preprocessed("sub-02", session="1")
    with pytest.raises(CohortError, match=r"none \(1 person\), '1' \(1 person\).*cohort.sessions"):
        find_runs(tree.root)
    assert len(find_runs(tree.root, sessions=["", "1"]).runs) == 2


@pytest.mark.parametrize("place", ["task-rest_bold.json", "bold.json"])
def test_sidecar_at_the_root_holds_for_all(tree, place):
    tree.preprocessed("sub-01")
    tree.path("sub-01", f"task-rest_space-{MNI}_desc-preproc_bold.json").unlink()
    assert find_runs(tree.root).runs[0].bold.t_r is None  # the header's is used then
    (tree.root / place).write_text('{"RepetitionTime": 1.5, "StartTime": 0.7}')
    (tree.root / "task-other_bold.json").write_text('{"RepetitionTime": 9}')
    (tree.root / "task-rest_rec-x_bold.json").write_text('{"RepetitionTime": 9}')
    (run,) = find_runs(tree.root).runs
    assert (run.bold.t_r, run.start_time) == (1.5, 0.7)


def test_start_time_that_is_text_is_a_fault_of_the_run(tree):
    tree.preprocessed("sub-01")
    tree.path("sub-01", f"task-rest_space-{MNI}_desc-preproc_bold.json").write_text(
        '{"RepetitionTime": 2, "StartTime": "0.7"}'
    )
    (fault,) = find_runs(tree.root).faults
    assert (fault.participant_id, fault.found) == ("sub-01", "StartTime '0.7'")


def test_raw_data_set_states_what_the_tree_doesn_t(tree, raw):
    tree.preprocessed("sub-01", "task-epr")
    tree.sidecar("sub-01", f"task-epr_space-{MNI}_desc-preproc", content={"SkullStripped": False})
    raw.sidecar("sub-01", "task-epr", content={"RepetitionTime": 2.5})
    events = raw.events("sub-01", "task-epr")
    (run,) = find_runs(tree.root).runs  # found two folders above
    assert (run.bold.t_r, run.events) == (2.5, events)
    assert find_runs(tree.root, raw=raw.root).runs == (run,)


def test_nearest_sidecar_and_events_win(tree, raw):
    tree.preprocessed("sub-01", "task-epr")
    raw.raw("sub-01", "task-epr", t_r=3.0)
    (raw.root / "task-epr_bold.json").write_text('{"RepetitionTime": 4}')
    (raw.root / "task-epr_events.tsv").write_text("onset\tduration\ttrial_type\n")
    nearest = tree.events("sub-01", "task-epr")
    (run,) = find_runs(tree.root, raw=raw.root).runs
    assert (run.bold.t_r, run.events) == (2.0, nearest)
    nearest.unlink()
    own = raw.path("sub-01", "task-epr_events.tsv")
    assert find_runs(tree.root, raw=raw.root).runs[0].events == own
    own.unlink()
    assert find_runs(tree.root).runs[0].events == raw.root / "task-epr_events.tsv"


# choices -----------------------------------------------------------------------------------------


def test_several_tasks_are_a_choice(tree):
    tree.preprocessed("sub-01", "task-rest")
    tree.preprocessed("sub-01", "task-epr")
    tree.preprocessed("sub-02", "task-rest")
    with pytest.raises(
        CohortError, match=r"'epr' \(1 person\), 'rest' \(2 people\).*cohort.task=NAME"
    ):
        find_runs(tree.root)
    with pytest.raises(CohortError, match=r"no run of task 'pain'.*'epr'.*cohort.task"):
        find_runs(tree.root, task="pain")
    assert len(find_runs(tree.root, task="rest").runs) == 2
    assert len(find_runs(tree.root, task="task-rest").runs) == 2


def test_several_sessions_are_a_choice(tree):
    for session in ("pre", "post"):
        tree.preprocessed("sub-01", session=session)
    tree.preprocessed("sub-02", session="pre")
    with pytest.raises(
        CohortError, match=r"'post' \(1 person\), 'pre' \(2 people\).*cohort.sessions=\[NAME"
    ):
        find_runs(tree.root)
    with pytest.raises(CohortError, match=r"no session 'mid'.*'post'"):
        find_runs(tree.root, sessions=["pre", "mid"])
    with pytest.raises(CohortError, match=r"an empty list of sessions"):
        find_runs(tree.root, sessions=[])
    listing = find_runs(tree.root, sessions=["ses-pre"])
    assert [run.session for run in listing.runs] == ["pre", "pre"]
    assert listing.faults == ()


def test_person_without_one_of_the_sessions_is_named(tree):
    for session in ("1", "2"):
        tree.preprocessed("sub-01", session=session)
    tree.preprocessed("sub-02", session="1")
    listing = find_runs(tree.root, sessions=[1, 2])  # as YAML reads them
    fault = only_fault(listing, r"sub-02: found no run of task 'rest' in session '2'")
    assert fault.participant_id == "sub-02"
    assert len(listing.runs) == 3


def test_several_spaces_are_a_choice(tree):
    tree.preprocessed("sub-01")
    tree.preprocessed("sub-01", output="space-MNI152NLin6Asym")
    with pytest.raises(
        CohortError, match=rf"'{MNI}' \(1\), 'MNI152NLin6Asym' \(1\).*cohort.space=NAME"
    ):
        find_runs(tree.root)
    assert find_runs(tree.root, space="MNI152NLin6Asym").runs[0].bold.space == "MNI152NLin6Asym"
    with pytest.raises(CohortError, match=r"no image in space 'MNI152Lin'.*cohort.space"):
        find_runs(tree.root, space="MNI152Lin")
    with pytest.raises(CohortError, match=r"space 'T1w'; accepted: MNI152, MNI152Lin"):
        find_runs(tree.root, space="T1w")


def test_several_resolutions_are_a_choice(tree):
    tree.preprocessed("sub-01", output=f"space-{MNI}_res-1")
    two = tree.preprocessed("sub-01", output=RES2)
    for space in (None, MNI):
        with pytest.raises(CohortError, match=rf"cohort.space=NAME, for instance {MNI}:res-1"):
            find_runs(tree.root, space=space)
    assert find_runs(tree.root, space=f"{MNI}:res-2").runs[0].bold.path == two


def test_space_without_resolution_prefers_images_without_one(tree):
    native = tree.preprocessed("sub-01")
    tree.preprocessed("sub-01", output=RES2)
    (run,) = find_runs(tree.root, space=MNI).runs
    assert run.bold.path == native


def test_space_alone_finds_the_only_resolution(tree):
    tree.preprocessed("sub-01", output=RES2)
    (run,) = find_runs(tree.root, space=MNI).runs
    assert run.bold.space == MNI
    assert run.bold.mask.name == f"sub-01_task-rest_{RES2}_desc-brain_mask.nii.gz"


def test_choices_are_reported_together(tree):
    for session in ("1", "2"):
        tree.preprocessed("sub-01", session=session)
        tree.preprocessed("sub-01", session=session, output=RES2)
    with pytest.raises(CohortError, match=r"(?s)2 faults.*cohort.sessions.*cohort.space"):
        find_runs(tree.root)


# nothing to read ---------------------------------------------------------------------------------


def test_missing_folders_are_named(tree, tmp_path):
    with pytest.raises(CohortError, match=r"no such folder.*cohort.root"):
        find_runs(tmp_path / "nowhere")
    tree.preprocessed("sub-01")
    with pytest.raises(CohortError, match="nowhere: found no such folder"):
        find_runs(tree.root, raw=tmp_path / "nowhere")


def test_folder_without_bold_is_refused(tree):
    tree.describe("derivative")
    with pytest.raises(CohortError, match=r"no BOLD image.*give fMRIPrep's output"):
        find_runs(tree.root)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("task-rest_bold.nii.gz", "raw images"),
        ("task-rest_desc-preproc_bold.nii.gz", "native space"),
        ("task-rest_space-T1w_desc-preproc_bold.nii.gz", "space T1w"),
        ("task-rest_space-fsLR_den-91k_bold.dtseries.nii", "CIFTI output in fsLR"),
        ("task-rest_hemi-L_space-fsaverage5_bold.func.gii", "surface output in fsaverage5"),
        (f"task-rest_part-phase_space-{MNI}_desc-preproc_bold.nii.gz", "part-phase"),
        (f"task-rest_space-{MNI}_desc-smoothAROMAnonaggr_bold.nii.gz", "desc-smoothAROMA"),
    ],
)
def test_tree_without_usable_images_says_what_there_is(tree, name, found):
    tree.path("sub-01", name).touch()
    match = rf"no preprocessed image in MNI space, but {found}.*\(1\).*--output-spaces MNI152"
    with pytest.raises(CohortError, match=match):
        find_runs(tree.root)


def test_single_echoes_have_to_be_combined(tree):
    for echo in (1, 2):
        tree.path("sub-01", f"task-rest_echo-{echo}_space-{MNI}_desc-preproc_bold.nii.gz").touch()
    with pytest.raises(CohortError, match=r"single echoes \(2\).*combine the echoes"):
        find_runs(tree.root)


def test_chosen_session_without_usable_images_is_refused(tree):
    tree.preprocessed("sub-01", session="1")
    tree.preprocessed("sub-01", session="2", output="space-T1w")
    with pytest.raises(CohortError, match=r"no preprocessed image in MNI space, but space T1w"):
        find_runs(tree.root, sessions=["2"])


# faults of people --------------------------------------------------------------------------------


def test_person_without_a_run_is_named(tree):
    tree.preprocessed("sub-01")
    tree.preprocessed("sub-02", "task-epr")
    (tree.root / "sub-03" / "anat").mkdir(parents=True)
    listing = find_runs(tree.root, task="rest")
    assert listing.everyone == ("sub-01", "sub-02", "sub-03")
    assert [fault.participant_id for fault in listing.faults] == ["sub-02", "sub-03"]
    assert "no run of task 'rest'" in str(listing.faults[0])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("task-rest_space-T1w_desc-preproc_bold.nii.gz", r"space T1w \(1\)"),
        ("task-rest_desc-preproc_bold.nii.gz", r"native space .*\(1\)"),
        (f"task-rest_{RES2}_desc-preproc_bold.nii.gz", rf"space {MNI}:res-2"),
        (f"task-rest_echo-2_space-{MNI}_desc-preproc_bold.nii.gz", "single echoes"),
        (f"task-rest_space-{MNI}_desc-denoised_bold.nii.gz", "desc-denoised"),
    ],
)
def test_run_without_the_wanted_image_is_named(tree, name, found):
    tree.preprocessed("sub-01")
    tree.path("sub-02", name).touch()
    listing = find_runs(tree.root, space=MNI)
    fault = only_fault(listing, rf"sub-02_task-rest: found no such image but {found}")
    assert fault.participant_id == "sub-02"
    assert [run.bold.participant_id for run in listing.runs] == ["sub-01"]


def test_other_variants_beside_the_wanted_image_are_no_fault(tree):
    image = tree.preprocessed("sub-01")
    for name in (
        "task-rest_echo-1_desc-preproc_bold.nii.gz",
        "task-rest_space-T1w_desc-preproc_bold.nii.gz",
        "task-rest_space-fsLR_den-91k_bold.dtseries.nii",
        f"task-rest_space-{MNI}_desc-smoothAROMAnonaggr_bold.nii.gz",
        f"task-rest_space-{MNI}_boldref.nii.gz",
    ):
        tree.path("sub-01", name).touch()
    listing = find_runs(tree.root)
    assert ([run.bold.path for run in listing.runs], listing.faults) == ([image], ())


def test_same_run_twice_is_named(tree):
    image = tree.preprocessed("sub-01")
    image.with_name(image.name.removesuffix(".gz")).touch()
    listing = find_runs(tree.root)
    only_fault(listing, r"sub-01_task-rest: found several images: .*nii, .*nii.gz.*all but one")
    assert listing.runs == ()


@pytest.mark.parametrize(
    ("ending", "match"),
    [
        ("space-" + MNI + "_desc-brain_mask.nii.gz", r"no mask.*desc-brain_mask.nii.gz"),
        ("desc-confounds_timeseries.tsv", r"no confounds.*desc-confounds_timeseries.tsv"),
    ],
)
def test_missing_mask_or_confounds_are_named(tree, ending, match):
    tree.preprocessed("sub-01")
    tree.path("sub-01", f"task-rest_{ending}").unlink()
    listing = find_runs(tree.root)
    assert only_fault(listing, match).participant_id == "sub-01"
    assert listing.runs == ()


def test_confounds_may_be_missing_where_none_are_taken_out(tree):
    tree.preprocessed("sub-01")
    tree.path("sub-01", "task-rest_desc-confounds_timeseries.tsv").unlink()
    listing = find_runs(tree.root, needs_confounds=False)
    assert (listing.runs[0].confounds, listing.faults) == (None, ())


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", r"a sidecar that can't be read"),
        ("[2.0]", r"a sidecar that can't be read \(a JSON list\)"),
        ("[" * 100_000, r"a sidecar that can't be read \(objects or lists inside"),
        ('{"RepetitionTime": 1' + "0" * 400 + "}", r"RepetitionTime inf"),
        ("{}", r"no RepetitionTime; .*cohort.raw=FOLDER"),
        ('{"VolumeTiming": [0, 3, 5]}', r"no RepetitionTime but VolumeTiming"),
        ('{"RepetitionTime": "2.0"}', r"RepetitionTime '2.0', no number"),
        ('{"RepetitionTime": true}', r"RepetitionTime True, no number"),
        ('{"RepetitionTime": null}', r"RepetitionTime None, no number"),
        ('{"RepetitionTime": 0}', r"RepetitionTime 0; accepted: RepetitionTime in seconds"),
        ('{"RepetitionTime": NaN}', r"RepetitionTime nan"),
        ('{"RepetitionTime": 2000}', r"RepetitionTime 2000, probably milliseconds"),
    ],
)
def test_bad_sidecar_is_named(tree, text, match):
    tree.preprocessed("sub-01")
    path = tree.path("sub-01", f"task-rest_space-{MNI}_desc-preproc_bold.json")
    path.write_text(text)
    listing = find_runs(tree.root)
    fault = only_fault(listing, match)
    assert (fault.where, fault.participant_id) == (str(path), "sub-01")
    assert listing.runs == ()


def test_all_faults_of_a_run_come_together(tree):
    tree.preprocessed("sub-01")
    tree.preprocessed("sub-02")
    for path in tree.path("sub-02", "x").parent.glob("*"):
        if "preproc_bold.nii" not in path.name:
            path.write_text("{") if path.suffix == ".json" else path.unlink()
    listing = find_runs(tree.root)
    assert [fault.participant_id for fault in listing.faults] == ["sub-02"] * 3
    assert [run.bold.participant_id for run in listing.runs] == ["sub-01"]


def test_derivatives_above_are_no_raw_data_set(tree, raw):
    tree.preprocessed("sub-01", "task-epr")
    raw.events("sub-01", "task-epr")
    raw.describe("derivative")
    assert find_runs(tree.root).runs[0].events is None


# spellings and choices --------------------------------------------------------------------------


def test_everyone_without_a_run_is_named_with_the_images_there_are(tree):
    tree.preprocessed("sub-01")
    tree.preprocessed("sub-02", "task-pain")
    (tree.root / "sub-03" / "func").mkdir(parents=True)
    listing = find_runs(tree.root, task="rest")
    found = {fault.participant_id: fault.found for fault in listing.faults}
    assert set(found) == {"sub-02", "sub-03"}
    assert found["sub-02"].startswith("no run of task 'rest', but sub-02_task-pain_")
    assert found["sub-03"] == "no run of task 'rest'"
    assert listing.everyone == ("sub-01", "sub-02", "sub-03")


def test_ending_may_be_in_capitals(tree):
    image = tree.preprocessed("sub-01")
    image.rename(image.with_name(image.name.replace("nii.gz", "NII.GZ")))
    (run,) = find_runs(tree.root).runs
    assert run.bold.path.name.endswith(".NII.GZ")


def test_images_of_one_run_need_a_choice(tree):
    tree.preprocessed("sub-01", "task-rest_rec-a")
    tree.preprocessed("sub-01", "task-rest_rec-b")
    only_fault(find_runs(tree.root), r"rec is 'a' or 'b'.*'cohort.entities=\{rec: b\}'")
    (run,) = find_runs(tree.root, entities={"rec": "a"}).runs
    assert run.bold.run_id == "sub-01_task-rest_rec-a"
    with pytest.raises(CohortError, match=r"no BOLD image with rec 'c'; accepted: a, b; "):
        find_runs(tree.root, entities={"rec": "c"})
