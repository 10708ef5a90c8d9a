import json
import shutil

import pandas as pd
import pytest
from cohort_fixtures import cohort_of_rows
from run_fixtures import run_unreported, study_settings

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm
from fmnet.errors import CohortError, RunError
from fmnet.export.export import export_run
from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import NewScan, predict_scan
from fmnet.studies.lockbox import LockBox, evaluate_lockbox, set_aside

BASELINES = {"dummy": Dummy(), "linear_svm": LinearSvm(fwhm_mm=(12.0,), c=(0.1,))}


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", keep_default_na=False)


@pytest.fixture(scope="module")
def boxed(study_root):
    """A finished run with a third of its people set aside."""
    run_dir = study_root / "boxed"
    run_unreported(**study_settings(study_root, run_dir, lockbox=LockBox(fraction=1 / 3)))
    return run_dir


@pytest.fixture
def run(boxed, tmp_path):
    return shutil.copytree(boxed, tmp_path / "run")


def evaluate(run, study_root, **changes):
    return evaluate_lockbox(str(run), BASELINES, str(study_root / "store"), 2, **changes)


def test_training_never_sees_the_box(boxed):
    cohort = read(boxed / "cohort.tsv").set_index("participant_id")
    inside = set(cohort.index[cohort["used"] == "lock-box"])
    assert len(inside) == 8
    for name in ("folds.tsv", "predictions.tsv"):
        assert not inside & set(read(boxed / name)["participant_id"])
    assert json.loads((boxed / "model" / "training.json").read_text())["n_subjects"] == 16


def test_box_is_scored_beside_its_baselines(run, study_root):
    lines = evaluate(run, study_root)
    box = "lock-box of 8 scans of 8 people, opened for the first time"
    assert lines[0].startswith(f"SYNTHETIC DATA, nobody was scanned. {box}")
    table = read(run / "lockbox.tsv")
    cohort = read(run / "cohort.tsv").set_index("participant_id")
    assert set(table["model"]) == {"network", "dummy", "linear_svm"}
    assert (table.groupby("model").size() == 8).all()
    assert set(cohort.loc[table["participant_id"], "used"]) == {"lock-box"}
    wanted = cohort.loc[table["participant_id"], "label"].eq("FM").astype(int).tolist()
    assert table["label"].tolist() == wanted
    found = json.loads((run / "lockbox.json").read_text())
    assert found["models"]["linear_svm"]["auc"] > 0.7
    titles = {name: found["titles"][name] for name in ("dummy", "linear_svm")}
    assert titles == {"dummy": "dummy", "linear_svm": "linear SVM"}


def test_second_look_is_refused_or_counted(run, study_root):
    evaluate(run, study_root)
    with pytest.raises(RunError, match=r"a lock-box that was opened on 20.*again=true"):
        evaluate(run, study_root)
    assert "opened 2 times by now" in evaluate(run, study_root, again=True)[0]
    openings = json.loads((run / "manifest.json").read_text())["lockbox_openings"]
    assert [opening["count"] for opening in openings] == [1, 2]


@pytest.mark.parametrize(("model", "name"), [("network", "network"), ("linear", "linear_svm")])
def test_final_models_score_the_box_as_their_bundles_would(run, study_root, model, name):
    evaluate(run, study_root)
    export_run(str(run), str(run.parent / "bundle"), model, allow_uninformative=True)
    bundle = read_bundle(run.parent / "bundle")
    table = read(run / "lockbox.tsv")
    files = read(run / "cohort.tsv").set_index("scan_id")["files"]
    for _, row in table[table["model"] == name].head(3).iterrows():
        scan = NewScan("new", tuple(map(type(run), files[row["scan_id"]].split(" | "))))
        found = predict_scan(bundle, scan)
        assert found.score == pytest.approx(row["score"], abs=1e-4)
        assert found.probability == pytest.approx(row["probability"], abs=1e-4)


def test_run_without_a_linear_model_is_scored_by_its_network(run, study_root):
    shutil.rmtree(run / "model_linear")
    (run / "SHA256SUMS").unlink()  # as in runs of before hashes were kept
    evaluate(run, study_root)
    assert set(read(run / "lockbox.tsv")["model"]) == {"network", "dummy", "linear_svm"}


def test_run_without_a_box_is_refused(finished, study_root):
    with pytest.raises(RunError, match="a run without a lock-box"):
        evaluate(finished.run_dir, study_root)


def test_run_with_a_target_is_refused(run, study_root):
    path = run / "model" / "training.json"
    record = json.loads(path.read_text())
    del record["positive"]
    path.write_text(json.dumps(record))
    (run / "SHA256SUMS").unlink()
    with pytest.raises(RunError, match="a run with a target, which sets nobody aside"):
        evaluate(run, study_root)


def test_folder_without_a_run_is_refused(tmp_path, study_root):
    with pytest.raises(RunError, match="no finished run"):
        evaluate(tmp_path, study_root)


ROWS = [(f"sub-{k:02}", "AB"[k % 3 == 0], "FM" if k < 12 else "HC") for k in range(20)]


@pytest.fixture
def cohort():
    made = cohort_of_rows(ROWS)
    return type(made)(made.scans, tuple(range(20)), made.listing, None)


def people(scans) -> set[str]:
    return {scan.participant_id for scan in scans}


def test_nobody_is_set_aside_unasked(cohort):
    assert set_aside(cohort, LockBox(), 0) is cohort


def test_named_people_and_a_site_are_set_aside(cohort):
    box = set_aside(cohort, LockBox(["01", "sub-13"], site="B"), 0)
    expected = {row[0] for row in ROWS if row[1] == "B"} | {"sub-01", "sub-13"}
    assert people(box.set_aside) == expected
    assert people(box.scans) == {row[0] for row in ROWS} - expected
    assert [ROWS[k][0] for k in box.stored] == [scan.participant_id for scan in box.scans]


def test_a_share_of_each_class_is_drawn_by_seed(cohort):
    box = set_aside(cohort, LockBox(fraction=0.25), 3)
    assert sorted(scan.label for scan in box.set_aside) == ["FM"] * 3 + ["HC"] * 2
    assert people(box.set_aside) == people(set_aside(cohort, LockBox(fraction=0.25), 3).set_aside)
    assert people(box.set_aside) != people(set_aside(cohort, LockBox(fraction=0.25), 4).set_aside)


@pytest.mark.parametrize(
    ("lockbox", "message"),
    [
        (LockBox(["sub-77"]), r"lockbox\.subjects: found nobody called 77"),
        (LockBox(site="C"), r"lockbox\.site: found no site 'C'; accepted: A, B"),
        (LockBox(["sub-01", "sub-02"]), "one class only in the lock-box"),
        (LockBox([row[0] for row in ROWS[12:]] + ["sub-01"]), "one class only outside"),
    ],
)
def test_boxes_that_make_no_sense_are_refused(cohort, lockbox, message):
    with pytest.raises(CohortError, match=message):
        set_aside(cohort, lockbox, 0)
