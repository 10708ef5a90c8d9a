import importlib
import os
import sys
from functools import partial

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fmnet
from fmnet.errors import ConfigError
from fmnet.training import loggers
from fmnet.training.loggers import (
    build_csv_logger,
    build_mlflow_logger,
    build_tensorboard_logger,
    build_wandb_logger,
    check_loggers,
)
from fmnet.training.tracker_runs import MLflowTraining

BUILDERS = [(build_mlflow_logger, "mlflow"), (build_wandb_logger, "wandb")]


@pytest.mark.parametrize(("build", "package"), BUILDERS)
def test_logger_that_is_not_installed_says_what_to_do(build, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"run 'pip install {package}'"):
        build(tmp_path, "a")


def test_loggers_that_are_not_installed_are_refused_at_once(monkeypatch):
    monkeypatch.setattr("fmnet.training.loggers.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="2 faults") as caught:
        check_loggers([partial(build_mlflow_logger, experiment="a"), build_wandb_logger])
    assert "run 'pip install mlflow'" in str(caught.value)
    check_loggers([build_csv_logger, lambda log_dir, name: None])


def test_wandb_online_without_a_key_is_refused_at_once(monkeypatch, tmp_path):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))  # where 'wandb login' keeps it
    online = partial(build_wandb_logger, offline=False)
    if not wandb.api.api_key:
        with pytest.raises(ConfigError, match=r"run 'wandb login', or set .*\.offline=true"):
            check_loggers([online])
    check_loggers([build_wandb_logger, partial(build_wandb_logger, offline=True)])
    monkeypatch.setattr("wandb.api", type("Api", (), {"api_key": "a key"}))
    check_loggers([online])


def test_what_a_stopped_training_left_is_replaced(tmp_path):
    for loss in (0.5, 0.25):
        for build in (build_csv_logger, build_tensorboard_logger):
            logger = build(tmp_path, "fold-0")
            logger.log_metrics({"train/loss": loss}, step=0)
            logger.finalize("success")
    table = pd.read_csv(tmp_path / "csv" / "fold-0" / "metrics.csv")
    assert list(table["train/loss"]) == [0.25]
    events = EventAccumulator(str(tmp_path / "tensorboard" / "fold-0")).Reload()
    assert [one.value for one in events.Scalars("train/loss")] == [0.25]


def test_others_of_a_training_leave_the_logs_of_the_first(tmp_path, monkeypatch):
    (tmp_path / "csv" / "fold-0").mkdir(parents=True)
    (tmp_path / "csv" / "fold-0" / "metrics.csv").write_text("of the first process")
    monkeypatch.setattr(loggers, "is_first", lambda: False)
    build_csv_logger(tmp_path, "fold-0")
    assert (tmp_path / "csv" / "fold-0" / "metrics.csv").exists()


def test_a_training_outlives_its_server(tmp_path, monkeypatch):
    class Lost(MLflowTraining):
        """As one whose server has gone."""

        def __init__(self):
            pass

        @property
        def experiment(self):
            raise ConnectionError("no route to host")

        run_id, _prefix, _initialized, _checkpoint_callback = "a", "", True, None
        _log_batch_kwargs = {}  # noqa: RUF012 (as Lightning's)

    pytest.importorskip("mlflow", reason="mlflow is not installed")
    said = []
    monkeypatch.setattr("fmnet.training.tracker_runs.say", said.append)
    monkeypatch.setattr("fmnet.training.tracker_runs._lost", set())
    for _ in range(2):
        Lost().log_metrics({"train/loss": 0.5}, step=0)
        Lost().log_hyperparams({"seed": 3})
        Lost().finalize("success")
    (line,) = said
    assert "MLflow does not take what is logged, the study goes on: no route to host" in line


def test_wandb_is_kept_here_where_its_server_does_not_answer(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    modes, said = [], []

    def answer(mode, **settings):
        modes.append(mode)
        if mode == "online":
            raise ConnectionError("no route to host")
        return "a run"

    monkeypatch.setattr(wandb, "init", answer)
    monkeypatch.setattr("fmnet.training.tracker_runs.say", said.append)
    monkeypatch.setattr("fmnet.training.tracker_runs._lost", set())
    for name in ("fold-0", "fold-1"):
        assert build_wandb_logger(tmp_path, name, offline=False).experiment == "a run"
    assert modes == ["online", "offline"] * 2
    assert said == [f"W&B does not answer, runs are kept in {tmp_path}/wandb: no route to host"]


def test_a_server_that_never_was_is_named(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    (tmp_path / "taken").write_text("a file where a folder should be")
    uri = f"sqlite:///{tmp_path / 'taken' / 'mlflow.db'}"
    with pytest.raises(ConfigError, match=r"correct logger\.mlflow\.tracking_uri"):
        build_mlflow_logger(tmp_path, "fold-0", tracking_uri=uri)


def test_nobody_is_told_what_is_studied_here(monkeypatch):
    for name in ("MLFLOW_DISABLE_TELEMETRY", "WANDB_ERROR_REPORTING"):
        monkeypatch.delenv(name, raising=False)
    importlib.reload(fmnet)
    assert told() == ("true", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")  # who wants it may say so
    importlib.reload(fmnet)
    assert told() == ("false", "false")


def told():
    """What MLflow and W&B are told about telling their makers."""
    return os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["WANDB_ERROR_REPORTING"]
