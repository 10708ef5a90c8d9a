import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fmnet.errors import VolumeError
from fmnet.inference.find import check_contrasts, find_new_scans, in_order, stated_space
from fmnet.inference.predict import check_stat, predict_scan, stated

CONTRASTS = ("pressure", "visual")
OWN, OTHER = "MNI152NLin2009aSym", "MNI152NLin6Asym"


@pytest.fixture
def person(finished):
    return finished.listing.scans[3]


@pytest.fixture
def tree(finished, tmp_path):
    """A copy of the first three people's maps."""
    root = Path(finished.listing.scans[0].files[0]).parents[2]
    for scan in finished.listing.scans[:3]:
        shutil.copytree(root / scan.participant_id, tmp_path / "tree" / scan.participant_id)
    return tmp_path / "tree"


@pytest.fixture
def unprivileged():
    """Root may enter every folder: be nobody for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def joined(files):
    return ",".join(map(str, files))


def renamed(files, folder, old, new):
    copies = tuple(folder / file.name.replace(old, new) for file in files)
    folder.mkdir(exist_ok=True)
    for file, copy in zip(files, copies, strict=True):
        shutil.copy(file, copy)
    return copies


def write_table(path, rows, header="participant_id\tcontrast\tpath"):
    path.write_text("\n".join([header, *("\t".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def rows_of(scan, files=None):
    return [
        (scan.participant_id, contrast, file)
        for contrast, file in zip(CONTRASTS, files or scan.files, strict=True)
    ]


def only_error(found):
    scans, (error,) = found
    assert not scans
    assert error.status == "error"
    return error.reason


# maps joined by commas -------------------------------------------------------------------------


def test_maps_are_found_with_their_space(bundle, person):
    (scan,), errors = find_new_scans(joined(person.files), bundle)
    assert (scan.files, scan.space) == (person.files, OWN)
    assert not errors


def test_stated_contrasts_are_scored_alike_in_any_order(bundle, person):
    scores = []
    for files in (person.files, person.files[::-1]):
        (scan,), _ = find_new_scans(joined(files), bundle)
        scores.append(predict_scan(bundle, scan).score)
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("contrast-visual", "contrast-sound", "maps of contrast pressure, sound"),
        ("contrast-visual_", "contrast-pressure_acq-2_", "maps of contrast pressure, pressure"),
        ("stat-z", "stat-t", "name says statistic 't'"),
        (f"space-{OWN}", "space-T1w", "space 'T1w'"),
        (f"space-{OWN}_contrast-visual", f"space-{OTHER}_contrast-visual", "several spaces"),
    ],
)
def test_names_that_contradict_are_an_error(bundle, person, tmp_path, old, new, found):
    files = renamed(person.files, tmp_path, old, new)
    assert found in only_error(find_new_scans(joined(files), bundle))


def test_same_file_for_two_channels_is_an_error(bundle, person, tmp_path):
    assert "pressure, pressure" in only_error(find_new_scans(joined([person.files[0]] * 2), bundle))
    bare = shutil.copy(person.files[0], tmp_path / "a.nii.gz")
    (scan,), _ = find_new_scans(f"{bare},{bare}", bundle)
    assert "the same map twice" in predict_scan(bundle, scan).reason


def test_space_of_the_user_overrules_names(bundle, person, tmp_path):
    files = renamed(person.files, tmp_path, f"space-{OWN}", "space-T1w")
    (scan,), errors = find_new_scans(joined(files), bundle, space="MNI152")
    assert (scan.space, errors) == ("MNI152", [])
    assert predict_scan(bundle, scan).status == "ok"


def test_existing_name_with_a_comma_is_one_file(bundle, person, tmp_path):
    file = shutil.copy(person.files[0], tmp_path / "a,b.nii.gz")
    (scan,), _ = find_new_scans(str(file), bundle)
    assert scan.files == (file,)


def test_blanks_after_commas_are_no_part_of_names(bundle, person):
    (scan,), _ = find_new_scans(", ".join(map(str, person.files)), bundle)
    assert scan.files == person.files


@pytest.mark.parametrize("source", ["a.nii,", ",a.nii", "a.nii,,b.nii", ",", ""])
def test_empty_name_is_an_error(bundle, source):
    assert "an empty name between commas" in only_error(find_new_scans(source, bundle))


@pytest.mark.parametrize("source", ["scan", "a.nii,b", "a..nii,.", "sub-01_space-x_", "x" * 5000])
def test_odd_names_are_errors_when_scored(bundle, source):
    scans, errors = find_new_scans(source, bundle)
    results = [*errors, *(predict_scan(bundle, scan) for scan in scans)]
    assert [result.status for result in results] == ["error"]


def test_folder_that_may_not_be_entered_is_an_error(bundle, person, tmp_path, unprivileged):
    locked = tmp_path / "locked"
    if os.geteuid() != 65534:
        locked.mkdir()
        locked.chmod(0)
    source = f"{locked / 'a.nii'},{locked / 'b.nii'}"
    (scan,), _ = find_new_scans(source, bundle)
    assert "may not read" in predict_scan(bundle, scan).reason


def test_folder_that_may_not_be_read_is_an_error(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "may not read" in only_error(find_new_scans(str(tmp_path), bundle))


# tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["new.tsv", "new.TSV"])
def test_table_is_found_whatever_the_case(bundle, finished, tmp_path, name):
    rows = [row for scan in finished.listing.scans[:3] for row in rows_of(scan)]
    scans, errors = find_new_scans(write_table(tmp_path / name, rows), bundle)
    assert [scan.space for scan in scans] == [OWN] * 3
    assert not errors
    assert predict_scan(bundle, scans[0]).status == "ok"


def test_comma_table_in_upper_case(bundle, person, tmp_path):
    rows = "".join(f"{','.join(map(str, row))}\n" for row in rows_of(person))
    (tmp_path / "new.CSV").write_text("participant_id,contrast,path\n" + rows)
    (scan,), errors = find_new_scans(str(tmp_path / "new.CSV"), bundle)
    assert (scan.files, errors) == (person.files, [])


def test_person_without_a_needed_contrast_is_an_error_row(bundle, finished, person, tmp_path):
    rows = [*rows_of(person), ("sub-other", "sound", person.files[0])]
    (scan,), (error,) = find_new_scans(write_table(tmp_path / "new.tsv", rows), bundle)
    assert scan.name == person.participant_id
    assert (error.scan, error.status) == ("sub-other", "error")
    assert "no map of any contrast asked for" in error.reason


def test_table_that_contradicts_names_is_an_error_of_its_scan(bundle, finished, tmp_path):
    good, bad = finished.listing.scans[:2]
    rows = [*rows_of(good), *rows_of(bad, bad.files[::-1])]
    (scan,), (error,) = find_new_scans(write_table(tmp_path / "new.tsv", rows), bundle)
    assert scan.name == good.participant_id
    assert error.scan == bad.participant_id
    assert "whose name says 'visual'" in error.reason


def test_space_column_wins_over_names_and_option(bundle, person, tmp_path):
    rows = [(*row, "MNI152") for row in rows_of(person)]
    header = "participant_id\tcontrast\tpath\tspace"
    table = write_table(tmp_path / "new.tsv", rows, header)
    (scan,), _ = find_new_scans(table, bundle, space=OTHER)
    assert scan.space == "MNI152"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file"),
        ("participant_id\tpath\n", "no row"),
        ("participant_id\tpath\n1\ta.nii\n", "no map of contrast pressure, visual"),
    ],
)
def test_table_of_no_use_is_an_error_row_in_its_own_words(bundle, tmp_path, content, found):
    table = tmp_path / "new.tsv"
    if content is not None:
        table.write_text(content)
    reason = only_error(find_new_scans(str(table), bundle))
    assert found in reason
    assert "cohort." not in reason


# folders ---------------------------------------------------------------------------------------


def test_people_of_a_folder_are_found_and_incomplete_ones_named(bundle, tree):
    next(tree.glob("sub-*/func/*contrast-visual*")).unlink()
    scans, (error,) = find_new_scans(str(tree), bundle)
    assert len(scans) == 2
    assert "0 of 'visual'" in error.reason


def test_person_of_a_folder_without_a_needed_map_is_an_error_row(bundle, tree):
    folder = sorted(tree.iterdir())[0]
    for path in folder.rglob("*.nii.gz"):
        path.rename(str(path).replace("stat-z", "stat-t"))
    scans, (error,) = find_new_scans(str(tree), bundle)
    assert len(scans) == 2
    assert error.scan == folder.name
    assert "no map that is needed, but sub-" in error.reason
    assert "stat-t_statmap.nii.gz; accepted: pressure, visual (z)" in error.reason


def double(tree, space, people=3):
    """Give the first people their maps in a further space."""
    for folder in sorted(tree.iterdir())[:people]:
        for path in list(folder.rglob(f"*space-{OWN}*")):
            shutil.copy(path, str(path).replace(OWN, space))


def test_maps_in_several_spaces_are_read_in_the_signatures(bundle, tree):
    double(tree, OTHER)
    scans, errors = find_new_scans(str(tree), bundle)
    assert [scan.space for scan in scans] == [OWN] * 3
    assert not errors


def test_space_of_the_user_chooses_among_several(bundle, tree):
    double(tree, OTHER, people=2)
    scans, (error,) = find_new_scans(str(tree), bundle, space=OTHER)
    assert [scan.space for scan in scans] == [OTHER] * 2
    assert f"no map that is needed in space '{OTHER}'" in error.reason


def test_several_spaces_without_the_signatures_name_the_option(bundle, tree):
    double(tree, OTHER)
    double(tree, "MNI152Lin")
    foreign = {"input": bundle.metadata["input"] | {"space": "MNI152NLin2009cAsym"}}
    elsewhere = replace(bundle, metadata=bundle.metadata | foreign)
    reason = only_error(find_new_scans(str(tree), elsewhere))
    assert "the same maps in several spaces" in reason
    assert "say which to read: --space NAME" in reason
    assert "cohort." not in reason


def test_space_of_the_user_overrules_a_folders_names(bundle, tree):
    scans, _ = find_new_scans(str(tree), bundle, space="MNI152")
    assert [scan.space for scan in scans] == ["MNI152"] * 3


@pytest.mark.parametrize("name", ["", "sub-01_contrast-x_stat-z_statmap.nii", "sub-01_bold.nii"])
def test_folder_of_no_use_is_an_error_row_in_its_own_words(bundle, tmp_path, name):
    if name:
        (tmp_path / name).write_text("")
    reason = only_error(find_new_scans(str(tmp_path), bundle))
    assert "cohort" not in reason


# what is found in folders ----------------------------------------------------------------------


@pytest.fixture
def pressure():
    """What finding asks of a signature: one contrast, z maps."""
    wanted = {"contrasts": ["pressure"], "stat": "z", "space": OWN}
    preparation = SimpleNamespace(contrasts=("pressure",))
    return SimpleNamespace(preparation=preparation, metadata={"input": wanted}, contract=None)


@pytest.fixture
def touch_tree(tmp_path):
    """Write empty files, which is all that finding looks at."""

    def build(*places):
        for place in places:
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).touch()
        return str(tmp_path)

    return build


def test_everyone_in_a_folder_has_a_row(pressure, touch_tree):
    source = touch_tree(
        "sub-01/func/sub-01_contrast-pressure_stat-z_statmap.NII.GZ",
        "sub-02/sub-02_contrast-pressure_stat-z_statmap.img",
        "sub-02/sub-02_contrast-pressure_stat-z_statmap.hdr",
        "SUB-03/ses-1/func/SUB-03_ses-1_contrast-pressure_stat-Z_statmap.nii",
        "sub-04_contrast-pressure_stat-zstat_statmap.nii.gz",
        "sub-05/sub-05_zmap.nii",
        "sub-06/con_0001.nii",
        "sub-07/func/sub-07_task-x_bold.json",
        "sub-08/sub-08_contrast-visual_stat-z_statmap.nii",
    )
    Path(source, "participants.tsv").write_text("participant_id\n01\nsub-09\n")
    scans, errors = find_new_scans(source, pressure)
    assert [scan.name for scan in scans] == ["sub-01", "sub-02", "sub-03_ses-1", "sub-04"]
    found = {error.scan: error.reason.split("; accepted")[0] for error in errors}
    assert found == {
        "sub-05": "sub-05: found no map that is needed, but sub-05_zmap.nii",
        "sub-06": "sub-06: found no map that is needed, but con_0001.nii",
        "sub-07": "sub-07: found no map that is needed",
        "sub-08": "sub-08: found no map that is needed, but "
        "sub-08_contrast-visual_stat-z_statmap.nii",
        "sub-09": "sub-09: found no map that is needed",
    }


def test_folder_without_any_map_has_a_row_for_everyone(pressure, touch_tree):
    source = touch_tree("sub-01/sub-01_zmap.nii", "sub-02/sub-02_tmap.nii", "sub-03/x.txt")
    scans, errors = find_new_scans(source, pressure)
    assert (scans, [error.scan for error in errors]) == ([], ["sub-01", "sub-02", "sub-03"])
    assert "but sub-02_tmap.nii" in errors[1].reason
    assert all("rename the maps the BIDS way" in error.reason for error in errors)
    assert not any("cohort" in error.reason.replace("cohort's", "") for error in errors)


def test_table_of_people_of_no_use_costs_no_scan(pressure, touch_tree):
    source = touch_tree("sub-01/sub-01_contrast-pressure_stat-z_statmap.nii")
    Path(source, "participants.tsv").write_bytes(b"participant_id\nM\xfc\n")
    (scan,), (error,) = find_new_scans(source, pressure)
    assert scan.name == "sub-01"
    assert "another encoding than UTF-8" in error.reason


def test_levels_are_a_choice(pressure, touch_tree):
    places = [
        f"node-{node}/sub-0{number}/sub-0{number}{run}_contrast-pressure_stat-z_statmap.nii"
        for number in (1, 2)
        for node, run in (("runLevel", "_run-1"), ("runLevel", "_run-2"), ("subjectLevel", ""))
    ]
    source = touch_tree(*places)
    reason = only_error(find_new_scans(source, pressure))
    assert "maps of several nodes: 'runLevel' (4 maps" in reason
    assert "--entity node=subjectLevel" in reason
    scans, errors = find_new_scans(source, pressure, entities={"node": "subjectLevel"})
    assert ([scan.name for scan in scans], errors) == (["sub-01", "sub-02"], [])
    first = {"node": "runLevel", "run": "1"}
    scans, errors = find_new_scans(source, pressure, entities=first)
    assert ([scan.name for scan in scans], errors) == (["sub-01_run-1", "sub-02_run-1"], [])


def test_entity_in_which_maps_differ_is_named(pressure, touch_tree):
    name = "sub-01/sub-01_res-{}_contrast-pressure_stat-z_statmap.nii"
    source = touch_tree(name.format(1), name.format(2))
    reason = only_error(find_new_scans(source, pressure))
    assert "res is '1' or '2': say which to read: --entity res=2" in reason
    (scan,), errors = find_new_scans(source, pressure, entities={"res": "2"})
    assert ("_res-2_" in scan.files[0].name, errors) == (True, [])


def test_person_with_maps_of_two_levels_costs_nobody_else(pressure, touch_tree):
    name = "{0}/{0}{1}_contrast-pressure_stat-z_statmap.nii"
    source = touch_tree(
        *(name.format(*one) for one in (("sub-01", ""), ("sub-01", "_run-1"), ("sub-02", "")))
    )
    (scan,), (error,) = find_new_scans(source, pressure)
    assert (scan.name, error.scan) == ("sub-02", "sub-01")
    assert "maps of several levels: without run" in error.reason
    assert "--entity run=n/a" in error.reason


def test_maps_that_state_nothing_are_taken_where_nobody_else_states_it(pressure, touch_tree):
    source = touch_tree(
        "sub-01/sub-01_statmap.nii",
        "sub-02/sub-02_contrast-pressure_statmap.nii",
        "sub-02/sub-02_contrast-pressure_stat-z_statmap.nii",
    )
    scans, errors = find_new_scans(source, pressure)
    assert [(scan.name, scan.says_contrast) for scan in scans] == [
        ("sub-01", False),
        ("sub-02", True),
    ]
    assert scans[1].files[0].name.endswith("stat-z_statmap.nii")
    assert not errors


def test_signature_of_unnamed_contrast_takes_the_one_there_is(pressure, touch_tree):
    pressure.preparation.contrasts = ("map",)
    source = touch_tree("sub-01/sub-01_contrast-x_stat-z_statmap.nii")
    (scan,), errors = find_new_scans(source, pressure)
    assert (scan.name, errors) == ("sub-01", [])
    touch_tree("sub-01/sub-01_contrast-y_stat-z_statmap.nii")
    assert "found contrasts x, y" in only_error(find_new_scans(source, pressure))


# names and tables ------------------------------------------------------------------------------


def test_table_without_contrasts_is_of_the_one_contrast(pressure, tmp_path):
    table = write_table(tmp_path / "new.tsv", [("sub-01", "a.nii,1")], "participant_id\tpath")
    (scan,), errors = find_new_scans(table, pressure)
    assert (scan.files, errors) == ((tmp_path / "a.nii",), [])
    assert not scan.says_contrast
    rows = [
        ("sub-01", "sub-01_contrast-visual_statmap.nii"),
        ("sub-02", "b.nii,2"),
        ("sub-03", "c.nii"),
    ]
    table = write_table(tmp_path / "new.tsv", rows, "participant_id\tpath")
    (scan,), errors = find_new_scans(table, pressure)
    assert scan.name == "sub-03"
    reasons = {error.scan: error.reason for error in errors}
    assert "maps of contrast visual" in reasons["sub-01"]
    assert "volume 2 of a file" in reasons["sub-02"]


def test_first_volume_as_spm_names_it_is_the_file(bundle, person, pressure):
    source = ",".join(f"{file},1" for file in person.files)
    (scan,), errors = find_new_scans(source, bundle)
    assert (scan.files, errors) == (person.files, [])
    assert "volume 2 of a file" in only_error(find_new_scans("con_0001.nii,2", pressure))


@pytest.mark.parametrize("source", ["mybids", "derivatives/glm", "x" * 300, "a.nii,mybids"])
def test_name_that_leads_nowhere_is_said(pressure, source):
    reason = only_error(find_new_scans(source, pressure))
    assert "no such file" in reason
    assert "BIDS-derivatives folder; to do: correct the path" in reason


def test_pipe_as_a_table_is_never_opened(pressure, tmp_path):
    os.mkfifo(tmp_path / "new.tsv")
    assert "a pipe, socket or device" in only_error(
        find_new_scans(str(tmp_path / "new.tsv"), pressure)
    )


NAMED = ("pressure", "visual", "sound")


def named(*names):
    return tuple(Path("contrast-folder_stat-t") / name for name in names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-01_contrast-pain_stat-z_statmap.nii.gz", ["pain", "z", ""]),
        ("sub-01_space-MNI152NLin6Asym_res-2_contrast-pain.nii", ["pain", "", "MNI152NLin6Asym"]),
        ("contrast-pain", ["pain", "", ""]),
        ("con_0001.nii", ["", "", ""]),
        ("subcontrast-a_nostat-b_contrast-.img", ["", "", ""]),
        ("", ["", "", ""]),
    ],
)
def test_reads_entities_off_any_name(name, expected):
    assert [stated([Path(name)], key)[0] for key in ("contrast", "stat", "space")] == expected


def test_stated_contrasts_are_put_in_order():
    files = named("contrast-sound.nii", "contrast-pressure.nii", "contrast-visual.nii")
    assert in_order(files, NAMED, "scan") == (files[1], files[2], files[0])


@pytest.mark.parametrize(
    "names", [("a.nii", "b.nii", "c.nii"), ("a.nii", "contrast-visual.nii", "c.nii")]
)
def test_unsaid_contrasts_keep_their_order(names):
    assert in_order(named(*names), NAMED, "scan") == named(*names)


@pytest.mark.parametrize(
    "names",
    [
        ("contrast-pressure.nii", "contrast-visual.nii", "contrast-taste.nii"),
        ("contrast-pressure.nii", "contrast-visual.nii", "contrast-visual.nii"),
        ("contrast-visual.nii", "b.nii", "c.nii"),
    ],
)
def test_other_contrasts_are_refused(names):
    expected = r"scan: found maps of contrast .*; accepted: pressure, visual, sound; .*a table"
    with pytest.raises(VolumeError, match=expected):
        in_order(named(*names), NAMED, "scan")


def test_signature_of_unnamed_contrast_takes_any():
    assert in_order(named("contrast-x.nii"), ("map",), "scan") == named("contrast-x.nii")


def test_table_and_name_that_disagree_are_refused():
    files = named("contrast-visual.nii", "contrast-pressure.nii")
    expected = "a map for contrast 'pressure' whose name says 'visual'"
    with pytest.raises(VolumeError, match=expected):
        check_contrasts(files, ("pressure", "visual"), "scan")
    check_contrasts(named("contrast-PressureHigh.nii", "b.nii"), ("pressure", "visual"), "scan")


def test_other_statistic_is_refused():
    with pytest.raises(VolumeError, match=r"name says statistic 't' .*b_stat-t\.nii.*: 'z'"):
        check_stat(named("a_stat-z.nii", "b_stat-t.nii"), "z", "scan")
    check_stat(named("a_stat-Z.nii", "b.nii"), "z", "scan")
    check_stat(named("a_stat-t.nii"), "n/a", "scan")


def test_space_is_read_off_names():
    files = named("a_space-MNI152NLin6Asym_map.nii", "b.nii")
    assert stated_space(files, "scan") == "MNI152NLin6Asym"
    assert stated_space(files[1:], "scan") == ""


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("space-MNI152NLin6Asym.nii", "space-MNI152Lin.nii"), "maps in several spaces: 'MNI152L"),
        (("space-MNI152NLin6Asym.nii", "space-T1w.nii"), "space 'T1w'"),
        (("a.nii", "space-T1w.nii"), "space 'T1w'"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(names, found):
    with pytest.raises(VolumeError, match=f"scan: found {found}"):
        stated_space(named(*names), "scan")
