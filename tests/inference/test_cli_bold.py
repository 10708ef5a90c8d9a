import shutil

import pandas as pd
import pytest

from fmnet.inference.cli import describe, main


@pytest.fixture
def bundle_dir(series_export):
    return str(series_export.bundle.folder)


@pytest.fixture
def image(bold_tree):
    return next(bold_tree.rglob("sub-02*_bold.nii.gz"))


def test_tree_becomes_a_table(bundle_dir, bold_tree, tmp_path, capsys):
    out = tmp_path / "results.tsv"
    assert main([bundle_dir, str(bold_tree), "--out", str(out)]) == 0
    table = pd.read_csv(out, sep="\t")
    assert list(table["scan"]) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert set(table["status"]) == {"ok"}
    assert (
        "a preprocessed BOLD run of task rest in MNI152NLin2009cAsym space"
        in capsys.readouterr().err
    )


def test_maps_and_series_are_scored_by_the_same_command(maps_export, image, capsys):
    assert main([str(maps_export.bundle.folder), str(image)]) == 0
    assert "\tok\t" in capsys.readouterr().out


def test_files_of_other_names_can_be_named(bundle_dir, image, tmp_path, capsys):
    run, confounds, mask = tmp_path / "run.nii.gz", tmp_path / "c.tsv", tmp_path / "m.nii.gz"
    shutil.copy(image, run)
    shutil.copy(next(image.parent.glob("*confounds*.tsv")), confounds)
    shutil.copy(next(image.parent.glob("*mask.nii.gz")), mask)
    assert main([bundle_dir, str(run)]) == 1
    assert "name it: --confounds FILE" in capsys.readouterr().out
    options = ["--confounds", str(confounds), "--mask", str(mask), "--t-r", "2"]
    assert main([bundle_dir, str(run), *options]) == 0
    alone = capsys.readouterr().out.splitlines()[1].split("\t")[1]
    main([bundle_dir, str(image)])
    assert capsys.readouterr().out.splitlines()[1].split("\t")[1] == alone


def test_stated_repetition_time_counts_and_not_the_header_s(bundle_dir, image, capsys):
    assert main([bundle_dir, str(image), "--t-r", "2.5"]) == 1
    assert "found a repetition time of 2.5 s; accepted: 2 s" in capsys.readouterr().out


def test_one_mask_can_not_be_that_of_two_runs(bundle_dir, image, bold_tree, capsys):
    for scans in ([str(image), str(image)], [str(bold_tree)]):
        assert main([bundle_dir, *scans, "--mask", "mask.nii.gz"]) == 2
        assert "--mask: found --mask beside" in capsys.readouterr().err


def test_options_of_runs_are_refused_for_maps(finished, capsys):
    scan = ",".join(map(str, finished.listing.scans[0].files))
    assert main([str(finished.bundle_dir), scan, "--t-r", "2"]) == 2
    assert "--t-r beside a signature of maps" in capsys.readouterr().err


def test_map_is_an_error_beside_a_run(bundle_dir, image, finished, capsys):
    assert main([bundle_dir, str(image), str(finished.listing.scans[0].files[0])]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split("\t")[3] for row in rows] == ["ok", "error"]
    assert "space 'MNI152NLin2009aSym'" in rows[1]
    assert "one 4-D NIfTI file of a BOLD run" in rows[1]


def test_run_is_an_error_where_maps_are_wanted(finished, image, bold_tree, capsys):
    assert main([str(finished.bundle_dir), f"{image},{image}", str(bold_tree)]) == 1
    rows = capsys.readouterr().out.splitlines()[1:]
    assert "found a BOLD run, 4-D; accepted: 3-D maps: pressure, visual (z)" in rows[0]
    assert "this is raw or preprocessed data: run a first-level model" in rows[1]


def test_description_names_the_task(series_export):
    said = describe(series_export.bundle)
    assert "input: a preprocessed BOLD run of task rest in MNI152NLin2009cAsym space with" in said
    assert said.endswith("repetition time 2 s")
