import errno
import json
import resource
import shutil
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from safetensors.torch import load_file, save_file

import fmnet
from fmnet.errors import ConfigError, ExportError, RunError
from fmnet.export.export import check_agreement, export_run, without_commands
from fmnet.export.run_scans import read_run_scans
from fmnet.inference.bundle import read_bundle
from fmnet.inference.bundle_files import CHECKSUMS
from fmnet.inference.cli import describe
from fmnet.inference.model_card import is_of_people
from fmnet.inference.predict import predict_scan
from fmnet.inference.signing import check_signature
from fmnet.networks.rebuild import read_network
from fmnet.runs.run_folder import UNKNOWN


@pytest.fixture
def run(finished, tmp_path):
    """Changed by hand below, which runs of before hashes were kept allow."""
    copy = shutil.copytree(finished.run_dir, tmp_path / "run")
    (copy / CHECKSUMS).unlink()
    return copy


def test_all_forms_agree_on_real_files(finished):
    assert finished.agreement.n_scans == 24
    assert finished.agreement.onnx <= 1e-4
    assert finished.agreement.torch_export <= 1e-4


def test_linear_model_is_exported_where_it_wins(chosen):
    metadata = chosen.bundle.metadata
    assert metadata["training"]["model"] == "linear_svm"
    assert metadata["training"]["n_epochs"] is None
    assert metadata["training"]["score_scale"]["sd"] > 0
    assert metadata["choice"]["n_models"] == 2
    assert chosen.exported.choice.line.startswith("the linear SVM is exported: its out-of-fold AUC")
    assert max(chosen.exported.agreement.onnx, chosen.exported.agreement.torch_export) <= 1e-4


def test_linear_model_that_is_not_there_can_not_be_asked_for(run):
    shutil.rmtree(run / "model_linear")
    with pytest.raises(ConfigError, match=r"model: found linear, and no final linear .*run"):
        export_run(str(run), str(run.parent / "bundle"), "linear")
    exported = export_run(str(run), str(run.parent / "bundle"), n_check=1)
    assert exported.choice.line == (
        "the small CNN is exported: there is no linear model to choose instead."
    )


def test_run_of_before_there_was_a_choice_is_exported(run):
    shutil.rmtree(run / "model_linear")
    path = run / "model" / "training.json"
    record = json.loads(path.read_text())
    for name in ("model", "title", "chosen_among", "c"):
        del record[name]
    path.write_text(json.dumps(record))
    export_run(str(run), str(run.parent / "bundle"), n_check=1)
    assert "The small CNN, exported" in (run.parent / "bundle" / "MODEL_CARD.md").read_text()


def weaken(run, folder, auc, low, high):
    """State another out-of-fold AUC of a final model."""
    path = run / folder / "training.json"
    record = json.loads(path.read_text())
    figures = record["crossvalidation"][record["model"]]
    figures |= {"auc": auc, "auc_ci": [low, high]}
    path.write_text(json.dumps(record))
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["models"][record["model"]] |= {"auc": auc, "auc_ci": [low, high]}
    metrics["findings"] = []
    for name in ("exported", "audit_network"):  # as in runs of before
        metrics.pop(name, None)
    (run / "metrics.json").write_text(json.dumps(metrics))


@pytest.mark.parametrize(("model", "folder"), [("network", "model"), ("auto", "model_linear")])
def test_model_that_is_not_above_chance_is_refused_unless_asked_for(run, model, folder):
    weaken(run, "model", 0.21, 0.1, 0.35)
    weaken(run, folder, 0.32, 0.2, 0.5)
    out = run.parent / "bundle"
    with pytest.raises(
        ExportError, match=r"not above chance out of fold \(AUC 0\.32 \[0\.20, 0\.50"
    ):
        export_run(str(run), str(out), model)
    assert not out.exists()
    exported = export_run(str(run), str(out), model, n_check=1, allow_uninformative=True)
    said = "the signature is not above chance out of fold (AUC 0.32 [0.20, 0.50])"
    assert exported.choice.line.endswith(f" Beware: {said}.")
    assert describe(read_bundle(out)).endswith(f"; beware: {said}")
    assert exported.unknown == UNKNOWN
    assert json.loads((out / "metadata.json").read_text())["warnings"] == [said]
    assert f"**{said[0].upper()}{said[1:]}.**" in (out / "MODEL_CARD.md").read_text()
    prediction = predict_scan(read_bundle(out), read_run_scans(run, 1)[0])
    assert (prediction.status, prediction.reason) == ("ok", said)


@pytest.mark.parametrize(
    ("red", "remark"), [([], ""), (["x"], "signature has 1 red finding: see its MODEL_CARD.md")]
)
def test_score_of_an_informative_signature_has_no_remark_but_of_red_findings(
    bundle, run, red, remark
):
    evidence = bundle.metadata["evidence"] | {"red": red}
    known = replace(bundle, metadata=bundle.metadata | {"evidence": evidence})
    prediction = predict_scan(known, read_run_scans(run, 1)[0])
    assert (prediction.status, prediction.reason) == ("ok", remark)
    assert bundle.metadata["warnings"] == []


def test_disagreement_is_refused(bundle, run):
    weights = load_file(run / "model" / "weights.safetensors")
    save_file({k: v * 1.01 for k, v in weights.items()}, run / "model" / "weights.safetensors")
    other, _ = read_network(run / "model")
    scans = read_run_scans(run, 3)
    with pytest.raises(ExportError, match=r"as trained; accepted: at most 0\.0001"):
        check_agreement(other, bundle.preparation, bundle, scans, 1e-4)


def test_nan_scores_are_refused(run):
    weights = load_file(run / "model" / "weights.safetensors")
    save_file({k: v * np.nan for k, v in weights.items()}, run / "model" / "weights.safetensors")
    with pytest.raises(ExportError, match="scores an example as nan"):
        export_run(str(run), str(run.parent / "bundle"), "network")


def test_failed_export_leaves_nothing(run):
    out = run.parent / "bundle"
    with pytest.raises(ExportError, match="from the network as trained"):
        export_run(str(run), str(out), tolerance=0.0)
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_bundle_is_signed_where_a_key_is_given(run):
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = run.parent / "lab.pem", run.parent / "lab.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    half = key.public_key()
    public.write_bytes(half.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    out = run.parent / "bundle"
    exported = export_run(str(run), str(out), n_check=1, sign_key=str(private))
    assert check_signature(out, public) == exported.signed_by
    assert len(exported.signed_by) == 64
    assert read_bundle(out).is_synthetic
    assert b"PRIVATE" not in b"".join(path.read_bytes() for path in out.iterdir() if path.is_file())


def test_key_that_can_not_sign_is_named_before_anything_is_done(run):
    (run.parent / "lab.pem").write_text("no key")
    with pytest.raises(ConfigError, match=r"lab\.pem: found no such key"):
        export_run("no run", str(run.parent / "bundle"), sign_key=str(run.parent / "lab.pem"))


def test_maps_that_are_gone_are_named(run):
    table = run / "cohort.tsv"
    table.write_text(table.read_text().replace("sub-synthetic003_", "sub-gone_"))
    with pytest.raises(ExportError, match=r"sub-gone_.*found no such file"):
        export_run(str(run), str(run.parent / "bundle"))


def test_existing_target_is_kept_unless_it_is_a_bundle_to_be_replaced(finished, run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for overwrite in (False, True):
        with pytest.raises(ExportError, match="something there already"):
            export_run(str(run), str(other), overwrite=overwrite)
    copy = shutil.copytree(finished.bundle_dir, tmp_path / "copy")
    with pytest.raises(ExportError, match="set overwrite=true"):
        export_run(str(run), str(copy))
    export_run(str(run), str(copy), overwrite=True, n_check=2)


def test_folder_without_a_run(tmp_path):
    with pytest.raises(RunError, match=r"training\.json'; accepted: a finished run's folder"):
        export_run(str(tmp_path), str(tmp_path / "bundle"))


@contextmanager
def small_files():
    """Let no file grow beyond 10 kB, which fails as a full disk does.

    No longer than needed: what the tests print may go to a larger file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_disk_that_takes_a_part_is_named_and_left_clean(run):
    message = r"bundle: found File too large; accepted: .*room"
    with small_files(), pytest.raises(ExportError, match=message):
        export_run(str(run), str(run.parent / "bundle"))
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_full_disk_is_named(run, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(ExportError, match=r"found a full disk; .*to do: free some room"):
        export_run(str(run), str(run.parent / "bundle"))


def test_folder_that_can_not_be_written_is_named(run, monkeypatch):
    (run.parent / "file").write_text("")
    with pytest.raises(ExportError, match=r"file/bundle: found .*; to do: choose another out"):
        export_run(str(run), str(run.parent / "file" / "bundle"))

    def deny(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", deny)
    with pytest.raises(ExportError, match="bundle: found Permission denied; accepted: a place"):
        export_run(str(run), str(run.parent / "bundle"))


@pytest.mark.parametrize(
    ("model", "folder", "name"),
    [
        ("auto", "model", "training.json"),
        ("network", "model", "calibration.json"),
        ("auto", "model_linear", "calibration.json"),
    ],
)
def test_run_without_a_part_is_refused(run, model, folder, name):
    (run / folder / name).unlink()
    with pytest.raises(RunError, match=f"No such file or directory: .*{folder}/{name}"):
        export_run(str(run), str(run.parent / "bundle"), model)


@pytest.mark.parametrize(("model", "folder"), [("network", "model"), ("linear", "model_linear")])
def test_control_of_the_run_marks_the_bundle(run, model, folder):
    sentence = "NEGATIVE CONTROL: labels were shuffled before anything else."
    record = run / folder / "training.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"control": sentence}))
    export_run(str(run), str(run.parent / "bundle"), model, n_check=1)
    assert f"**{sentence}**" in (run.parent / "bundle" / "MODEL_CARD.md").read_text()


def test_bundle_names_no_folder_of_this_machine(finished):
    for path in filter(Path.is_file, finished.bundle_dir.rglob("*")):
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = b"".join(archive.read(name) for name in archive.namelist())
        assert b"site-packages" not in content, path.name
        assert str(Path(fmnet.__file__).parent).encode() not in content, path.name
        assert str(finished.run_dir.parent).encode() not in content, path.name


def test_altered_metrics_are_refused_before_anything_of_them_is_stated(finished, tmp_path):
    copy = shutil.copytree(finished.run_dir, tmp_path / "run")
    metrics = json.loads((copy / "metrics.json").read_text()) | {"findings": []}
    (copy / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunError, match=r"metrics\.json: found another content than SHA256SUMS"):
        export_run(str(copy), str(tmp_path / "bundle"))


def test_evidence_is_that_of_the_run(finished, chosen, bundle):
    metrics = json.loads((finished.run_dir / "metrics.json").read_text())
    for one, name in ((bundle, "network"), (chosen.bundle, "linear_svm")):
        assert one.evidence.verdict == metrics["verdict"]
        assert one.evidence.auc == metrics["models"][name]["auc"]
        assert (one.evidence.n_subjects, one.evidence.n_positive) == (24, 12)
    assert chosen.exported.evidence == chosen.bundle.evidence
    counted, *red = chosen.exported.known.split("\n- ")
    assert "red finding" in counted
    assert red == chosen.exported.evidence.red


def test_run_without_metrics_is_exported_and_says_what_is_not_recorded(run):
    (run / "metrics.json").unlink()
    exported = export_run(str(run), str(run.parent / "bundle"), n_check=1)
    assert exported.known == "red findings not recorded in its model card"
    assert "Red findings not recorded" in (run.parent / "bundle" / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("is_shipped", [True, False])
def test_words_of_a_users_pretraining_stay_in_the_lab(is_shipped):
    record = {"command": "pretrain.py x=/home/ann", "figures": {"step": 3}, "people_sha256": ["ab"]}
    pretrained = {"sha256": "cd", "is_shipped": is_shipped, "record": record}
    found = without_commands({"seed": 1, "pretrained": pretrained})
    assert ("ann" in str(found)) == is_shipped
    assert found["pretrained"]["record"]["figures"] == {"step": 3}
    assert is_of_people(found["pretrained"])
    assert (found["seed"], found["pretrained"]["sha256"]) == (1, "cd")
    assert without_commands({"seed": 1}) == {"seed": 1}


@pytest.mark.parametrize("model", ["network", "linear"])
def test_run_of_before_gets_its_scores_of_unseen_people_from_the_table(run, model):
    folder = run / ("model" if model == "network" else "model_linear")
    kept = (folder / "unseen.json").read_text()
    people = json.loads(kept)
    assert (len(people["positive"]), len(people["negative"])) == (12, 12)
    (folder / "unseen.json").unlink()
    out = run.parent / "bundle"
    export_run(str(run), str(out), model, n_check=1)
    assert json.loads((out / "unseen.json").read_text()) == people
    if model == "linear":  # on the scale of the final model, not on those of the folds
        scale = json.loads((folder / "training.json").read_text())["score_scale"]
        middle = (np.mean(people["positive"]) + np.mean(people["negative"])) / 2
        assert middle == pytest.approx(scale["middle"], abs=scale["sd"])
