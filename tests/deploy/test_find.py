import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fmnet.deploy.find import find_new_scans
from fmnet.deploy.predict import predict_scan

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
