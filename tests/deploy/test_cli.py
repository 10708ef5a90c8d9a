from dataclasses import replace

import pandas as pd
import pytest

from fmnet.deploy.cli import describe, main


def joined(scan):
    return ",".join(map(str, scan.files))


def test_writes_a_table_and_says_what_it_is(finished, tmp_path, capsys):
    out = tmp_path / "deep" / "results.tsv"
    scans = [joined(scan) for scan in finished.listing.scans[:3]]
    assert main([str(finished.bundle_dir), *scans, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out)
    assert "SYNTHETIC data" in printed.err
    assert "not a diagnosis" in printed.err
    table = pd.read_csv(out, sep="\t")
    assert list(table) == ["scan", "score", "probability", "status", "reason"]
    assert list(table["scan"]) == scans


def test_without_out_the_table_is_printed(finished, capsys):
    assert main([str(finished.bundle_dir), joined(finished.listing.scans[0])]) == 0
    assert capsys.readouterr().out.startswith("scan\tscore\tprobability\tstatus\treason\n")


def test_one_bad_scan_does_not_stop_the_others(finished, tmp_path, capsys):
    out = tmp_path / "results.tsv"
    arguments = [str(finished.bundle_dir), "a.nii,b.nii", joined(finished.listing.scans[0])]
    assert main([*arguments, "--out", str(out)]) == 0
    assert list(pd.read_csv(out, sep="\t")["status"]) == ["error", "ok"]
    assert "1 error, 1 ok" in capsys.readouterr().err


def test_status_1_when_nothing_was_scored(finished, capsys):
    assert main([str(finished.bundle_dir), "a.nii,b.nii"]) == 1
    assert "no such file" in capsys.readouterr().out


def test_status_2_without_a_bundle(tmp_path, capsys):
    assert main([str(tmp_path), "a.nii"]) == 2
    assert "no readable metadata.json" in capsys.readouterr().err


def test_status_2_when_the_table_cannot_be_written(finished, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    scan = joined(finished.listing.scans[0])
    assert main([str(finished.bundle_dir), scan, "--out", str(tmp_path / "file" / "x.tsv")]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_help_says_research_use(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "Research use only" in " ".join(capsys.readouterr().out.split())


def test_unusable_out_is_noticed_before_scoring(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fmnet.deploy.cli.predict_scan", None)
    scan = joined(finished.listing.scans[0])
    assert main([str(finished.bundle_dir), scan, "--out", str(tmp_path)]) == 2
    assert "the results can't be written" in capsys.readouterr().err


def test_arguments_of_no_use_are_rows_beside_the_others(finished, tmp_path):
    out = tmp_path / "results.csv"
    (tmp_path / "empty").mkdir()
    good = joined(finished.listing.scans[0])
    bad = ["gone.tsv", str(tmp_path / "empty"), "scan", f"{good},"]
    assert main([str(finished.bundle_dir), *bad[:2], good, *bad[2:], "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert list(table["scan"]) == [*bad[:2], good, *bad[2:]]
    assert list(table["status"]) == ["error", "error", "ok", "error", "error"]


def test_description_begins_with_the_control(bundle):
    sentence = "NEGATIVE CONTROL: labels were shuffled before anything else."
    training = bundle.metadata["training"] | {"control": sentence}
    shuffled = replace(bundle, metadata=bundle.metadata | {"training": training})
    assert describe(shuffled) == f"{sentence} {describe(bundle)}"
    assert describe(bundle).startswith("signature FM against HC")
