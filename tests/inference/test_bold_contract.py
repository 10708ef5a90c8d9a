import json
from dataclasses import replace

import pytest

from fmnet.bold.settings import CleaningSettings
from fmnet.errors import BundleError
from fmnet.inference.bold_contract import (
    BoldContract,
    cleaning_words,
    read_contract,
    write_contract,
)

CONTRACT = BoldContract(CleaningSettings(), ("alff", "seed:pcc=0,-52,26"), 2.2)


@pytest.mark.parametrize(
    "contract",
    [
        CONTRACT,
        BoldContract(CleaningSettings("none", None, None, 0.5, 30), (), 0.72),
    ],
)
def test_disk_and_back_is_identical(tmp_path, contract):
    write_contract(contract, tmp_path)
    assert read_contract(tmp_path) == contract


def test_limit_of_an_earlier_bundle_is_not_lost(tmp_path):
    contract = BoldContract(CleaningSettings(fd_threshold=0.4), ("alff",), 2.0)
    write_contract(contract, tmp_path)
    path = tmp_path / "bold.json"
    path.write_text(path.read_text().replace("fd_threshold", "scrub_mm"))
    assert read_contract(tmp_path) == contract
    path.write_text(path.read_text().replace("0.4", "-1"))
    with pytest.raises(BundleError, match=r"'cleaning\.scrub_mm' that is not"):
        read_contract(tmp_path)


def test_is_absent_where_maps_go_in(tmp_path):
    assert read_contract(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"t_r": 0}, "'t_r' that is not a number above 0"),
        ({"t_r": None}, "'t_r' that is not a number above 0"),
        ({"maps": "alff"}, "'maps' that is not a list"),
        ({"cleaning": {}}, "no 'cleaning.strategy', no 'cleaning.min_volumes'"),
        ({"cleaning": []}, "no 'cleaning.strategy', no 'cleaning.low_hz'"),
        ({"cleaning": {"strategy": "aroma", "min_volumes": 50}}, "not one of none, motion6, "),
        ({"cleaning": {"strategy": "none", "min_volumes": 50, "low_hz": "1"}}, "'cleaning.low_hz'"),
    ],
)
def test_field_that_is_missing_or_wrong_is_named(tmp_path, change, found):
    write_contract(CONTRACT, tmp_path)
    path = tmp_path / "bold.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=rf"bold\.json: found .*{found}"):
        read_contract(tmp_path)


def test_confounds_are_needed_for_regressors_and_for_scrubbing():
    bare = CleaningSettings("none", fd_threshold=None)
    assert not BoldContract(bare, (), 2.0).needs_confounds
    assert BoldContract(replace(bare, fd_threshold=0.5), (), 2.0).needs_confounds
    assert BoldContract(replace(bare, strategy="motion6"), (), 2.0).needs_confounds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "cleaned of drift, 24 motion parameters and the means of white matter and CSF, "
            "band-pass filtered from 0.01 to 0.1 Hz",
        ),
        (
            {"strategy": "motion6", "high_hz": None},
            "cleaned of drift and 6 motion parameters, high-pass filtered at 0.01 Hz",
        ),
        (
            {"strategy": "none", "low_hz": None, "fd_threshold": 0.5},
            "cleaned of drift, low-pass filtered at 0.1 Hz, without volumes of more than 0.5 mm "
            "framewise displacement",
        ),
        # its cosines take slow drift out, so that there is no high-pass filter beside them
        (
            {"strategy": "compcor"},
            "cleaned of drift, 24 motion parameters and anatomical components (aCompCor), "
            "low-pass filtered at 0.1 Hz",
        ),
    ],
)
def test_cleaning_is_said_as_it_is_done(changes, words):
    assert cleaning_words(replace(CleaningSettings(), **changes)) == words


def test_says_in_words_what_has_to_be_given():
    given = "a preprocessed BOLD run of task rest in MNI152 space with fMRIPrep's confounds"
    assert CONTRACT.words("MNI152", "rest") == f"{given}, repetition time 2.2 s"
    bare = replace(CONTRACT, cleaning=CleaningSettings("none"))
    assert bare.words("MNI152") == "a preprocessed BOLD run in MNI152 space, repetition time 2.2 s"
