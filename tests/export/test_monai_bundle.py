"""Bundles opened by MONAI: its commands pass, and give the scores that `fmnet-predict` gives."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from jsonschema import Draft201909Validator
from monai.bundle import create_workflow, verify_metadata, verify_net_in_out
from target_bundle_fixtures import describe_target

from fmnet.errors import FmnetError
from fmnet.export.monai_bundle import TorchScores, describe
from fmnet.export.run_scans import read_run_bold_scans, read_run_scans
from fmnet.inference.bold import predict_run
from fmnet.inference.bundle import read_bundle
from fmnet.inference.bundle_files import check_hashes, write_hashes
from fmnet.inference.predict import Request, predict_scan

#: MONAI says it of every schema whose hash isn't given.
pytestmark = pytest.mark.filterwarnings("ignore:No hash value provided")
TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "format", "modality", "dtype")},
        "num_channels": {"type": "integer", "minimum": 1},
        "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
        "value_range": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
TEXTS = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "task",
    "description", "authors", "copyright",
)  # fmt: skip
MORE_TEXTS = (
    "data_source", "data_type", "image_classes", "pred_classes", "intended_use", "name",
)  # fmt: skip
#: MONAI's specification of metadata.json in our words, stricter where it leaves things open: the
#: file that it publishes is not part of this repository.
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "type": "object",
    "required": [*TEXTS, "required_packages_version", "network_data_format"],
    "properties": {
        **{name: {"type": "string", "minLength": 1} for name in (*TEXTS, *MORE_TEXTS)},
        "changelog": {"type": "object", "additionalProperties": {"type": "string"}},
        "required_packages_version": {
            "type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1,
        },
        "eval_metrics": {"type": "object", "additionalProperties": {"type": "number"}},
        "references": {"type": "array", "items": {"type": "string"}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {
                "inputs": {"type": "object", "required": ["image"], "additionalProperties": TENSOR},
                "outputs": {"type": "object", "required": ["pred"], "additionalProperties": TENSOR},
            },
        },
    },
}  # fmt: skip


@pytest.fixture
def schema(tmp_path):
    Draft201909Validator.check_schema(SCHEMA)
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


@pytest.fixture
def scan(finished):
    """A scan of the study, and its maps as they are given on a command line."""
    one = read_run_scans(finished.run_dir, 3)[1]
    return one, ",".join(map(str, one.files))


def workflow(folder, source, **more):
    """Compose the run as `python -m monai.bundle run` does."""
    config = str(folder / "configs" / "inference.json")
    given = {"bundle_root": str(folder), "scan": source} | more
    with pytest.warns(UserWarning, match="parsing config_file"):
        return create_workflow(config_file=config, workflow_type="infer", **given)


def test_metadata_are_as_monai_specifies_them(finished, schema):
    meta = finished.bundle_dir / "configs" / "metadata.json"
    verify_metadata(meta_file=str(meta), filepath=str(schema))
    found = json.loads(meta.read_text())
    image = found["network_data_format"]["inputs"]["image"]
    assert image["num_channels"] == 2
    assert image["channel_def"] == {"0": "pressure", "1": "visual"}
    assert found["required_packages_version"]["fmnet"]
    assert "not a diagnosis" in found["intended_use"]
    assert "SYNTHETIC" in found["description"]


def test_metadata_that_lack_a_field_are_refused(finished, schema, tmp_path):
    found = json.loads((finished.bundle_dir / "configs" / "metadata.json").read_text())
    del found["required_packages_version"]
    (tmp_path / "metadata.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match="'required_packages_version' is a required"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(schema))


def test_monai_finds_all_that_it_requires_of_an_inference(finished, scan):
    assert workflow(finished.bundle_dir, scan[1]).check_properties() == []


@pytest.mark.parametrize("network", ["network_def", "torch_network"])
def test_network_takes_and_gives_what_the_metadata_say(finished, network):
    configs = finished.bundle_dir / "configs"
    verify_net_in_out(
        network,
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device="cpu",
        bundle_root=str(finished.bundle_dir),
    )


@pytest.mark.parametrize("network", ["@network_def", "@torch_network"])
def test_run_gives_the_score_that_predict_gives(finished, bundle, scan, capsys, network):
    one, source = scan
    wanted = predict_scan(bundle, one)
    more = {} if network == "@network_def" else {"evaluator#network": network}
    workflow(finished.bundle_dir, source, **more).run()
    told = capsys.readouterr()
    (line,) = told.out.splitlines()
    assert "signature FM against HC" in told.err
    assert "not a diagnosis" in told.err
    found = json.loads(line)
    assert found["status"] == "ok"
    assert found["score"] == pytest.approx(wanted.score, abs=1e-5)
    assert found["probability"] == pytest.approx(wanted.probability, abs=1e-5)


def test_scan_that_no_gate_lets_pass_is_not_scored(finished, scan, tmp_path, capsys):
    other = shutil.copy(scan[0].files[1], tmp_path / "a.nii.gz")
    running = workflow(finished.bundle_dir, f"{other},{other}")
    with pytest.raises(RuntimeError) as caught:
        running.run()
    assert isinstance(caught.value.__cause__, FmnetError)
    assert "no score for 1 scans" in str(caught.value.__cause__)
    found = json.loads(capsys.readouterr().out)
    assert found["score"] is None
    assert "the same map twice" in found["reason"]


@pytest.mark.parametrize("network", ["@network_def", "@torch_network"])
@pytest.mark.parametrize("kind", ["series", "maps"])
def test_run_of_bold_gives_the_score_that_predict_gives(request, schema, capsys, kind, network):
    export = request.getfixturevalue(f"{kind}_export")
    folder, one = export.bundle.folder, read_run_bold_scans(export.run_dir, 3)[1]
    wanted = predict_run(export.bundle, one)
    assert wanted.status == "ok"
    more = {} if network == "@network_def" else {"evaluator#network": network}
    source = ",".join(str(run.bold.path) for run in one.runs)
    workflow(folder, source, **more).run()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["score"] == pytest.approx(wanted.score, abs=1e-5)
    verify_metadata(meta_file=str(folder / "configs" / "metadata.json"), filepath=str(schema))
    given = {"config_file": str(folder / "configs" / "inference.json"), "bundle_root": str(folder)}
    meta = str(folder / "configs" / "metadata.json")
    verify_net_in_out(network[1:], meta_file=meta, device="cpu", **given)


def test_signature_of_a_target_is_described_by_its_scores(finished):
    metadata = json.loads((finished.bundle_dir / "metadata.json").read_text())
    metadata["training"]["target"] = describe_target("classes")
    found = describe(metadata)
    Draft201909Validator(SCHEMA).validate(found)
    pred = found["network_data_format"]["outputs"]["pred"]
    assert pred["num_channels"] == 3
    assert pred["channel_def"] == {"0": "part_0", "1": "part_1", "2": "part_2"}
    assert "what classes tells" in found["task"]


def test_what_is_asked_for_reaches_the_score(finished, bundle, scan, capsys):
    one, source = scan
    wanted = predict_scan(bundle, one, Request(prevalence=0.1, level=0.6))
    workflow(finished.bundle_dir, source, prevalence=0.1, level=0.6).run()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["probability"] == pytest.approx(wanted.probability, abs=1e-5)
    assert found["set"] == wanted.record()["set"]
    assert found["probability_low"] == pytest.approx(wanted.interval[0], abs=1e-4)


def test_one_bad_scan_does_not_stop_the_others(finished, bundle, tmp_path, capsys):
    one, other = read_run_scans(finished.run_dir, 2)
    rows = [
        (name, contrast, str(file))
        for name, scan in (("sub-a", one), ("sub-c", other))
        for contrast, file in zip(bundle.preparation.contrasts, scan.files, strict=True)
    ]
    rows[2:2] = [("sub-b", "pressure", "gone.nii.gz"), ("sub-b", "visual", rows[0][2])]
    table = tmp_path / "maps.tsv"
    lines = ["\t".join(row) for row in (("participant_id", "contrast", "path"), *rows)]
    table.write_text("\n".join(lines))
    workflow(finished.bundle_dir, str(table)).run()
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted((one["scan"], one["status"]) for one in found) == [
        ("sub-a", "ok"), ("sub-b", "error"), ("sub-c", "ok"),
    ]  # fmt: skip
    scores = {one["scan"]: one["score"] for one in found}
    assert scores["sub-c"] == pytest.approx(predict_scan(bundle, other).score, abs=1e-5)


def test_altered_bundle_is_not_run(finished, scan, tmp_path):
    copy = shutil.copytree(finished.bundle_dir, tmp_path / "copy")
    (copy / "calibration.json").write_text("{}")
    with pytest.raises(RuntimeError) as caught:
        workflow(copy, scan[1]).run()
    assert "Failed to instantiate" in str(caught.value)


def test_configs_have_hashes_and_are_not_needed(finished, tmp_path):
    assert {"configs/metadata.json", "configs/inference.json"} < check_hashes(finished.bundle_dir)
    copy = shutil.copytree(finished.bundle_dir, tmp_path / "copy")
    shutil.rmtree(copy / "configs")
    write_hashes(copy)
    assert read_bundle(copy).is_synthetic


def test_no_path_of_this_machine_is_in_the_configs(finished):
    for path in (finished.bundle_dir / "configs").iterdir():
        assert str(Path.home()) not in path.read_text()
        assert str(finished.run_dir) not in path.read_text()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("fire") is None, reason="MONAI's command line needs fire")
def test_command_of_monai_gives_the_same_score(finished, bundle, scan, schema):
    one, source = scan
    configs = finished.bundle_dir / "configs"

    def command(*words):
        given = [sys.executable, "-m", "monai.bundle", *map(str, words)]
        return subprocess.run(given, capture_output=True, text=True, check=False, env=os.environ)

    meta = configs / "metadata.json"
    verified = command("verify_metadata", "--meta_file", meta, "--filepath", schema)
    assert verified.returncode == 0, verified.stderr
    done = command(
        "run", "--config_file", configs / "inference.json", "--bundle_root", finished.bundle_dir,
        "--scan", source,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith('{"scan"'))
    assert json.loads(line)["score"] == pytest.approx(predict_scan(bundle, one).score, abs=1e-5)


def test_scores_of_a_program_are_told_from_its_features():
    network = TorchScores.__new__(TorchScores)
    torch.nn.Module.__init__(network)
    network._program = (lambda images: (images.mean(dim=(1, 2, 3, 4)), images.flatten(1)),)
    assert network(torch.ones(3, 2, 7, 8, 9)).shape == (3, 1)
