import json

import pytest

from fmnet.errors import RunError
from fmnet.study.claim import MARKER, REPLACED, claim_run_folder, replacing

CONFIG = "seed: 0\n"


def finish(run_dir, auc="0.7"):
    """Leave what a run leaves, as far as it matters here."""
    with replacing(run_dir):
        (run_dir / "config.yaml").write_text(CONFIG)
        (run_dir / "manifest.json").write_text("{}")
        (run_dir / "logs").mkdir(exist_ok=True)
        (run_dir / "logs" / "log.txt").write_text(auc)
        (run_dir / "predictions.tsv").write_text(auc)
    (run_dir / "metrics.json").write_text("{}")
    return run_dir


def claim(run_dir, config=CONFIG, overwrite=False, resume=False):
    return claim_run_folder(run_dir, config, overwrite, resume)


def test_new_and_empty_folders_are_taken_and_nothing_is_made_yet(tmp_path):
    assert claim(tmp_path / "deep" / "run") is False
    assert not (tmp_path / "deep").exists()
    assert claim(tmp_path) is False


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_of_somebodys_own_is_left_alone(tmp_path, overwrite):
    (tmp_path / "participants.tsv").write_text("mine")
    with pytest.raises(RunError, match="files that no fmnet run has made"):
        claim(tmp_path, overwrite=overwrite)


def test_finished_run_is_kept_unless_told_otherwise(tmp_path):
    run_dir = finish(tmp_path / "run")
    with pytest.raises(RunError, match=r"results of an earlier run.*overwrite=true replaces them"):
        claim(run_dir)
    assert claim(run_dir, overwrite=True) is False
    assert claim(run_dir, resume=True) is True
    assert (run_dir / "predictions.tsv").read_text() == "0.7"


def test_unfinished_run_is_gone_on_with_by_the_same_command_only(tmp_path):
    run_dir = finish(tmp_path / "run")
    (run_dir / "metrics.json").unlink()
    assert claim(run_dir) is True
    assert claim(run_dir, overwrite=True) is False
    with pytest.raises(RunError, match="an unfinished run with other settings for seed"):
        claim(run_dir, config="seed: 1\n")
    with pytest.raises(RunError, match="found a run with other settings for seed"):
        claim(run_dir, config="seed: 1\n", resume=True)


def test_run_that_comes_to_nothing_gives_the_earlier_one_back(tmp_path):
    run_dir = finish(tmp_path / "run")

    def fail():
        with replacing(run_dir):
            assert not (run_dir / "predictions.tsv").exists()
            (run_dir / "logs").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (run_dir / "predictions.tsv").read_text() == "0.7"
    assert (run_dir / "logs" / "log.txt").read_text() == "0.7"
    assert not (run_dir / REPLACED).exists()


def test_run_that_was_killed_gives_the_earlier_one_back_to_the_next(tmp_path):
    run_dir = finish(tmp_path / "run")
    (run_dir / REPLACED).mkdir()
    for name in ("predictions.tsv", "logs"):
        (run_dir / name).replace(run_dir / REPLACED / name)
    (run_dir / "logs").mkdir()
    claim(run_dir, overwrite=True)
    with pytest.raises(RuntimeError, match="again"), replacing(run_dir):
        raise RuntimeError("again")
    assert (run_dir / "logs" / "log.txt").read_text() == "0.7"
    assert (run_dir / "predictions.tsv").read_text() == "0.7"


def test_finished_run_put_aside_by_one_that_was_killed_is_not_lost(tmp_path):
    run_dir = finish(tmp_path / "run")
    aside = run_dir / REPLACED
    aside.mkdir()
    for name in ("predictions.tsv", "metrics.json", "config.yaml"):
        (run_dir / name).replace(aside / name)
    with pytest.raises(RunError, match="the results of an earlier run"):
        claim(run_dir, config="seed: 5\n")
    assert (run_dir / "predictions.tsv").read_text() == "0.7"
    assert not aside.exists()


def test_run_killed_with_its_results_written_wins_over_the_one_it_replaced(tmp_path):
    run_dir = finish(tmp_path / "run", "0.8")
    (run_dir / REPLACED).mkdir()
    (run_dir / REPLACED / "predictions.tsv").write_text("0.7")
    opened = {"lockbox_openings": [{"date": "2026-01-01", "count": 1}]}
    (run_dir / REPLACED / "manifest.json").write_text(json.dumps(opened))
    assert claim(run_dir, resume=True) is True
    assert (run_dir / "predictions.tsv").read_text() == "0.8"
    assert json.loads((run_dir / "manifest.json").read_text()) == opened


def test_replaced_run_leaves_nothing_but_the_openings_of_its_lock_box(tmp_path):
    run_dir = finish(tmp_path / "run")
    opened = [{"date": "2026-01-01", "count": 1}]
    (run_dir / "manifest.json").write_text(json.dumps({"lockbox_openings": opened}))
    (run_dir / "lockbox.json").write_text("{}")
    (run_dir / "notes.txt").write_text("mine")
    finish(run_dir, "0.8")
    assert json.loads((run_dir / "manifest.json").read_text()) == {"lockbox_openings": opened}
    assert {path.name for path in run_dir.iterdir()} == {
        MARKER, "config.yaml", "manifest.json", "logs", "predictions.tsv", "metrics.json",
        "notes.txt",
    }  # fmt: skip


def test_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file', which can't be written into; accepted: a new"):
        claim(tmp_path / "file" / "run")
    place = tmp_path / "file" / "run"
    with pytest.raises(RunError, match="choose another run_dir"), replacing(place):
        pass
