import errno
import json
import os

import pytest

from fmnet.errors import RunError
from fmnet.inference.bundle_files import CHECKSUMS
from fmnet.runs.lock import MARKER, REPLACED, claim_run_folder, holding, replacing, settle
from fmnet.runs.run_folder import NEW, READY, check_run_files, write_run_files

CONFIG = "seed: 0\n"
OPENED = [{"date": "2026-01-01", "count": 1}]


def finish(run_dir, auc="0.7", **manifest):
    """Leave what a run leaves, as far as it matters here."""
    with replacing(run_dir) as draft:
        (run_dir / "logs").mkdir(exist_ok=True)
        (run_dir / "logs" / "log.txt").write_text(auc)
        files = {"config.yaml": CONFIG, "manifest.json": json.dumps(manifest)}
        write_run_files(draft, files | {"predictions.tsv": auc})
    write_run_files(run_dir, {"model/training.json": auc, "metrics.json": "{}"})
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


def test_run_of_before_a_baseline_says_how_it_is_gone_on_with(tmp_path):
    run_dir = finish(tmp_path / "run")
    said = r"without lda, svm: add ~baselines\.lda ~baselines\.svm to go on with it"
    with pytest.raises(RunError, match=said):
        claim(run_dir, config="seed: 0\nbaselines: {lda: {a: 1}, svm: {a: 1}}\n", resume=True)


def test_unfinished_run_is_gone_on_with_by_the_same_command_only(tmp_path):
    run_dir = finish(tmp_path / "run")
    (run_dir / "metrics.json").unlink()
    assert claim(run_dir) is True
    assert claim(run_dir, overwrite=True) is False
    with pytest.raises(RunError, match="an unfinished run with other settings for seed"):
        claim(run_dir, config="seed: 1\n")
    with pytest.raises(RunError, match="found a run with other settings for seed"):
        claim(run_dir, config="seed: 1\n", resume=True)


def test_run_that_comes_to_nothing_leaves_the_earlier_one(tmp_path):
    run_dir = finish(tmp_path / "run")

    def fail():
        with replacing(run_dir) as draft:
            assert (run_dir / "predictions.tsv").read_text() == "0.7"
            (run_dir / "logs").mkdir()
            write_run_files(draft, {"predictions.tsv": "0.8"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (run_dir / "predictions.tsv").read_text() == "0.7"
    assert (run_dir / "logs" / "log.txt").read_text() == "0.7"
    assert not any((run_dir / name).exists() for name in (NEW, READY, REPLACED))


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def kill_at(monkeypatch):
    """End at the k-th change of the file system, and let nothing be changed afterwards."""
    names = ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync")
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing here loses its power
    real = {name: getattr(os, name) for name in names}

    def arm(k):
        left = [k]

        def wrap(change):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise KilledError
                return change(*args, **kwargs)

            return call

        for name, change in real.items():
            monkeypatch.setattr(os, name, wrap(change))

    def disarm():
        for name, change in real.items():
            monkeypatch.setattr(os, name, change)

    return arm, disarm


def test_killed_at_any_step_the_old_or_the_new_run_is_whole(tmp_path, kill_at):
    arm, disarm = kill_at
    outcomes = []
    for k in range(200):
        run_dir = finish(tmp_path / f"run-{k}", lockbox_openings=OPENED)
        write_run_files(run_dir, {"lockbox.json": "{}"})
        arm(k)
        try:
            with replacing(run_dir) as draft:
                files = {"config.yaml": CONFIG, "manifest.json": "{}", "cohort.tsv": "new"}
                write_run_files(draft, files | {"predictions.tsv": "0.8"})
            is_killed = False
        except KilledError:
            is_killed = True
        disarm()
        found = claim(run_dir, overwrite=True)
        assert found is False
        said = (run_dir / "predictions.tsv").read_text()
        check_run_files(run_dir)
        assert json.loads((run_dir / "manifest.json").read_text())["lockbox_openings"] == OPENED
        if said == "0.7":
            assert (run_dir / "model" / "training.json").read_text() == "0.7"
            assert (run_dir / "logs" / "log.txt").read_text() == "0.7"
            assert claim(run_dir, resume=True) is True
        else:
            assert not (run_dir / "metrics.json").exists()
            assert not (run_dir / "model").exists()
            assert (run_dir / "cohort.tsv").read_text() == "new"
            assert claim(run_dir) is True
        assert not any((run_dir / name).exists() for name in (NEW, READY, REPLACED))
        outcomes.append(said)
        if not is_killed:
            break
    assert k > 20
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {"0.7", "0.8"}


def test_settling_that_is_killed_itself_comes_to_the_same(tmp_path, kill_at):
    arm, disarm = kill_at
    for k in range(40):
        run_dir = finish(tmp_path / f"run-{k}")
        ready = run_dir / READY
        ready.mkdir()
        write_run_files(ready, {"manifest.json": "{}", "predictions.tsv": "0.8"})
        arm(k)
        try:
            settle(run_dir)
            is_killed = False
        except KilledError:
            is_killed = True
        if (ready / CHECKSUMS).exists():
            with pytest.raises(RunError, match="stopped while it took the place of an earlier"):
                check_run_files(run_dir)
        disarm()
        settle(run_dir)
        assert (run_dir / "predictions.tsv").read_text() == "0.8"
        assert {path.name for path in run_dir.iterdir()} == {
            MARKER, CHECKSUMS, "manifest.json", "logs", "predictions.tsv",
        }  # fmt: skip
        if not is_killed:
            break
    assert k > 5


def test_drafts_of_a_process_that_was_killed_are_cleared_away(tmp_path):
    run_dir = finish(tmp_path / "run")
    (run_dir / "permutations").mkdir()
    (run_dir / ".model.part").mkdir()
    for name in (f".metrics.json-{'0' * 32}.part", f"permutations/.00001.json-{'a' * 32}.part"):
        (run_dir / name).write_text("{")
    (run_dir / ".model.part" / "training.json").write_text("{")
    settle(run_dir)
    assert not [path for path in run_dir.rglob("*") if ".part" in path.name]
    assert claim(run_dir, resume=True) is True


def test_nothing_is_settled_while_another_process_is_at_work(tmp_path):
    run_dir = finish(tmp_path / "run")
    with holding(run_dir, is_shared=False), replacing(run_dir) as draft:
        with pytest.raises(RunError, match="another process at work in it"):
            claim(run_dir, overwrite=True)
        write_run_files(draft, {"predictions.tsv": "0.8"})
    assert (run_dir / "predictions.tsv").read_text() == "0.8"


def test_finished_run_put_aside_by_an_older_version_is_not_lost(tmp_path):
    run_dir = finish(tmp_path / "run")
    (run_dir / CHECKSUMS).unlink()
    aside = run_dir / REPLACED
    aside.mkdir()
    for name in ("predictions.tsv", "metrics.json", "config.yaml"):
        (run_dir / name).replace(aside / name)
    with pytest.raises(RunError, match="the results of an earlier run"):
        claim(run_dir, config="seed: 5\n")
    assert (run_dir / "predictions.tsv").read_text() == "0.7"
    assert not aside.exists()


def test_run_of_an_older_version_with_results_wins_over_the_one_it_replaced(tmp_path):
    run_dir = finish(tmp_path / "run", "0.8")
    (run_dir / CHECKSUMS).unlink()
    (run_dir / REPLACED).mkdir()
    (run_dir / REPLACED / "predictions.tsv").write_text("0.7")
    opened = {"lockbox_openings": OPENED}
    (run_dir / REPLACED / "manifest.json").write_text(json.dumps(opened))
    assert claim(run_dir, resume=True) is True
    assert (run_dir / "predictions.tsv").read_text() == "0.8"
    assert json.loads((run_dir / "manifest.json").read_text()) == opened


def test_replaced_run_leaves_nothing_but_the_openings_of_its_lock_box(tmp_path):
    run_dir = finish(tmp_path / "run", lockbox_openings=OPENED)
    write_run_files(run_dir, {"lockbox.json": "{}"})
    (run_dir / "notes.txt").write_text("mine")
    finish(run_dir, "0.8")
    assert json.loads((run_dir / "manifest.json").read_text()) == {"lockbox_openings": OPENED}
    assert {path.name for path in run_dir.iterdir()} == {
        MARKER, CHECKSUMS, "config.yaml", "manifest.json", "logs", "model", "predictions.tsv",
        "metrics.json", "notes.txt",
    }  # fmt: skip
    check_run_files(run_dir)


def test_run_whose_record_of_openings_is_damaged_is_not_replaced(tmp_path):
    run_dir = finish(tmp_path / "run", lockbox_openings=OPENED)
    (run_dir / "manifest.json").write_text('{"lockbox_op')
    assert claim(run_dir, overwrite=True) is False  # it has no lock-box
    (run_dir / "cohort.tsv").write_text("scan_id\tused\n1\tlock-box\n")
    with pytest.raises(RunError, match="how often the lock-box was opened"):
        claim(run_dir, overwrite=True)


DAMAGE = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "other": lambda content: content[:-1] + b"9",
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["config.yaml", "manifest.json", "predictions.tsv"])
def test_damaged_run_is_not_gone_on_with(tmp_path, name, how):
    run_dir = finish(tmp_path / "run")
    (run_dir / "metrics.json").unlink()
    path = run_dir / name
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    with pytest.raises(RunError, match=rf"{name}: found another content.*overwrite=true"):
        claim(run_dir)
    path.unlink()
    with pytest.raises(RunError, match=rf"{name}: found No such file"):
        claim(run_dir)
    assert claim(run_dir, overwrite=True) is False


def test_settings_of_an_older_run_that_are_damaged_are_refused(tmp_path):
    run_dir = finish(tmp_path / "run")
    (run_dir / CHECKSUMS).unlink()
    for text in ("a: [", "- a\n", "a: ${b"):
        (run_dir / "config.yaml").write_text(text)
        with pytest.raises(RunError, match=r"config\.yaml: found a damaged file"):
            claim(run_dir, resume=True)


def test_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file', which can't be written into; accepted: a new"):
        claim(tmp_path / "file" / "run")
    place = tmp_path / "file" / "run"
    with pytest.raises(RunError, match="choose another run_dir"), replacing(place):
        pass


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_folder_that_is_held_is_refused(tmp_path, first, second):
    refused = pytest.raises(RunError, match=r"found another process at work in it; .*wait until")
    with holding(tmp_path, first), refused, holding(tmp_path, second):
        pass
    with holding(tmp_path, is_shared=False):  # free again
        assert (tmp_path / MARKER).exists()


def test_shards_hold_a_folder_together(tmp_path):
    with holding(tmp_path / "run", is_shared=True), holding(tmp_path / "run", is_shared=True):
        pass


def test_file_system_without_locks_is_worked_on(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with holding(tmp_path, is_shared=False):
        pass


def test_other_faults_of_the_disk_are_not_passed_over(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="Input/output"), holding(tmp_path, is_shared=False):
        pass
