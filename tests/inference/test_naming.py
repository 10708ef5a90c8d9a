from pathlib import Path

import pytest

from fmnet.errors import VolumeError
from fmnet.inference.find import check_contrasts, in_order, stated_space
from fmnet.inference.predict import check_stat, stated

CONTRASTS = ("pressure", "visual", "sound")


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
    assert in_order(files, CONTRASTS, "scan") == (files[1], files[2], files[0])


@pytest.mark.parametrize(
    "names", [("a.nii", "b.nii", "c.nii"), ("a.nii", "contrast-visual.nii", "c.nii")]
)
def test_unsaid_contrasts_keep_their_order(names):
    assert in_order(named(*names), CONTRASTS, "scan") == named(*names)


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
        in_order(named(*names), CONTRASTS, "scan")


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
