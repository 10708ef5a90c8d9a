"""From runs of people at rest to a signature's answer about others, and to the lock-box."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from command_fixtures import call
from run_tree import CONFOUNDS, IMAGE, RunTree

from fmnet.baselines.connectivity import Connectivity
from fmnet.baselines.linear import LinearSvm
from fmnet.baselines.shortcuts import Columns
from fmnet.bold.bold_cohort import read_bold
from fmnet.bold.settings import CleaningSettings
from fmnet.data.cohort import open_cohort
from fmnet.data.store import ArrayStore
from fmnet.export.export import export_run
from fmnet.inference.bold import NewBoldScan, describe_run, predict_run
from fmnet.inference.bundle import read_bundle
from fmnet.inference.cli import main
from fmnet.networks.rebuild import TRUSTED
from fmnet.studies.lockbox import evaluate_lockbox, read_finals
from fmnet.synthetic.bold import write_bold_cohort
from fmnet.training.scan_set import MapScans

pytestmark = pytest.mark.slow
TINY = [
    "experiment=rest", "cohort.n_subjects=16", "cohort.n_volumes=60", "cohort.coupling=0.5",
    "cohort.cleaning.strategy=motion6", "network.n_seeds=3", "baselines=bold_quick",
    "baselines.linear_svm.c=[0.1]", "baselines.connectivity_correlation.n_networks=3",
    "folds.n_splits=2", "folds.n_repeats=1", "folds.inner_splits=2", "lockbox.fraction=0.25",
    "logger=none", "signature=null", "store_dir=store", "run_dir=run",
]  # fmt: skip
MAPS = ["alff", "falff", "reho"]
BASELINES = {
    "motion": Columns(columns=("mean_framewise_displacement",)),
    "connectivity": Connectivity("correlation", n_networks=3, c=(0.1,)),
    "linear_svm": LinearSvm(fwhm_mm=(0.0,), c=(0.1,)),
}
MODELS = {"network", "linear_svm", "motion", "connectivity"}


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", keep_default_na=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished run with four people set aside, and bundles of both of its final models."""
    root = tmp_path_factory.mktemp("study")
    done = call("train", *TINY, cwd=root)
    assert done.returncode == 0, done.stderr
    run = root / "run"
    names = ("network", "linear")
    exported = {
        name: export_run(str(run), str(root / name), name, n_check=3, allow_uninformative=True)
        for name in names
    }
    bundles = {model: read_bundle(root / model) for model in exported}
    return SimpleNamespace(root=root, run=run, done=done, exported=exported, bundles=bundles)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Four people whom no model ever saw, with longer runs."""
    root = tmp_path_factory.mktemp("others")
    knobs = {"n_subjects": 4, "n_volumes": 66, "voxel_size_mm": 12, "seed": 7}
    return RunTree(write_bold_cohort(root / "others", **knobs))


@pytest.fixture(scope="module")
def expected(study, others):
    """What the code that trained says of the four, by model."""
    listing = read_bold(others.root, cleaning=CleaningSettings("motion6"), maps=MAPS)
    finals = read_finals(study.run, TRUSTED)
    preparation = finals[0].preparation
    recipe = listing.recipe(preparation.grid, preparation.min_coverage)
    cohort = open_cohort(listing, ArrayStore(others.root.parent / "store", recipe))
    scans = MapScans(cohort, cohort.values(), series=cohort.series)
    return {final.name: final.scores(scans, np.arange(4)) for final in finals}


def test_run_holds_what_a_study_leaves(study):
    assert study.done.stdout.startswith("SYNTHETIC DATA, nobody was scanned.")
    assert study.done.stdout.splitlines()[-1] == "run"
    assert "Warning" not in study.done.stderr
    people = read(study.run / "cohort.tsv")
    assert people["used"].value_counts().to_dict() == {"yes": 12, "lock-box": 4}
    scores = read(study.run / "predictions.tsv")
    assert (scores.groupby("model").size() == 12).all()
    assert {"network", "motion", "temporal_snr", "linear_svm"} < set(scores["model"])
    assert json.loads((study.run / "metrics.json").read_text())["lacking"] == {}
    assert {"mean_framewise_displacement", "share_scrubbed"} < set(
        read(study.run / "participants.tsv")
    )


def test_run_says_how_runs_were_read(study):
    whole, network, linear = (
        json.loads((study.run / place / "bold.json").read_text())
        for place in (".", "model", "model_linear")
    )
    assert (whole["maps"], network["maps"], linear["maps"]) == (MAPS, [], MAPS)
    assert whole["cleaning"] == network["cleaning"] == linear["cleaning"]
    assert (whole["t_r"], whole["raw"]) == (2.0, None)
    assert network["cleaning"]["strategy"] == "motion6"


def test_reference_is_the_motion_of_those_who_were_learned_from(study):
    people = read(study.run / "cohort.tsv").set_index("participant_id")["used"]
    table = read(study.run / "participants.tsv").set_index("participant_id")
    moved = table["mean_framewise_displacement"].astype(float)
    for bundle in study.bundles.values():
        worst = moved[people == "yes"].max()
        assert bundle.reference.mean_fd_high_mm == pytest.approx(worst, rel=1e-5)


def test_exported_forms_agree(study):
    for exported in study.exported.values():
        assert exported.agreement.n_scans == 3
        assert max(exported.agreement.onnx, exported.agreement.torch_export) < 1e-4
    kinds = {name: one.metadata["input"]["kind"] for name, one in study.bundles.items()}
    assert kinds == {"network": "series", "linear": "maps"}


@pytest.mark.parametrize(("model", "name"), [("network", "network"), ("linear", "linear_svm")])
def test_bundle_says_of_others_what_training_would(study, others, expected, model, name, capsys):
    images = [str(path) for path in sorted(others.root.rglob(f"*{IMAGE}"))]
    assert main([str(study.root / model), *images]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    found = pd.DataFrame(lines[1:], columns=lines[0])
    assert list(found["scan"]) == images
    assert list(found["status"]) == ["ok"] * 4, list(found["reason"])
    scores, probabilities = found["score"].astype(float), found["probability"].astype(float)
    np.testing.assert_allclose(scores, expected[name].score, atol=1e-4)
    np.testing.assert_allclose(probabilities, expected[name].probability, atol=1e-4)


def test_runs_outside_of_the_contract_get_no_score(study, others, tmp_path):
    tree = RunTree(tmp_path / "tree")
    names = ("good", "slow", "bare", "moved")
    for name in names:
        tree.plant(others.root / "sub-synthetic001" / "func", f"sub-{name}")
    tree.state_t_r("slow", 2.5)
    tree.file("bare", CONFOUNDS).unlink()
    confounds = tree.file("moved", CONFOUNDS)
    table = pd.read_csv(confounds, sep="\t")
    table["framewise_displacement"] *= 20
    table.to_csv(confounds, sep="\t", index=False, na_rep="n/a")
    images = [tree.file(name, IMAGE) for name in names]
    done = call("predict", study.root / "network", *images, "--out", "table.tsv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "table.tsv")
    assert list(found["status"]) == ["ok", "cannot_say", "error", "cannot_say"]
    assert [score == "n/a" for score in found["score"]] == [False, True, True, True]
    reasons = ("", "a repetition time of 2.5 s", "no confounds", "a mean framewise displacement of")
    for reason, part in zip(found["reason"], reasons, strict=True):
        assert part in reason


def evaluate(run, study):
    return evaluate_lockbox(str(run), BASELINES, str(study.root / "store"), 2)


def test_box_is_scored_as_its_bundles_would(study, tmp_path, monkeypatch):
    run = shutil.copytree(study.run, tmp_path / "run")
    monkeypatch.chdir(study.root)

    def fail(*_):
        raise AssertionError("cleaned again")

    with monkeypatch.context() as patched:
        patched.setattr("fmnet.bold.cleaned.clean_values", fail)
        patched.setattr("fmnet.bold.scan_maps.compute_maps", fail)
        lines = evaluate(run, study)
    assert "lock-box of 4 scans of 4 people, opened for the first time" in lines[0]
    table = read(run / "lockbox.tsv").set_index("scan_id")
    assert set(table["model"]) == MODELS
    people = read(run / "cohort.tsv").set_index("scan_id")
    inside = people[people["used"] == "lock-box"]
    for model, name in (("network", "network"), ("linear", "linear_svm")):
        scores = table[table["model"] == name]["score"]
        assert set(scores.index) == set(inside.index)
        scan, row = scores.index[0], inside.loc[scores.index[0]]
        runs = (describe_run(type(run)(row["files"]), row["space"]),)
        found = predict_run(study.bundles[model], NewBoldScan("new", runs))
        assert found.score == pytest.approx(scores[scan], abs=1e-4)


def test_box_of_a_run_without_a_linear_model_is_scored(study, tmp_path):
    run = shutil.copytree(study.run, tmp_path / "run")
    shutil.rmtree(run / "model_linear")
    (run / "SHA256SUMS").unlink()  # as of a run of before there was one
    evaluate(run, study)
    assert set(read(run / "lockbox.tsv")["model"]) == MODELS
