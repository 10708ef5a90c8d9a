"""The three scripts as a user calls them, one after the other, on files of the user's own."""

import re

import pandas as pd
import pytest
from command_fixtures import QUICK, call, call_afresh


@pytest.fixture
def tree(tmp_path):
    """Sixteen people with two contrasts, one of whom has a damaged map."""
    knobs = ["--n-subjects", "16", "--voxel-size-mm", "8", "--contrasts", "pressure", "visual"]
    done = call_afresh("make_cohort", "people", *knobs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    root = tmp_path / "people"
    damaged = next((root / "sub-synthetic005").rglob("*contrast-visual*.nii.gz"))
    damaged.write_bytes(damaged.read_bytes()[:200])
    return root


@pytest.mark.slow
def test_from_maps_to_predictions(tree, tmp_path):
    cohort = ["cohort=bids", f"cohort.root={tree}", "cohort.contrasts=[visual,pressure]"]
    refused = call("train", *cohort, *QUICK, "run_dir=run", cwd=tmp_path)
    assert refused.returncode == 2
    assert "sub-synthetic005" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "run").exists()

    arguments = [*cohort, *QUICK, "cohort.on_fault=exclude", "run_dir=run"]
    trained = call_afresh("train", *arguments, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.splitlines()[-1] == "run"
    people = pd.read_csv(tmp_path / "run" / "cohort.tsv", sep="\t").set_index("participant_id")
    assert (people["used"] == "no").sum() == 1
    assert "damaged or truncated" in people.at["sub-synthetic005", "reason"]
    scored = pd.read_csv(tmp_path / "run" / "predictions.tsv", sep="\t")
    assert set(scored["participant_id"]) == set(people.index) - {"sub-synthetic005"}

    given = ("run_dir=run", "out=bundle", "allow_uninformative=true")
    exported = call_afresh("export", *given, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    titles = r"(linear SVM|logistic ridge|shrinkage LDA|prior CNN \(pretrained\))"
    title = re.match(rf"the {titles} is exported: its out-of-fold AUC, ", exported.stdout)
    assert title, exported.stdout
    assert f"The {title[1]}, exported" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    scans = [
        ",".join(
            str(next((tree / person).rglob(f"*contrast-{name}*")))
            for name in ("visual", "pressure")
        )
        for person in ("sub-synthetic001", "sub-synthetic002", "sub-synthetic005")
    ]
    predicted = call_afresh("predict", "bundle", *scans, "--out", "results.tsv", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    table = pd.read_csv(tmp_path / "results.tsv", sep="\t")
    assert list(table)[:3] == ["scan", "score", "probability"]
    assert list(table)[6:] == ["status", "gates_failed", "in_training", "reason"]
    assert list(table["status"]) == ["ok", "ok", "error"]
    assert "damaged or truncated" in table["reason"][2]


@pytest.mark.slow
def test_defaults_train_on_the_synthetic_cohort(tmp_path):
    done = call_afresh("train", "experiment=quick", *QUICK, "run_dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC" in done.stdout
    assert "SYNTHETIC DATA, nobody was scanned." in (tmp_path / "run" / "report.html").read_text()
    assert "Warning" not in done.stderr
