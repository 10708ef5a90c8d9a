import os
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.bids_tree import MAX_AGAIN, MAX_DEPTH, describe, read_tree


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
    people = read_tree(tmp_path).people
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
    (person,) = read_tree(tmp_path).people
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
