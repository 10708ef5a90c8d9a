"""A warning of the study goes with the signature, and with each of its predictions."""

import json
from functools import partial

import pandas as pd
import pytest
from run_fixtures import study_settings

from fmnet.baselines.linear import LinearSvm
from fmnet.baselines.shortcuts import Columns
from fmnet.crossval.permutation import PermutationPlan
from fmnet.data.bids import read_bids
from fmnet.data.folds import build_folds
from fmnet.earlier import finding_without_model
from fmnet.evaluation.audit import AuditPlan
from fmnet.export.export import export_run
from fmnet.inference.cli import main
from fmnet.inference.preparation import PreparationSettings
from fmnet.studies.study import run_study
from fmnet.synthetic.maps import write_cohort
from fmnet.training.trainer import CPU_TRAINER


@pytest.fixture(scope="module")
def confounded(tmp_path_factory):
    """Bundles of a study whose groups differ in age: the model chosen, and the network."""
    root = tmp_path_factory.mktemp("confounded")
    people = write_cohort(root / "people", n_subjects=20, effect_size=2.0, voxel_size_mm=12)
    table = pd.read_csv(people / "participants.tsv", sep="\t", dtype=str)
    table["age"] = [20 + 30 * (row.group == "FM") + row.Index % 7 for row in table.itertuples()]
    table.to_csv(people / "participants.tsv", sep="\t", index=False)
    settings = study_settings(root, root / "run", cohort=read_bids(people))
    settings |= {
        "preparation": PreparationSettings(voxel_size_mm=12, fwhm_mm=12.0),
        "folds": partial(build_folds, n_splits=2, n_repeats=1, inner_splits=2, seed=0),
        "trainer": partial(CPU_TRAINER, max_epochs=2),
        "baselines": {
            "linear_svm": LinearSvm(fwhm_mm=(12.0,), c=(0.1,)),
            "covariates": Columns(columns=["age"]),
        },
        "permutation": PermutationPlan(n=2),
        "audit": AuditPlan(["pain_score"]),
    }
    run_study(**settings)
    for model in ("auto", "network"):
        export_run(str(root / "run"), str(root / model), model, n_check=2, allow_uninformative=True)
    return root


def red_of(root):
    metrics = json.loads((root / "run" / "metrics.json").read_text())
    return [one["text"] for one in metrics["findings"] if one["severity"] == "red"]


@pytest.mark.parametrize("model", ["auto", "network"])
def test_each_prediction_carries_the_red_findings_of_the_study(confounded, model, capsys):
    red = red_of(confounded)
    assert any(text.startswith("age alone tells the groups apart") for text in red)
    maps = sorted((confounded / "people").rglob("*_statmap.nii.gz"))[:2]
    out = confounded / f"{model}.json"
    assert main([str(confounded / model), *map(str, maps), "gone.nii", "--out", str(out)]) == 0
    document = json.loads(out.read_text("utf-8"))
    assert [one["status"] for one in document["predictions"]] == ["ok", "ok", "error"]
    card = (confounded / model / "MODEL_CARD.md").read_text()
    for record in document["predictions"]:
        said = [finding_without_model(text) for text in record["evidence"]["red"]]
        assert all(any(one.endswith(finding_without_model(text)) for one in said) for text in red)
        assert all(text in card for text in record["evidence"]["red"])
    for record in document["predictions"]:
        known = record["evidence"]
        assert 0 <= known["p"] <= 1
        assert known["auc_ci"][0] <= known["auc"] <= known["auc_ci"][1]
        assert (known["n_subjects"], known["n_positive"], known["n_negative"]) == (20, 10, 10)
        assert known["verdict"]
    assert f"{len(known['red'])} red finding" in capsys.readouterr().err
    for record in document["predictions"][:2]:
        assert f"signature has {len(known['red'])} red finding" in record["reason"]
