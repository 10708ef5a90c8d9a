import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.confounds import MODELS, MOTION6, MOTION24, read_nuisance
from fmnet.bold.settings import CleaningSettings
from fmnet.errors import VolumeError

T = 90
PLAIN = CleaningSettings("motion24_wm_csf")
#: Of which the table has two.
THREE_COMPONENTS = json.dumps({f"a_comp_cor_0{k}": {"Mask": "combined"} for k in range(3)})
COMPCOR = CleaningSettings("compcor")


@pytest.fixture
def run(tmp_path, write_confounds):
    """A run whose image isn't there: reading confounds needs none."""
    path = tmp_path / "func" / "sub-01_task-rest_space-A_desc-preproc_bold.nii.gz"
    confounds = write_confounds(
        tmp_path / "func" / "sub-01_task-rest_desc-confounds_timeseries.tsv"
    )
    return PreprocessedRun(BoldRun("r", "sub-01", path, "MNI152"), "rest", confounds=confounds)


def rewritten(run, change):
    table = change(pd.read_csv(run.confounds, sep="\t"))
    table.to_csv(run.confounds, sep="\t", index=False, na_rep="n/a")
    return run


def fault_of(run, settings=PLAIN, n_volumes=T):
    with pytest.raises(VolumeError) as caught:
        read_nuisance(run, n_volumes, settings)
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize(
    ("strategy", "names"),
    [
        ("none", ()),
        ("motion6", MOTION6),
        ("motion24", MOTION24),
        ("motion24_wm_csf", (*MOTION24, "csf", "white_matter")),
        ("motion24_wm_csf_global", (*MOTION24, "csf", "white_matter", "global_signal")),
        (
            "compcor",
            (*MOTION24, "cosine00", "cosine01", "a_comp_cor_00", "a_comp_cor_01"),
        ),
    ],
)
def test_strategy_takes_its_columns(run, strategy, names):
    nuisance = read_nuisance(run, T, CleaningSettings(strategy))
    assert sorted(nuisance.names) == sorted(names)
    table = pd.read_csv(run.confounds, sep="\t")[list(nuisance.names)].bfill(limit=1)
    np.testing.assert_allclose(nuisance.regressors, table.to_numpy(), rtol=1e-12)
    assert nuisance.regressors.shape == (T, len(names))
    assert nuisance.sha256 == hashlib.sha256(run.confounds.read_bytes()).hexdigest()


@pytest.mark.parametrize("strategy", [name for name in MODELS if name != "none"])
def test_agrees_with_nilearn(run, strategy):
    nuisance = read_nuisance(run, T, CleaningSettings(strategy))
    options = MODELS[strategy].options
    expected, kept = load_confounds(str(run.bold.path), demean=False, **options)
    np.testing.assert_array_equal(nuisance.regressors, expected.to_numpy())
    np.testing.assert_array_equal(nuisance.kept, kept)


@pytest.mark.parametrize(
    "name", ["sub-01_task-rest_desc-confounds_regressors.tsv", "else/odd-tsv.name.tsv"]
)
def test_reads_the_file_it_is_given(run, write_confounds, name):
    first = read_nuisance(run, T, PLAIN)
    other = replace(run, confounds=write_confounds(run.confounds.parent / name))
    second = read_nuisance(other, T, PLAIN)
    assert second.sha256 != first.sha256
    table = pd.read_csv(other.confounds, sep="\t")
    np.testing.assert_allclose(second.regressors[1:], table[list(second.names)].to_numpy()[1:])
    assert read_nuisance(other, T, COMPCOR).regressors.shape == (T, 28)


def test_leaves_nothing_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    read_nuisance(run, T, COMPCOR)
    assert not list((tmp_path / "tmp").iterdir())


def test_leaves_out_non_steady_and_scrubbed_volumes(run):
    def move_at_the_start(table):
        table.loc[1, "framewise_displacement"] = 3.0
        return table

    rewritten(run, move_at_the_start)
    nuisance = read_nuisance(run, T, replace(PLAIN, fd_threshold=0.5))
    np.testing.assert_array_equal(np.setdiff1d(range(T), nuisance.kept), [0, 1, 20, 69])
    assert (nuisance.n_non_steady, nuisance.n_scrubbed) == (2, 2)
    everything = read_nuisance(run, T, replace(PLAIN, fd_threshold=5.0))
    np.testing.assert_array_equal(everything.kept, np.arange(2, T))


def test_displacement_is_that_of_the_file(run):
    nuisance = read_nuisance(run, T, PLAIN)
    expected = pd.read_csv(run.confounds, sep="\t")["framewise_displacement"].to_numpy()
    assert np.isnan(nuisance.framewise_displacement_mm[0])
    np.testing.assert_allclose(nuisance.framewise_displacement_mm, expected)
    assert nuisance.mean_fd_mm == pytest.approx(np.nanmean(expected))


def test_needs_no_file_without_strategy(run):
    nuisance = read_nuisance(replace(run, confounds=None), T, CleaningSettings("none"))
    assert nuisance.regressors.shape == (T, 0)
    np.testing.assert_array_equal(nuisance.kept, np.arange(T))
    assert np.isnan(nuisance.framewise_displacement_mm).all()
    assert np.isnan(nuisance.mean_fd_mm)
    assert (nuisance.names, nuisance.sha256, nuisance.n_scrubbed) == ((), "", 0)


def test_file_counts_without_strategy_too(run):
    nuisance = read_nuisance(run, T, CleaningSettings("none", fd_threshold=0.5))
    assert len(nuisance.kept) == T - 4


@pytest.mark.parametrize(
    ("settings", "needed"),
    [(PLAIN, "motion24_wm_csf"), (CleaningSettings("none", fd_threshold=0.5), "scrubbing")],
)
def test_refuses_missing_confounds(run, settings, needed):
    fault = fault_of(replace(run, confounds=None), settings)
    assert fault.where == str(run.bold.path)
    assert fault.found == f"no confounds file, which {needed} needs"


def test_refuses_other_length(run):
    fault = fault_of(run, n_volumes=T + 1)
    assert fault.where == str(run.confounds)
    assert fault.found == "90 rows where the run has 91 volumes"


def test_names_missing_columns(run):
    rewritten(run, lambda table: table.drop(columns=["rot_y", "csf", "white_matter"]))
    assert fault_of(run).found == "no column 'rot_y', 'csf', 'white_matter'"


def test_counts_many_missing_columns(run):
    rewritten(run, lambda table: table[["global_signal", "framewise_displacement"]])
    assert fault_of(run).found.endswith("'trans_x_derivative1', 'trans_y_derivative1' and 18 more")


def test_refuses_columns_without_numbers(run):
    def spoil(table):
        table = table.astype({"rot_z": object})
        table.loc[5, "rot_z"] = "none"
        table.loc[7, "csf"] = np.nan
        table.loc[8, "trans_z"] = np.inf
        table["white_matter"] = np.nan
        return table

    assert fault_of(rewritten(run, spoil)).found == (
        "values that are missing or no numbers in 'trans_z' ('inf' in line 10), 'rot_z' ('none' in "
        "line 7), 'csf' (nothing in line 9), 'white_matter' (nothing in any line)"
    )


@pytest.mark.parametrize("strategy", ["motion6", "motion24_wm_csf", "compcor"])
def test_decimal_commas_are_read_as_points(run, strategy):
    settings = CleaningSettings(strategy, fd_threshold=0.5)
    expected = read_nuisance(run, T, settings)
    text = run.confounds.read_text()
    run.confounds.write_text(text.replace(".", ","))
    found = read_nuisance(run, T, settings)
    assert found.names == expected.names
    np.testing.assert_allclose(found.regressors, expected.regressors, rtol=1e-14)
    np.testing.assert_array_equal(found.kept, expected.kept)
    assert found.mean_fd_mm == expected.mean_fd_mm
    assert found.sha256 == hashlib.sha256(run.confounds.read_bytes()).hexdigest()


def test_commas_that_other_columns_show_to_be_decimal_are(run):
    """512,345 by itself might be half a million."""
    settings = CleaningSettings("motion24_wm_csf_global")
    numbers = [f"{512 + k}.345" for k in range(T)]
    expected = read_nuisance(
        rewritten(run, lambda table: table.assign(global_signal=numbers)), T, settings
    )
    run.confounds.write_text(run.confounds.read_text().replace(".", ","))
    found = read_nuisance(run, T, settings)
    np.testing.assert_allclose(found.regressors, expected.regressors, rtol=1e-14)
    alone = rewritten(run, lambda table: table.replace(",", ".", regex=True).assign(csf="1,234"))
    assert "'csf' ('1,234' in lines 2, 3, 4, 5, 6 and 85 more)" in fault_of(alone).found


@pytest.mark.parametrize(
    ("column", "cell", "found"),
    [
        ("trans_x", "0,21", "no numbers in 'trans_x' ('0,21' in line 7)"),
        ("trans_x", "0.21 mm", "no numbers in 'trans_x' ('0.21 mm' in line 7)"),
        ("trans_x", "-9999", "what looks like missing values in 'trans_x' ('-9999' in line 7)"),
        ("csf", "9999", "what looks like missing values in 'csf' ('9999' in line 7)"),
        ("framewise_displacement", "-9999", "missing values in 'framewise_displacement' ('-9999"),
        ("framewise_displacement", "-0.1", "missing values in 'framewise_displacement' ('-0.1' in"),
        ("framewise_displacement", "0,21", "no numbers in 'framewise_displacement' ('0,21' in"),
        ("framewise_displacement", "150.5", "no head makes in column 'framewise_displacement': '1"),
        ("non_steady_state_outlier00", "x", "no numbers in 'non_steady_state_outlier00' ('x' in"),
    ],
)
def test_names_line_and_cell_of_what_is_no_number(run, column, cell, found):
    def spoil(table):
        table = table.astype({column: object})
        table.loc[5, column] = cell
        return table

    assert found in fault_of(rewritten(run, spoil)).found


def test_minus_signs_and_spaces_of_word_processors_are_read(run):
    expected = read_nuisance(run, T, PLAIN)
    run.confounds.write_text(
        run.confounds.read_text().replace("-", "\u2212").replace("e\u2212", "e-"), "utf-8"
    )
    np.testing.assert_array_equal(read_nuisance(run, T, PLAIN).regressors, expected.regressors)


def test_scrubbing_needs_displacement_of_each_volume(run):
    def spoil(table):
        table.loc[[4, 9], "framewise_displacement"] = np.nan
        return table

    rewritten(run, spoil)
    assert np.isfinite(read_nuisance(run, T, PLAIN).mean_fd_mm)
    fault = fault_of(run, replace(PLAIN, fd_threshold=0.5))
    assert fault.found.startswith(
        "no values in column 'framewise_displacement': nothing in lines 6, 11"
    )


def test_columns_that_are_not_used_change_nothing(run):
    """Nilearn refuses files with any name in camel case, as fMRIPrep 1.1 wrote them."""
    expected = read_nuisance(run, T, COMPCOR)
    rewritten(run, lambda table: table.assign(myOwnColumn="text", stdDVARS=-9999))
    np.testing.assert_array_equal(read_nuisance(run, T, COMPCOR).regressors, expected.regressors)


def test_other_columns_may_hold_anything(run):
    read_nuisance(
        rewritten(run, lambda table: table.assign(csf="text")), T, CleaningSettings("motion6")
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"trans_x\tcsf\n", "0 rows"),
        (b"\xff\xfe\x00\x01", "a table in another encoding than UTF-8"),
        (b"/annex/objects/MD5E-s1--2.tsv\n", "a DataLad"),
    ],
)
def test_refuses_what_is_no_table(run, content, found):
    run.confounds.write_bytes(content)
    with pytest.raises(VolumeError) as caught:
        read_nuisance(run, T, PLAIN)
    assert caught.value.faults[0].where == str(run.confounds)
    assert caught.value.faults[0].found.startswith(found)


def test_refuses_file_that_is_not_there(run):
    gone = replace(run, confounds=run.confounds.with_name("gone.tsv"))
    assert fault_of(gone).found == "no such file"
    with pytest.raises(VolumeError, match=r"2 faults(.|\n)*gone\.tsv(.|\n)*gone\.json"):
        read_nuisance(gone, T, COMPCOR)


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (None, "no such file"),
        ("{", "a JSON file that can't be read"),
        ("[" * 100_000, "a JSON file that can't be read"),
        ("{}", "confounds that nilearn can't use"),
        (json.dumps({"a_comp_cor_00": {}}), "confounds that nilearn can't use"),
        (
            json.dumps({f"a_comp_cor_0{k}": {"Mask": "combined"} for k in range(3)}),
            "confounds that",
        ),
        ("[]", "a JSON file that can't be read (a JSON list)"),
    ],
)
def test_components_need_their_json(run, facts, found):
    path = run.confounds.with_suffix(".json")
    path.unlink()
    if facts is not None:
        path.write_text(facts)
    assert fault_of(run, COMPCOR).found.startswith(found)
    read_nuisance(run, T, PLAIN)


def test_components_need_cosines(run):
    rewritten(run, lambda table: table.drop(columns=["cosine00", "cosine01"]))
    fault = fault_of(run, COMPCOR)
    assert fault.found == "no column 'cosine00'"
    assert "the cosines that its components go with" in fault.accepted
    short = replace(run, bold=replace(run.bold, t_r=0.7))  # 63 s, in which fMRIPrep sees no drift
    assert len(read_nuisance(short, T, COMPCOR).names) == 26


def test_scrubbing_needs_displacement(run):
    rewritten(run, lambda table: table.drop(columns="framewise_displacement"))
    assert np.isnan(read_nuisance(run, T, PLAIN).framewise_displacement_mm).all()
    fault = fault_of(run, replace(PLAIN, fd_threshold=0.5))
    assert fault.found == "no values of framewise_displacement, which scrubbing needs"


def test_says_everything_at_once(run):
    rewritten(
        run, lambda table: table.drop(columns=["csf", "framewise_displacement"]).assign(rot_x="a")
    )
    with pytest.raises(VolumeError, match="4 faults"):
        read_nuisance(run, T + 1, replace(PLAIN, fd_threshold=0.5))


def test_refuses_run_with_too_little_left(run):
    found = "86 of 90 volumes left without 2 non-steady and 2 scrubbed ones"
    fault = fault_of(run, replace(PLAIN, fd_threshold=0.5, min_volumes=87))
    assert (fault.found, fault.accepted) == (found, "at least 87 (min_volumes)")
    read_nuisance(run, T, replace(PLAIN, fd_threshold=0.5, min_volumes=86))


def test_refuses_more_regressors_than_volumes(run):
    rewritten(run, lambda table: table[:30])
    settings = replace(PLAIN, min_volumes=1)
    fault = fault_of(run, settings, 30)
    assert fault.found.startswith("26 regressors, mean and drift, and 28 of 30 volumes left")
    read_nuisance(run, 30, replace(settings, strategy="motion24"))


def test_real_column_names_of_an_old_version_are_explained(run):
    rewritten(run, lambda table: table.rename(columns={"trans_x": "X", "csf": "CSF"}))
    fault = fault_of(run)
    assert fault.found == "no column 'trans_x', 'csf'"
    assert "fMRIPrep (1.4 or later)" in fault.action


def test_path_may_hold_tsv(run, tmp_path):
    folder = Path(tmp_path / "tsv.d")
    run.confounds.parent.rename(folder)
    moved = replace(run, confounds=folder / run.confounds.name)
    assert len(read_nuisance(moved, T, COMPCOR).names) == 28
