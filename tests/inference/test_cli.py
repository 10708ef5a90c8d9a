import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fmnet.inference.bundle_files import sha256_of, write_hashes
from fmnet.inference.cli import describe, main
from fmnet.synthetic.maps import write_cohort

COLUMNS = [
    "scan", "score", "probability", "probability_low", "probability_high", "set", "status",
    "gates_failed", "in_training", "reason",
]  # fmt: skip
SHIPPED = Path(__file__).resolve().parents[1] / "bundles" / "format_1"


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
    assert list(table) == COLUMNS
    assert list(table["scan"]) == scans


def test_without_out_the_table_is_printed(finished, capsys):
    assert main([str(finished.bundle_dir), joined(finished.listing.scans[0])]) == 0
    assert capsys.readouterr().out.splitlines()[0].split("\t") == COLUMNS


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
    monkeypatch.setattr("fmnet.inference.scoring.score_with_values", None)
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


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    people = write_cohort(tmp_path_factory.mktemp("people"), n_subjects=4, seed=1)
    return str(next(people.rglob("*_statmap.nii.gz")))


@pytest.fixture
def with_evidence(tmp_path):
    """Write the shipped bundle with other evidence; None for that of before it was recorded."""

    def write(evidence):
        copy = shutil.copytree(SHIPPED, tmp_path / "copy")
        metadata = json.loads((copy / "metadata.json").read_text())
        metadata.pop("evidence", None)
        metadata |= {} if evidence is None else {"evidence": evidence}
        (copy / "metadata.json").write_text(json.dumps(metadata))
        write_hashes(copy)
        return copy

    return write


KNOWN = {
    "verdict": "Above chance.",
    "red": ["age alone tells the groups apart.", "\x1b[31mmotion does."],
    "auc": 0.8,
    "auc_ci": [0.7, 0.9],
    "p": 0.02,
    "p_of": "the AUC of the small CNN",
    "n_permutations": 99,
    "n_subjects": 60,
}


def test_json_says_which_signature_and_what_is_known_of_it(with_evidence, scan, tmp_path, capsys):
    folder, out = with_evidence(KNOWN), tmp_path / "x.json"
    assert main([str(folder), scan, "größer.nii", "--out", str(out)]) == 0
    document = json.loads(out.read_text("utf-8"))
    assert document["signature"]["name"] == "copy"
    assert document["signature"]["sha256"] == sha256_of(folder / "SHA256SUMS")
    assert "not a diagnosis" in document["intended_use"]
    assert document["evidence"]["p"] == 0.02
    assert [one["scan"] for one in document["predictions"]] == [scan, "größer.nii"]
    for record in document["predictions"]:
        assert record["evidence"]["red"] == [KNOWN["red"][0], r"\x1b[31mmotion does."]
        assert record["evidence"]["verdict"] == "Above chance."
        assert (record["evidence"]["p"], record["evidence"]["n_subjects"]) == (0.02, 60)
        assert "trained on synthetic data: for demonstration only" in record["warnings"]
        assert "not a diagnosis" in record["intended_use"]
    scored, failed = document["predictions"]
    assert 0 < scored["probability"] < 1
    assert scored["reason"].endswith("signature has 2 red findings: see its MODEL_CARD.md")
    assert (failed["score"], failed["status"]) == (None, "error")
    assert (
        "known of the signature: 2 red findings (see MODEL_CARD.md); AUC 0.80 [0.70, 0.90]; "
        "p = 0.020 (the AUC of the small CNN; 99 permutations). Probabilities are stated for groups"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("red", [None, []])
def test_table_of_a_signature_without_red_findings_is_what_it_was(with_evidence, scan, red, capsys):
    assert main([str(with_evidence(KNOWN | {"red": red})), scan]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split("\t")[6:8] == ["ok", "n/a"]
    assert printed.out.splitlines()[1].endswith("\tn/a")
    said = "red findings not recorded" if red is None else "no red finding"
    assert f"known of the signature: {said} (see MODEL_CARD.md)" in printed.err


def test_bundle_of_before_evidence_was_recorded_scores_and_says_so(
    with_evidence, scan, tmp_path, capsys
):
    out = tmp_path / "x.json"
    assert main([str(with_evidence(None)), scan, "--out", str(out)]) == 0
    document = json.loads(out.read_text("utf-8"))
    (record,) = document["predictions"]
    assert (record["evidence"], document["evidence"]) == (None, None)
    said = "what is known of the signature is not recorded in its bundle"
    assert (record["evidence_note"], document["evidence_note"]) == (said, said)
    assert said in capsys.readouterr().err
    assert record["reason"] == ""


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
    assert [row.split("\t")[6] for row in rows] == ["ok", "error"]
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
