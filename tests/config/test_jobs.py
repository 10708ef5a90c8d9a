import os
import pickle
from types import SimpleNamespace

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from fmnet.config.check import check_config
from fmnet.config.jobs import JobFailure, JobReport, arguments_alone, find_jobs, reporting_jobs
from fmnet.errors import ConfigError, JobError


@pytest.fixture
def submit(tmp_path, monkeypatch):
    """Leave the files of a job as the launcher does."""
    monkeypatch.setattr(JobReport, "folder", None)

    def write(number, overrides, result=None, printed=""):
        folder = tmp_path / f"{number + 70}"
        folder.mkdir()
        arguments = SimpleNamespace(args=(overrides, "hydra.sweep.dir", number, "id", {}))
        (folder / f"{folder.name}_submitted.pkl").write_bytes(pickle.dumps(arguments))
        if result is not None:
            (folder / f"{folder.name}_0_result.pkl").write_bytes(pickle.dumps(result))
        (folder / f"{folder.name}_0_log.out").write_text(f"submitit INFO: noise\n{printed}")

    return write


def returned(value):
    return ("success", SimpleNamespace(_return_value=value))


def report(folder, problem=None):
    with reporting_jobs():
        JobReport.folder = folder
        if problem:
            raise problem


def test_what_jobs_printed_is_shown(submit, tmp_path, capsys):
    submit(1, ["a=1", "seed=1"], returned(None), "second")
    submit(0, ["a=1", "seed=0"], returned(None), "first")
    report(tmp_path)
    assert capsys.readouterr().out == "job 0 (seed=0):\nfirst\n\njob 1 (seed=1):\nsecond\n\n"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (returned(JobFailure("it diverged")), r"job 1 \(seed=1\): found it diverged; "),
        (returned(ValueError("odd")), "found odd"),
        (("error", "Traceback\n  line\nKeyError: 'x'"), "found KeyError: 'x'"),
        (None, r"found no result: the job was killed.*71_0_log\.err; the same command goes on"),
    ],
)
def test_job_that_failed_is_named(submit, tmp_path, result, message):
    submit(0, ["seed=0"], returned(None), "first")
    submit(1, ["seed=1"], result)
    with pytest.raises(JobError, match=message):
        report(tmp_path, RuntimeError("as the launcher says it"))


def test_what_keeps_jobs_from_being_submitted_is_reported(submit, tmp_path):
    with pytest.raises(JobError, match='hydra/launcher: found Could not detect "srun"'):
        report(tmp_path, RuntimeError('Could not detect "srun"'))


def test_errors_of_a_run_that_submits_nothing_are_its_own():
    with pytest.raises(ValueError, match="mine"), reporting_jobs():
        raise ValueError("mine")


def test_jobs_of_earlier_multiruns_are_left_out(submit, tmp_path):
    submit(0, ["seed=0"], returned(None))
    path = next(tmp_path.rglob("*_submitted.pkl"))
    os.utime(path, (1000, 1000))
    assert find_jobs(tmp_path, 2000.0) == []


def test_job_is_called_by_itself_in_the_same_folder(monkeypatch):
    overrides = SimpleNamespace(task=["seed=1", "run_dir=x"], hydra=["hydra/launcher=a"])
    monkeypatch.setattr(
        "hydra.core.hydra_config.HydraConfig.get", lambda: SimpleNamespace(overrides=overrides)
    )
    flags = ["-m", "--config-name", "main"]
    found = arguments_alone(flags, OmegaConf.create({"run_dir": "out/it's here"}))
    assert found == ["--config-name", "main", "seed=1", r"run_dir='out/it\'s here'"]


def test_launcher_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    (tmp_path / "main.yaml").write_text("seed: 0\n")

    def schema(seed: int): ...

    check_config(tmp_path, "main", ["hydra/launcher=submitit_slurm"], schema)
    stored = ConfigStore.instance().repo["hydra"]["launcher"]
    monkeypatch.delitem(stored, "submitit_slurm.yaml")
    with pytest.raises(ConfigError, match=r"option 'submitit_slurm'.*pip install 'fmnet\[slurm\]'"):
        check_config(tmp_path, "main", ["hydra/launcher=submitit_slurm"], schema)


def test_launcher_without_a_multirun_is_refused(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    (tmp_path / "main.yaml").write_text("seed: 0\n")

    def schema(seed: int): ...

    with pytest.raises(ConfigError, match=r"found a launcher for one run; .*to do: add -m"):
        check_config(tmp_path, "main", ["hydra/launcher=submitit_local"], schema, is_sweep=False)
