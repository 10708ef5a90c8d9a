import json
import shutil

import pytest
from written_runs import SETTINGS, write_run

from fmnet.errors import RunError
from fmnet.report.compared_runs import find_runs, read_run, short_names


def test_figures_are_those_of_the_run(tmp_path):
    folder = write_run(tmp_path / "run")
    stated = json.loads((folder / "metrics.json").read_text())["models"]["linear_svm"]
    run = read_run(folder, "run")
    assert run.reached("linear_svm") == (stated["auc"], *stated["auc_ci"])
    assert run.reached("coverage") == (None, None, None)
    assert (run.linear, run.exported, run.studied) == ("linear_svm", "network", "network")
    assert run.corrected == (0.7, 0.6, 0.8)
    assert (run.p, run.question) == (0.03, "two groups, by AUC")
    assert run.red == ["<b>Motion</b> alone reaches as far."]


def test_target_is_judged_by_its_own_figure(tmp_path):
    primary = {"name": "r2", "title": "R²", "chance": 0.0}
    facts = {
        "target": {"title": "how severe it is", "primary": primary},
        "models": {"network": {"r2": 0.2, "r2_ci": [-0.1, 0.4]}, "scale": {"r2": None}},
        "exported": {"model": "network", "among": ["network"]},
        "verdict": [{"text": "R² of 0.2", "severity": "red"}, {"text": "No more.", "severity": ""}],
        "permutation": {"models": {"network": {"p": 0.2}}},
    }
    run = read_run(write_run(tmp_path / "run", facts=facts), "run")
    assert run.question == "how severe it is, by R²"
    assert run.corrected == (0.2, -0.1, 0.4)
    assert (run.p, run.linear) == (0.2, "")
    assert run.verdict == "R² of 0.2. No more."


def test_runs_of_before_are_read(tmp_path):
    """The network was called otherwise, little was kept, and there were no hashes."""
    folder = write_run(tmp_path / "run", {"network": 1.0})
    path = folder / "metrics.json"
    stated = json.loads(path.read_text())
    kept = {"n_subjects": 26, "n_scans": 26, "models": {"cnn": stated["models"]["network"]}}
    path.write_text(json.dumps(kept))
    table = folder / "predictions.tsv"
    table.write_text(table.read_text().replace("network", "cnn"))
    (folder / "SHA256SUMS").unlink()
    (folder / "manifest.json").unlink()
    run = read_run(folder, "run")
    assert run.reached(run.studied).value == stated["models"]["network"]["auc"]
    assert len(run.scores) == 26
    assert (run.verdict, run.red, run.p) == ("", [], None)


def test_sweep_is_read_in_the_order_of_its_jobs(tmp_path):
    first = write_run(tmp_path / "sweep" / "2")
    for job in ("10", "1"):
        shutil.copytree(first, tmp_path / "sweep" / job)
    (tmp_path / "sweep" / "7").mkdir()
    (tmp_path / "sweep" / "7" / ".fmnet-run").write_text("")
    alone = write_run(tmp_path / "alone")
    runs, left_out = find_runs([alone, tmp_path / "sweep", alone])
    assert [run.name for run in runs] == ["alone", "sweep/1", "sweep/2", "sweep/10"]
    (fault,) = left_out
    assert fault.where == str(tmp_path / "sweep" / "7")


def test_runs_that_were_named_are_refused_together(tmp_path):
    unfinished = write_run(tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()
    (unfinished / ".fmnet-run").write_text("")
    altered = write_run(tmp_path / "altered")
    (altered / "metrics.json").write_text("{}")
    places = [unfinished, altered, tmp_path / "nowhere"]
    with pytest.raises(RunError, match=r"(?s)no such folder.*without metrics.*another content"):
        find_runs(places)


def test_one_run_is_not_enough(tmp_path):
    with pytest.raises(RunError, match=r"found 1 finished run; accepted: two or more"):
        find_runs([write_run(tmp_path / "run")])


def test_damage_is_told_by_folder(tmp_path):
    folder = write_run(tmp_path / "run", facts={"models": {"network": {"auc": 0.7, "auc_ci": 3}}})
    with pytest.raises(RunError, match=r"run: found files that can't be read \(TypeError"):
        read_run(folder, "run")
    folder = write_run(tmp_path / "other", settings={"network": SETTINGS["network"]})
    table = folder / "predictions.tsv"
    (folder / "SHA256SUMS").unlink()
    table.write_text(table.read_text().replace("scan_id", "scan"))
    with pytest.raises(RunError, match=r"other: found files that can't be read \(KeyError"):
        read_run(folder, "other")


def test_names_are_what_tells_runs_apart(tmp_path):
    folders = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    assert list(short_names(folders).values()) == ["a/run", "b/run"]
    assert list(short_names(folders[:1]).values()) == ["run"]


def test_families_are_drawn_as_one(tmp_path):
    folder = write_run(tmp_path / "run")
    path = folder / "participants.tsv"
    head, first, second, *rest = path.read_text().splitlines()
    lines = [f"{head}\tfamily", f"{first}\t7", f"{second}\t7", *(f"{one}\tn/a" for one in rest)]
    path.write_text("\n".join(lines) + "\n")
    (folder / "SHA256SUMS").unlink()
    scores = read_run(folder, "run").scores.set_index("participant_id")
    assert scores.loc[["sub-00", "sub-01", "sub-02"], "unit"].tolist() == [
        "family-7", "family-7", "sub-02"
    ]  # fmt: skip
