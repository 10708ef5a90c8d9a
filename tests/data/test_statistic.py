from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fmnet.data.nifti import read_volume, stated_stat
from fmnet.data.scans import Scan
from fmnet.data.statistic import header_stat, name_stat, same_stat, stat_fault, stat_faults


def header_of(intent=0, description=b""):
    header = nib.Nifti1Header()
    header["intent_code"], header["descrip"] = intent, description
    return header


@pytest.mark.parametrize(
    ("intent", "stat"),
    [
        *[(0, ""), (3, "t"), (4, "f"), (5, "z"), (22, "p"), (24, "logp"), (1001, "effect")],
        *[(1002, "labels"), (1007, "vectors"), (2006, "warp"), (1011, ""), (2001, ""), (999, "")],
    ],
)
def test_intent_code_says_the_statistic(intent, stat):
    assert header_stat(header_of(intent)) == stat


@pytest.mark.parametrize(
    ("description", "stat"),
    [
        (b"SPM{T_[19.0]} - contrast 1: pain", "t"),
        (b"SPM{F_[2.0,19.0]}", "f"),
        (b"spm - contrast 1", ""),
        (b"\xff\xfeSPM{T_", ""),
    ],
)
def test_description_of_spm_says_it_where_the_intent_does_not(description, stat):
    assert header_stat(header_of(0, description)) == stat
    assert header_stat(header_of(5, description)) == "z"
    assert header_stat(nib.AnalyzeHeader()) == ""


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti1Pair, nib.Nifti2Image])
def test_maps_carry_what_their_header_says(tmp_path, write_map, image_class):
    path = tmp_path / ("map.img" if image_class is nib.Nifti1Pair else "map.nii.gz")
    image = image_class(np.ones((7, 8, 9), np.float32), np.diag([2.0, 3, 4, 1]))
    image.header.set_intent("t test", (12,))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("afni", b"x" * 4000))
    image.to_filename(path)
    assert read_volume(path, "MNI152").stat == stated_stat(path) == "t"


def test_names_of_one_statistic_agree():
    assert same_stat("Z", "zstat")
    assert same_stat("tstat", "t")
    assert same_stat("cope", "effect")
    assert not same_stat("psc", "effect")
    assert name_stat(Path("stat-t/sub-01_stat-zscore_statmap.nii.gz")) == "zscore"
    assert name_stat(Path("con_0001.nii")) == ""


@pytest.mark.parametrize(
    ("stat", "wanted"),
    [
        *[("", "z"), ("z", "zstat"), ("t", "n/a"), ("t", ""), ("effect", "beta")],
        *[("effect", "psc"), ("p", "p"), ("effect", "variance"), ("z", "falff")],
    ],
)
def test_statistics_that_fit(stat, wanted):
    assert stat_fault(stat, wanted, "a.nii") is None


@pytest.mark.parametrize(
    ("stat", "wanted", "words"),
    [
        ("p", "z", "p values"),
        ("p", "n/a", "p values"),
        ("logp", "falff", "logarithms of p values"),
        ("t", "z", "t values"),
        ("effect", "z", "estimates (effects)"),
        ("z", "effect", "z values"),
        ("labels", "n/a", "labels"),
        ("vectors", "z", "vectors"),
        ("chi2", "F", "chi-squared"),
    ],
)
def test_statistics_that_do_not_fit(stat, wanted, words):
    fault = stat_fault(stat, wanted, "a.nii")
    assert fault is not None
    assert fault.found.startswith(f"a map whose header says {words}")
    assert fault.accepted == (
        "a map of a statistic or effect" if wanted == "n/a" else f"'{wanted}'"
    )


def test_maps_of_a_cohort_have_one_statistic():
    names = ["a", "b_stat-t", "c_stat-z", "d", "e"]
    scans = [Scan(name, name, (Path(f"{name}.nii"),), "MNI152") for name in names]
    said = {"a": ("z",), "b_stat-t": ("",), "c_stat-z": ("z",), "d": ("t",), "e": ("p",)}
    assert [f.participant_id for f in stat_faults(scans, said, "z")] == ["b_stat-t", "d", "e"]
    assert [f.participant_id for f in stat_faults(scans, said, "n/a")] == ["d", "e"]
    assert [f.participant_id for f in stat_faults(scans, {"a": ("t",)}, "effect")] == ["a"]
    assert stat_faults(scans, {}, "z") == []
