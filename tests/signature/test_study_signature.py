"""The signature of a small study: what is written, and what is not."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from run_fixtures import CONTRASTS, run_unreported, study_settings

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm
from fmnet.data.cohort import FILE_SEPARATOR
from fmnet.data.folds import build_folds
from fmnet.data.template import build_grid
from fmnet.errors import ConfigError
from fmnet.export.export import export_run
from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import NewScan, predict_scan
from fmnet.inference.preparation import PreparationSettings
from fmnet.runs.final_models import LINEAR_FOLDER
from fmnet.signature.study_signature import SignaturePlan, check_halves, check_plan, digest
from fmnet.signature.tables import CLUSTER_COLUMNS
from fmnet.studies.study import run_study
from fmnet.synthetic.effects import Region
from fmnet.synthetic.maps import read_synthetic
from fmnet.training.trainer import CPU_TRAINER

#: Where one contrast is enough.
ONE = CONTRASTS[:1]
PLAN = SignaturePlan(
    n_permutations=39, n_halves=4, n_permutations_of_halves=39, n_random_maps=50, n_regions=20
)


def settings(
    root: Path, run_dir: Path, effect: float, plan: SignaturePlan, contrasts=CONTRASTS
) -> dict:
    cohort = read_synthetic(
        root / f"cohorts-{effect:g}-{len(contrasts)}",
        n_subjects=32,
        contrasts=contrasts,
        effect_size=effect,
        voxel_size_mm=12,
    )
    folds = partial(build_folds, n_splits=4, n_repeats=1, inner_splits=2, seed=0)
    own = {"cohort": cohort, "folds": folds, "signature": plan}
    own["preparation"] = PreparationSettings(voxel_size_mm=12, fwhm_mm=0.0)
    # the network is of no interest: a linear model is exported, which has nothing to choose
    own["trainer"] = partial(CPU_TRAINER, max_epochs=1)
    own["baselines"] = {"dummy": Dummy(), "linear_svm": LinearSvm(fwhm_mm=(0.0,), c=(0.1,))}
    return study_settings(root, run_dir, **own)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("signature")


@pytest.fixture
def undrawn(monkeypatch):
    """Leave brains out of reports: their pictures and viewers are those of other tests."""
    monkeypatch.setattr("fmnet.report.signature_section._draw_maps", lambda *_: ([], []))
    monkeypatch.setattr("fmnet.report.signature_section._draw_galleries", lambda *_: [])


@pytest.fixture(scope="module")
def run(root):
    """A run with a strong effect that differs from side to side; the linear SVM is exported."""
    regions = (
        Region("insula", "left", (-40, 6, 0), 1),
        Region("frontal", "right", (40, 32, 32), -1),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fmnet.synthetic.maps.REGIONS", regions)
        run_study(**settings(root, root / "run", 40.0, PLAN))
    return root / "run"


def facts_of(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())["signature"]


def test_a_stable_signature_is_written_with_all_that_was_asked(run):
    facts = facts_of(run)
    assert (facts["is_drawn"], facts["is_forced"], facts["failed"]) == (True, False, [])
    assert all(one["passed"] is not False for one in facts["checks"].values())
    assert set(facts["checks"]) == {
        "above_chance", "halves", "label_randomisation", "deletion", "model_randomisation"
    }  # fmt: skip
    kinds = ("weights", "pattern", "attribution", "occlusion", "z", "thresholded")
    for contrast in CONTRASTS:
        for kind in kinds:
            stem = run / "signature" / f"contrast-{contrast}_space-MNI152_desc-{kind}_statmap"
            said = json.loads(Path(f"{stem}.json").read_text())
            assert said["Stable"] is True
            assert said["NumberOfSubjects"] == 32
            assert nib.load(f"{stem}.nii.gz").shape == build_grid(12).shape
    clusters = pd.read_csv(run / "signature" / "clusters.tsv", sep="\t")
    assert (clusters["p"] <= 0.05).all()
    assert len(pd.read_csv(run / "signature" / "regions.tsv", sep="\t")) == 2 * facts["n_regions"]
    assert "signature/regions_dseg.nii.gz" in (run / "SHA256SUMS").read_text()
    said = json.loads((run / "signature" / "regions_dseg.json").read_text())
    assert len(said["Regions"]) == facts["n_regions"]


def test_weights_times_a_map_is_the_score(run, root):
    """With a user's own tools: nibabel and a sum over voxels."""
    out = root / "bundle"
    export_run(str(run), str(out), "linear")
    listed = pd.read_csv(run / "cohort.tsv", sep="\t")
    files = tuple(map(Path, listed["files"][0].split(FILE_SEPARATOR)))
    score = predict_scan(read_bundle(out), NewScan("one", files, says_contrast=True)).score
    total = 0.0
    for contrast, file in zip(CONTRASTS, files, strict=True):
        stem = run / "signature" / f"contrast-{contrast}_space-MNI152_desc-weights_statmap"
        weights, scan = nib.load(f"{stem}.nii.gz"), nib.load(file)
        np.testing.assert_allclose(scan.affine, weights.affine)
        total += float(np.nansum(np.asarray(weights.dataobj) * np.asarray(scan.dataobj)))
    intercept = json.loads(Path(f"{stem}.json").read_text())["Intercept"]
    assert total + intercept == pytest.approx(score, abs=1e-4)


def test_left_is_left(run):
    """More was planted in the left insula alone, less in the right frontal lobe alone."""
    for contrast in CONTRASTS:
        stem = run / "signature" / f"contrast-{contrast}_space-MNI152_desc-z_statmap"
        image = nib.load(f"{stem}.nii.gz")
        z, back = np.asarray(image.dataobj), np.linalg.inv(image.affine)

        def around(place, z=z, back=back):
            i, j, k = np.rint(nib.affines.apply_affine(back, place)).astype(int)
            return float(z[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2].mean())

        assert around((-40, 6, 0)) > around((40, 6, 0)) + 0.2
        assert around((40, 32, 32)) < around((-40, 32, 32)) - 0.2


def test_a_run_that_is_gone_on_with_keeps_its_signature(run, root, monkeypatch):
    monkeypatch.setattr(
        "fmnet.signature.study_signature.agreement_of_halves",
        lambda *_: pytest.fail("made again"),
    )
    before = facts_of(run)
    run_unreported(**settings(root, run, 40.0, PLAN) | {"resume": True})
    assert facts_of(run) == before


@pytest.mark.usefixtures("undrawn")
def test_another_plan_makes_it_anew_beside_published_maps(run, root, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    own = run / "signature" / "contrast-visual_space-MNI152_desc-weights_statmap.nii.gz"
    plan = replace(PLAN, maps={"own": str(own)}, n_permutations=9)
    run_study(**settings(root, copy, 40.0, plan) | {"resume": True})
    published = pd.read_csv(copy / "signature" / "published.tsv", sep="\t")
    itself = published.set_index("contrast").loc["visual"]
    assert itself["correlation"] == pytest.approx(1, abs=1e-3)
    assert itself["p"] < 0.05
    assert "own" in (copy / "report.html").read_text()
    clusters = pd.read_csv(copy / "signature" / "clusters.tsv", sep="\t")
    assert clusters.empty  # 9 orders of the labels can't tell at 5 %
    assert list(clusters) == CLUSTER_COLUMNS


@pytest.mark.usefixtures("undrawn")
def test_without_an_effect_no_map_is_drawn_unless_forced(root):
    run_dir = root / "null"
    run_study(**settings(root, run_dir, 0.0, PLAN, ONE))
    facts = facts_of(run_dir)
    assert not facts["is_drawn"]
    assert facts["failed"]
    assert [path.name for path in (run_dir / "signature").iterdir()] == ["signature.json"]
    run_study(**settings(root, run_dir, 0.0, replace(PLAN, force=True), ONE) | {"resume": True})
    facts = facts_of(run_dir)
    assert facts["is_drawn"]
    assert facts["is_forced"]
    (said,) = (run_dir / "signature").glob("contrast-pressure_*_desc-pattern_statmap.json")
    assert json.loads(said.read_text())["Stable"] is False


def test_what_cant_be_read_is_refused_before_any_scan(root, tmp_path):
    plan = replace(PLAN, maps={"nps": str(tmp_path / "nps.nii")}, atlas=str(tmp_path / "atlas.nii"))
    with pytest.raises(ConfigError, match=r"(?s)atlas\.nii.*nps\.nii"):
        run_study(**settings(root, tmp_path / "run", 40.0, plan))


def test_labels_without_their_atlas_are_refused(tmp_path):
    plan = replace(PLAN, atlas_labels=str(tmp_path / "atlas.tsv"))
    with pytest.raises(ConfigError, match=r"atlas_labels: found no signature\.atlas beside it"):
        check_plan(plan, build_grid(12))


@pytest.mark.usefixtures("undrawn")
def test_a_network_trained_by_gradients_is_compared_once(root):
    """A training for each order of the labels would be too much: random maps are the null."""
    asked = settings(root, root / "gradients", 40.0, replace(PLAN, force=True), ONE)
    run_study(**asked | {"baselines": {"dummy": Dummy()}})
    facts = facts_of(root / "gradients")
    assert facts["model"] == "network"
    assert facts["halves"]["null_from"] == "spatial"
    assert facts["checks"]["halves"]["passed"] is None
    assert "n_trained_permutations=20" in facts["checks"]["halves"]["reason"]
    assert facts["is_forced"]
    assert facts["checks"]["label_randomisation"]["passed"] is None
    assert facts["linear_fraction"] == 0
    written = {path.name for path in (root / "gradients" / "signature").iterdir()}
    assert "contrast-pressure_space-MNI152_desc-surrogate_statmap.nii.gz" in written
    assert "contrast-pressure_space-MNI152_desc-z_statmap.nii.gz" not in written


def test_another_file_of_the_same_name_is_another_question(tmp_path):
    (tmp_path / LINEAR_FOLDER).mkdir()
    (tmp_path / LINEAR_FOLDER / "weights.safetensors").write_bytes(b"weights")
    published, facts = tmp_path / "nps.nii", {"exported": {"model": "linear_svm"}}
    plan, found = replace(PLAN, maps={"nps": str(published)}), []
    for content in (b"one", b"other", b"one"):
        published.write_bytes(content)
        found.append(digest(plan, facts, tmp_path))
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("n", "p", "outcome"),
    [
        (0, 0.001, "not examined"),
        (10, 1 / 11, "not examined"),
        (39, 1 / 40, "passed"),
        (39, 0.2, "failed"),
    ],
)
def test_halves_are_judged_by_enough_orders_of_the_labels(n, p, outcome):
    voxel_r = {"observed": 0.4, "null": [0.0, 0.1], "p": p}
    halves = {"voxel_r": voxel_r, "n_permutations": n, "null_from": "labels" if n else "spatial"}
    found = check_halves(halves, takes_gradients=False)
    assert found.outcome == outcome
    assert ("n_permutations_of_halves" in found.reason) == (outcome == "not examined")
    assert "n_trained" not in found.reason
