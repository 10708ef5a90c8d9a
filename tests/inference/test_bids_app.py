"""``fmnet-predict`` as a BIDS App: whose scans, which files, what is kept and what is refused."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from bids_validator import bids_errors
from target_bundle_fixtures import add_target

from fmnet.inference.bids_app import PersonFolders, check_folders
from fmnet.inference.bundle import read_bundle
from fmnet.inference.cli import main
from fmnet.inference.predict import USUAL, NewScan, failed
from fmnet.inference.results import about_signature
from fmnet.inference.scoring import open_scorer
from fmnet.synthetic.maps import write_cohort

BUNDLE = str(Path(__file__).resolve().parents[2] / "checkpoints" / "synthetic")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Three people: the first with two sessions, the last without any map."""
    made = write_cohort(tmp_path_factory.mktemp("made"), n_subjects=4, seed=1)
    one, two, three, _ = sorted(made.rglob("*_contrast-pressure_*"))
    root = tmp_path_factory.mktemp("bids")
    for source, subject, session in ((one, "01", "1"), (two, "01", "2"), (three, "02", "1")):
        name = f"sub-{subject}_ses-{session}_task-pain_contrast-pressure_stat-z_statmap.nii.gz"
        folder = root / f"sub-{subject}" / f"ses-{session}" / "func"
        folder.mkdir(parents=True)
        shutil.copy(source, folder / name)
    (root / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\nsub-03\n")
    description = {"Name": "made up", "BIDSVersion": "1.10.0", "DatasetDOI": "doi:10.1/x"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    return root


def predict(people, out, stage="participant", *options):
    # whatever gates say of made-up people, there is a score
    given = [str(people), str(out), stage, "--bundle", BUNDLE, "--jobs", "1"]
    return main([*given, *(["--force"] if stage == "participant" else []), *options])


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def predicted(people, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted")
    assert predict(people, out) == 0
    return out


@pytest.fixture
def out(predicted, tmp_path):
    return Path(shutil.copytree(predicted, tmp_path / "out"))


STEM = "sub-01/ses-1/sub-01_ses-1_task-pain_fmnet"


def test_each_scan_has_a_document_and_a_page_in_its_persons_folder(predicted, people):
    stems = [
        STEM, STEM.replace("ses-1", "ses-2"), STEM.replace("sub-01", "sub-02"),
        "sub-03/sub-03_fmnet",
    ]  # fmt: skip
    expected = [f"{stem}.{ending}" for stem in stems for ending in ("html", "json")]
    assert files_in(predicted) == sorted([*expected, ".bidsignore", "dataset_description.json"])
    document = json.loads((predicted / f"{STEM}.json").read_text())
    assert document["predictions"][0]["scan"] == "sub-01_ses-1_task-pain"
    assert document["predictions"][0]["score"] is not None
    absent = json.loads((predicted / "sub-03/sub-03_fmnet.json").read_text())
    assert absent["predictions"][0]["status"] == "error"
    assert "no map that is needed" in absent["predictions"][0]["reason"]
    described = json.loads((predicted / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "fmnet-predict"
    assert described["SourceDatasets"] == [{"URL": people.as_uri(), "DOI": "doi:10.1/x"}]


@pytest.mark.parametrize("label", ["02", "sub-02"])
def test_labels_choose_people_with_or_without_their_prefix(people, tmp_path, label):
    assert predict(people, tmp_path / "out", "participant", "--participant-label", label) == 0
    assert [path.name for path in (tmp_path / "out").glob("sub-*")] == ["sub-02"]


def test_labels_choose_sessions(people, tmp_path):
    options = ["--session_label", "ses-2", "--participant_label", "01", "02"]
    assert predict(people, tmp_path / "out", "participant", *options) == 0
    assert [path.name for path in (tmp_path / "out").rglob("*.json")] != []
    scored = STEM.replace("ses-1", "ses-2")
    found = [name for name in files_in(tmp_path / "out") if name.endswith("_fmnet.json")]
    assert found == [f"{scored}.json", "sub-02/sub-02_fmnet.json"]
    assert "no scan of that session" in (tmp_path / "out" / found[1]).read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--participant-label", "1", "02"], "no participant 1; accepted: 01, 02, 03"),
        (["--session-label", "baseline"], "no session baseline; accepted: 1, 2"),
    ],
)
def test_labels_that_nobody_has_are_answered_by_those_there_are(
    people, tmp_path, capsys, options, said
):
    assert predict(people, tmp_path / "out", "participant", *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_done_is_not_scored_again(people, out, capsys, monkeypatch):
    (out / f"{STEM}.json").unlink()
    scored = []
    real = __import__("fmnet.inference.scoring", fromlist=["scoring"]).score_with_values

    def note(bundle, scan, request):
        scored.append(scan.name)
        return real(bundle, scan, request)

    monkeypatch.setattr("fmnet.inference.scoring.score_with_values", note)
    assert predict(people, out) == 0
    assert scored == ["sub-01_ses-1_task-pain"]
    assert "2 of 4 scans are known from before" in capsys.readouterr().err


def test_errors_are_tried_again_and_gone_once_they_are_cured(people, out, tmp_path):
    cured = Path(shutil.copytree(people, tmp_path / "cured"))
    shutil.copytree(cured / "sub-02", cured / "sub-03")
    for path in (cured / "sub-03").rglob("sub-02*"):
        path.rename(path.with_name(path.name.replace("sub-02", "sub-03")))
    assert predict(cured, out, "participant", "--participant-label", "03") == 0
    assert [path.name for path in (out / "sub-03").rglob("*.json")] == [
        "sub-03_ses-1_task-pain_fmnet.json"
    ]


@pytest.mark.parametrize("what", ["request", "file", "document"])
def test_results_of_something_else_are_replaced_only_if_asked(people, out, tmp_path, capsys, what):
    options = ["--prevalence", "0.1"] if what == "request" else []
    if what == "document":
        (out / f"{STEM}.json").write_text('{"predictions": [{"status": "fine"}]}')
    if what == "file":
        people = Path(shutil.copytree(people, tmp_path / "people"))
        os.utime(next(people.rglob("sub-01_ses-1*")), (1, 1))
    before = (out / f"{STEM}.json").read_text()
    assert predict(people, out, "participant", *options) == 2
    said = capsys.readouterr().err
    assert f"{STEM}.json" in said
    assert "--overwrite" in said
    assert (out / f"{STEM}.json").read_text() == before
    assert predict(people, out, "participant", "--overwrite", *options) == 0
    after = json.loads((out / f"{STEM}.json").read_text())
    assert after["predictions"][0]["probability"] is not None
    assert after["request"]["prevalence"] == (0.1 if options else None)


def test_results_of_two_signatures_do_not_mix(people, out, tmp_path, capsys):
    other = shutil.copytree(BUNDLE, tmp_path / "other")
    from fmnet.inference.bundle_files import write_hashes

    (other / "NOTE.md").write_text("another")
    write_hashes(other)
    given = [str(people), str(out), "participant", "--bundle", str(other), "--force"]
    assert main([*given, "--participant-label", "03"]) == 2
    assert "dataset_description.json" in capsys.readouterr().err


def test_group_gathers_everybody(people, out, capsys):
    (out / ".bidsignore").write_text((out / ".bidsignore").read_text() + "mine.txt\n")
    assert predict(people, out, "group") == 0
    assert "mine.txt" in (out / ".bidsignore").read_text()
    (out / "mine.txt").write_text("")
    assert bids_errors(out) == []
    table = pd.read_csv(out / "group_predictions.tsv", sep="\t", keep_default_na=False)
    assert list(table["participant_id"]) == ["sub-01", "sub-01", "sub-02", "sub-03"]
    assert list(table["status"] == "error") == [False] * 3 + [True]
    columns = json.loads((out / "group_predictions.json").read_text())
    assert "schema" not in columns
    assert set(table) <= set(columns)
    assert columns["signature"]["positive"] == "FM"
    page = (out / "group.html").read_text()
    assert f"{STEM}.html" in page
    assert predict(people, out, "group") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert predict(people, out, "group", "--overwrite", "--participant-label", "02") == 0
    assert len(pd.read_csv(out / "group_predictions.tsv", sep="\t")) == 1


def test_group_says_who_has_no_results(people, out, capsys):
    shutil.rmtree(out / "sub-02")
    assert predict(people, out, "group") == 0
    assert "1 people of" in (said := capsys.readouterr().err)
    assert "sub-02" in said


def test_group_takes_what_was_asked_of_people_and_refuses_else(people, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--participant-label", "02"]
    assert predict(people, out, "participant", "--prevalence", "0.1", *options) == 0
    assert predict(people, out, "group", "--prevalence", "0.2") == 2
    assert "--prevalence: found 0.2, where people's results are for 0.1" in capsys.readouterr().err
    assert predict(people, out, "group") == 0
    said = json.loads((out / "group_predictions.json").read_text())
    assert said["request"]["prevalence"] == 0.1
    document = next((out / "sub-02").rglob("*.json"))
    text = document.read_text().replace('"prevalence": 0.1', '"prevalence": 0.3')
    (document.parent / "sub-02_ses-9_fmnet.json").write_text(text)
    assert predict(people, out, "group", "--overwrite") == 2
    assert "results that differ in request" in capsys.readouterr().err


def test_group_goes_on_past_a_damaged_document(people, out):
    (out / f"{STEM}.json").write_text("{")
    assert predict(people, out, "group") == 0
    table = pd.read_csv(out / "group_predictions.tsv", sep="\t", keep_default_na=False)
    assert table["status"][0] == "error"
    assert "can't be read" in table["reason"][0]


def test_group_needs_the_first_stage(people, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert predict(people, tmp_path / "out", "group") == 2
    assert "no results of people" in capsys.readouterr().err


def test_folders_that_would_mix_results_with_other_files_are_refused(people, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").write_text("x")
    for out, said in (
        (people, f"write into {people}/derivatives/fmnet"),
        (people / "sub-01", "a folder among the data"),
        (people / "derivatives", "a folder among the data"),
        (tmp_path / "out", "files of others (thesis.docx)"),
        (tmp_path / "out" / "thesis.docx", "found a file"),
    ):
        assert predict(people, out) == 2
        assert said in capsys.readouterr().err
    assert files_in(tmp_path) == ["out/thesis.docx"]


def test_results_may_lie_among_derivatives_and_beside_logs(people, tmp_path):
    data = Path(shutil.copytree(people, tmp_path / "data"))
    out = data / "derivatives" / "fmnet"
    (out / "logs").mkdir(parents=True)
    (out / "README").write_text("mine")
    assert predict(data, out, "participant", "--participant-label", "02") == 0
    assert predict(data, out) == 0
    assert predict(data, out, "group") == 0
    assert len(pd.read_csv(out / "group_predictions.tsv", sep="\t")) == 4


def test_data_set_has_to_be_there_and_hold_people(tmp_path, capsys):
    assert predict(tmp_path / "gone", tmp_path / "out") == 2
    assert "no such folder; accepted: a BIDS data set" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty", tmp_path / "out") == 2
    assert "nobody to score" in capsys.readouterr().err


def test_folder_that_can_not_be_written_is_noticed_first(people, tmp_path, monkeypatch):
    from fmnet.errors import OutputError

    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="which can't be written into"):
        check_folders(people, tmp_path / "out")


def test_runs_of_bold_are_scored_too(series_export, bold_tree, tmp_path):
    out, bundle = tmp_path / "out", str(series_export.bundle.folder)
    given = [str(bold_tree), str(out)]
    chosen = ["--bundle", bundle, "--participant-label", "sub-02", "03"]
    assert main([*given, "participant", *chosen]) == 0
    assert [name for name in files_in(out) if name.endswith("_fmnet.json")] == [
        "sub-02/sub-02_fmnet.json", "sub-03/sub-03_fmnet.json",
    ]  # fmt: skip
    assert main([*given, "group", "--bundle", bundle]) == 0


def test_targets_have_their_outputs_in_the_table(people, tmp_path):
    bundle, out = str(add_target(tmp_path / "bundle", "severity")), str(tmp_path / "out")
    given = [str(people), out]
    assert main([*given, "participant", "--bundle", bundle, "--force"]) == 0
    assert main([*given, "participant", "--bundle", bundle, "--force"]) == 0
    assert main([*given, "group", "--bundle", bundle]) == 0
    table = pd.read_csv(tmp_path / "out" / "group_predictions.tsv", sep="\t")
    assert list(table)[:4] == ["participant_id", "scan", "score", "value"]
    assert table["value"].notna().tolist() == [True, True, True, False]


def test_signature_that_was_asked_for_is_told_by_its_key(people, tmp_path, monkeypatch, capsys):
    pytest.importorskip("cryptography")
    monkeypatch.setattr("fmnet.inference.cli.check_signature", lambda bundle, key: "ab12")
    assert predict(people, tmp_path / "out", "participant", "--require-signature", "a.pem") == 0
    assert "signed by the key with fingerprint ab12" in capsys.readouterr().err


def test_signature_that_is_asked_for_has_to_be_there(people, tmp_path, capsys):
    pytest.importorskip("cryptography")
    key = tmp_path / "key.pem"
    key.write_text("no key")
    assert predict(people, tmp_path / "out", "participant", "--require-signature", str(key)) == 2
    assert not (tmp_path / "out").exists()
    assert "SHA256SUMS.sig" in (said := capsys.readouterr().err) or "key.pem" in said


def test_scans_of_the_same_name_never_share_a_file(tmp_path):
    bundle, out = read_bundle(Path(BUNDLE)), tmp_path / "out"
    listed = [NewScan(f"sub-01_run-{run}", ()) for run in ("1", "1", "12", "1")]
    listed += [failed("sub-01_run-12", []), failed("sub-01_run-12", [])]
    folders = PersonFolders(tmp_path, out, may_overwrite=False)
    with folders.open(open_scorer(bundle, USUAL, False), about_signature(bundle), listed):
        found = [str(path.relative_to(out)) for path in folders.cards]
    assert found == [
        "sub-01/sub-01_run-1_fmnet.html", "sub-01/sub-01_run-1_desc-2_fmnet.html",
        "sub-01/sub-01_run-12_fmnet.html", "sub-01/sub-01_run-1_desc-3_fmnet.html",
        "sub-01/sub-01_run-12_desc-error_fmnet.html", "sub-01/sub-01_run-12_desc-error2_fmnet.html",
    ]  # fmt: skip
