import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monai.bundle import create_workflow
from run_fixtures import run_unreported, study_settings

from fmnet.baselines.outcomes import OutcomeDummy, VoxelRidge
from fmnet.crossval.permutation import PermutationPlan
from fmnet.crossval.reruns import LearningCurvePlan
from fmnet.data.folds import build_folds
from fmnet.errors import ConfigError, ExportError, FoldsError, RunError
from fmnet.export.export import export_run
from fmnet.export.run_scans import read_run_scans
from fmnet.inference.bundle import read_bundle
from fmnet.inference.links import link_from_json
from fmnet.inference.predict import Request, predict_scan
from fmnet.studies.lockbox import LockBox
from fmnet.studies.study import run_study
from fmnet.synthetic.targets import read_synthetic_target
from fmnet.targets.change import Change
from fmnet.targets.contrast import Contrast
from fmnet.targets.onset import Onset
from fmnet.targets.several import Several
from fmnet.targets.severity import Severity
from fmnet.training.trainer import CPU_TRAINER

FIQR = Severity("fiqr", unit="FIQ-R points", min_people=10)


def settings(root: Path, run_dir: Path, kind: str, target, **changes) -> dict:
    made = {"voxel_size_mm": 12, "n_sites": 1, "pattern_size": 3.0}
    cohort = read_synthetic_target(root / "cohorts" / kind, kind=kind, n_subjects=24, **made)
    found = study_settings(root, run_dir)
    preparation = replace(found["preparation"], voxel_size_mm=12)
    baselines = {"dummy": OutcomeDummy(), "voxel_ridge": VoxelRidge((8.0,), (1.0, 10.0))}
    given = {"cohort": cohort, "preparation": preparation, "target": target, "signature": None}
    folds = partial(build_folds, n_splits=2, n_repeats=1, inner_splits=2, seed=0)
    trainer = partial(CPU_TRAINER, max_epochs=1)
    given |= {"baselines": baselines, "permutation": PermutationPlan(2)}
    given |= {"folds": folds, "trainer": trainer}
    return found | given | changes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("targets")


@pytest.fixture(scope="module")
def severity(root):
    run_dir = root / "severity-run"
    return run_dir, run_study(**settings(root, run_dir, "severity", FIQR))


def metrics_of(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())


def test_study_of_a_target_is_whole(severity):
    run_dir, lines = severity
    assert lines[-1] == str(run_dir)
    assert lines[0].startswith("SYNTHETIC DATA")
    for name in ("report.html", "figure.png", "cohort.tsv", "model/link.json", "model/target.json"):
        assert (run_dir / name).exists(), name
    facts = metrics_of(run_dir)
    assert facts["target"]["kind"] == "severity"
    assert set(facts["models"]) == {"network", "dummy", "voxel_ridge"}
    assert facts["permutation"]["n"] == 2
    assert facts["verdict"][0]["text"]


def test_outputs_are_those_of_links_fitted_without_test_people(severity):
    run_dir, _ = severity
    table = pd.read_csv(run_dir / "predictions.tsv", sep="\t")
    dummy = table[table["model"] == "dummy"].set_index("participant_id")
    for _, fold in dummy.groupby("fold"):
        others = dummy.drop(fold.index)["outcome_value"]
        # what knows nothing predicts the mean of the training people, within rounding
        assert fold["value"].nunique() == 1
        assert fold["value"].iloc[0] == pytest.approx(others.mean(), abs=1e-4)


def test_final_link_reads_back(severity):
    run_dir, _ = severity
    link = link_from_json(json.loads((run_dir / "model/link.json").read_text()))
    outputs = link.outputs(np.zeros((3, 1)))
    assert set(outputs) == {"value", "value_low", "value_high"}
    assert (outputs["value_low"] < outputs["value_high"]).all()


@pytest.mark.slow
def test_exported_bundle_gives_the_same_numbers_in_fmnet_and_in_monai(severity, root, capsys):
    run_dir, _ = severity
    folder = root / "severity-bundle"
    export_run(str(run_dir), str(folder), n_check=2, allow_uninformative=True)
    bundle, scan = read_bundle(folder), read_run_scans(run_dir, 1)[0]
    assert bundle.metadata["format_version"] == 2
    wanted = predict_scan(bundle, scan, Request(is_forced=True))
    config = str(folder / "configs" / "inference.json")
    source = ",".join(map(str, scan.files))
    capsys.readouterr()
    with pytest.warns(UserWarning, match="parsing config_file"):
        monai = create_workflow(
            config_file=config, bundle_root=str(folder), scan=source, force=True
        )
    monai.run()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: found[name] for name in bundle.columns} == pytest.approx(wanted.numbers, rel=1e-4)
    card = (folder / "MODEL_CARD.md").read_text("utf-8")
    assert card.startswith("---\nlicense: unknown\n")


def test_run_goes_on_with_more_permutations(severity, root):
    run_dir, _ = severity
    before = metrics_of(run_dir)
    again = settings(root, run_dir, "severity", FIQR, permutation=PermutationPlan(3), resume=True)
    lines = run_unreported(**again)
    facts = metrics_of(run_dir)
    assert facts["permutation"]["n"] == 3
    assert facts["models"] == before["models"]
    assert any("2 of 3 permutations were done before" in line for line in lines)


def test_other_outcomes_are_no_run_to_go_on_with(severity, root):
    run_dir, _ = severity
    given = settings(root, run_dir, "severity", FIQR, resume=True)
    listing = given["cohort"]
    table = listing.participants.assign(fiqr=listing.participants["fiqr"].to_numpy()[::-1])
    given["cohort"] = replace(listing, participants=table)
    with pytest.raises(RunError, match="other maps or labels"):
        run_study(**given)


def test_shuffled_outcomes_are_everybodys_in_another_order(root):
    run_dir = root / "shuffled"
    given = settings(root, run_dir, "severity", FIQR, shuffle_labels=True)
    run_unreported(**given | {"permutation": PermutationPlan(0)})
    cohort = pd.read_csv(run_dir / "cohort.tsv", sep="\t").set_index("participant_id")
    people = pd.read_csv(run_dir / "participants.tsv", sep="\t").set_index("participant_id")
    own = people["fiqr"].loc[cohort.index]
    assert sorted(cohort["outcome_value"]) == sorted(own)
    assert (cohort["outcome_value"] != own).mean() > 0.5


def test_what_only_two_groups_have_is_refused_at_once(root):
    plans = {"learning_curve": LearningCurvePlan((0.4, 0.6)), "lockbox": LockBox(fraction=0.2)}
    with pytest.raises(ConfigError) as caught:
        run_study(**settings(root, root / "refused", "severity", FIQR, n_seeds=2, **plans))
    found = {fault.where for fault in caught.value.faults}
    assert found == {"learning_curve.fractions", "lockbox", "n_seeds"}
    assert not (root / "refused").exists()


def test_folds_with_too_few_events_are_refused(root):
    target = Onset(times=(2.0,), min_events=14)  # of 16 of all, 8 or so in either half
    with pytest.raises(FoldsError, match="events"):
        run_study(**settings(root, root / "few", "onset", target))


def test_model_that_compares_a_persons_scans_is_not_exported(root):
    run_dir = root / "change"
    run_study(**settings(root, run_dir, "change", Change(), permutation=PermutationPlan(0)))
    assert "retest" not in metrics_of(run_dir)  # scores within persons say nothing between them
    with pytest.raises(ExportError, match="scans of one person with each other"):
        export_run(str(run_dir), str(root / "bundle"), allow_uninformative=True)


def test_run_of_several_targets_goes_on_where_outcomes_are_missing(root):
    target = Several({"fm": Contrast("FM", "HC"), "fiqr": FIQR})
    plan = {"permutation": PermutationPlan(0)}
    given = settings(root, root / "several", "several", target, **plan)
    made = {"kind": "several", "n_subjects": 48, "voxel_size_mm": 12, "n_sites": 1}
    given["cohort"] = read_synthetic_target(root / "cohorts" / "more", **made)
    run_study(**given)
    cohort = pd.read_csv(root / "several" / "cohort.tsv", sep="\t")
    assert cohort["outcome_fiqr.value"].isna().any()
    before = metrics_of(root / "several")["models"]
    run_unreported(**given | {"resume": True, "permutation": PermutationPlan(1)})
    facts = metrics_of(root / "several")
    assert facts["models"] == before
    assert facts["permutation"]["n"] == 1


def test_sessions_are_compared(root):
    run_dir = root / "sessions"
    run_study(**settings(root, run_dir, "sessions", FIQR, permutation=PermutationPlan(0)))
    retest = metrics_of(run_dir)["retest"]
    assert retest["scores"]["network"]["n_people"] == 24
    assert set(retest["weights"]) == {"voxel_ridge"}
    page = (run_dir / "report.html").read_text()
    assert "Weights learned from one session alone" in page
    assert retest["sentences"][0] in page
