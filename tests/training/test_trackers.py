import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imsave
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fmnet.training.loggers import (
    build_csv_logger,
    build_mlflow_logger,
    build_tensorboard_logger,
    build_wandb_logger,
)
from fmnet.training.trackers import PARENT, log_bundle, log_study

FIGURES = {"auc/network": 0.75, "auc_low/network": 0.5}
SETTINGS = {"seed": 3, "cohort": {"effect_size": 0.8, "contrasts": ["pain"]}}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder with a picture, a page, a table, and a bundle beside it."""
    folder = tmp_path_factory.mktemp("outputs") / "study"
    folder.mkdir()
    imsave(folder / "figure.png", np.full((7, 8, 4), 0.5))
    (folder / "report.html").write_text("<p>report</p>")
    (folder / "metrics.json").write_text("{}")
    (folder.parent / "bundle" / "signature").mkdir(parents=True)
    (folder.parent / "bundle" / "network.onnx").write_text("network")
    (folder.parent / "bundle" / "signature" / "weights.nii.gz").write_text("weights")
    return folder


def files_of(run_dir):
    return [run_dir / name for name in ("figure.png", "report.html", "metrics.json")]


def test_study_goes_to_csv_and_tensorboard(run_dir, tmp_path):
    builders = [build_csv_logger, build_tensorboard_logger]
    assert log_study(builders, tmp_path, FIGURES, SETTINGS, files_of(run_dir)) == []
    table = pd.read_csv(tmp_path / "csv" / "study" / "metrics.csv")
    assert table.loc[0, "auc/network"] == 0.75
    assert "effect_size: 0.8" in (tmp_path / "csv" / "study" / "hparams.yaml").read_text()
    events = EventAccumulator(str(tmp_path / "tensorboard" / "study")).Reload()
    assert events.Scalars("auc/network")[0].value == 0.75
    assert (events.Images("figure")[0].height, events.Images("figure")[0].width) == (7, 8)
    assert log_bundle(builders, tmp_path, run_dir.parent / "bundle") == []
    assert len(pd.read_csv(tmp_path / "csv" / "study" / "metrics.csv")) == 1  # and is there still


@pytest.fixture(scope="module")
def tracked(run_dir):
    """What MLflow holds of two trainings, one of them killed, and of a study gone on with."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    logs, before = run_dir / "logs", os.getcwd()
    os.chdir(run_dir.parent)
    try:
        for name in ("fold-0", "fold-1"):
            logger = build_mlflow_logger(logs, name)
            logger.log_metrics({"train/loss": 0.5}, step=0)
            if name == "fold-1":
                logger.finalize("success")
        lines = log_study([build_mlflow_logger], logs, FIGURES, SETTINGS, files_of(run_dir))
        more = {**SETTINGS, "permutation": {"n": 20}}
        log_study([build_mlflow_logger], logs, {"p/network": 0.04}, more, files_of(run_dir)[:1])
        lines += log_bundle([build_mlflow_logger], logs, run_dir.parent / "bundle")
    finally:
        os.chdir(before)
    client = mlflow.MlflowClient(f"sqlite:///{logs / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'fmnet'")
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    return client, runs, lines


def test_mlflow_keeps_a_study_as_one_run_to_which_later_calls_add(tracked, run_dir):
    client, runs, lines = tracked
    study = runs[f"{run_dir.parent.name}/study"]
    assert study.info.status == "FINISHED"
    assert study.data.metrics == {**FIGURES, "p/network": 0.04}
    assert study.data.params == {
        "seed": "3", "cohort/effect_size": "0.8", "cohort/contrasts": "['pain']",
        "permutation/n": "20",
    }  # fmt: skip
    assert study.data.tags["fmnet.folder"] == str(run_dir)
    kept = {one.path for one in client.list_artifacts(study.info.run_id)}
    assert kept == {"figure.png", "report.html", "metrics.json", "bundle"}
    bundle = {one.path for one in client.list_artifacts(study.info.run_id, "bundle")}
    assert bundle == {"bundle/network.onnx", "bundle/signature"}
    assert lines[0] == (
        f"results in MLflow: mlflow ui --backend-store-uri sqlite:///{run_dir}/logs/mlflow.db"
    )
    assert lines[1].startswith("the bundle in MLflow: mlflow ui")
    # files lie in the run folder, not where the program was started
    assert {one.name for one in run_dir.parent.iterdir()} == {"study", "bundle"}
    assert len(list((run_dir / "logs" / "mlflow").rglob("report.html"))) == 1


def test_mlflow_keeps_trainings_below_their_study(tracked, run_dir):
    _, runs, _ = tracked
    study = runs[f"{run_dir.parent.name}/study"]
    for name, status in {"fold-0": "KILLED", "fold-1": "FINISHED"}.items():
        assert runs[name].info.status == status
        assert runs[name].data.tags[PARENT] == study.info.run_id
        assert runs[name].data.metrics == {"train/loss": 0.5}
    assert PARENT not in study.data.tags


def test_wandb_keeps_study_trainings_and_bundle_in_a_group_offline(run_dir, capfd):
    pytest.importorskip("wandb", reason="wandb is not installed")
    logs = run_dir / "logs"
    side_by_side = [build_wandb_logger(logs, name) for name in ("fold-0", "fold-1")]
    for logger in side_by_side:
        logger.log_metrics({"train/loss": 0.5}, step=0)
    assert len({one.experiment.id for one in side_by_side}) == 2
    assert {one.experiment.group for one in side_by_side} == {f"{run_dir.parent.name}/study"}
    for logger in side_by_side:
        logger.finalize("success")
    (line,) = log_study([build_wandb_logger], logs, FIGURES, SETTINGS, files_of(run_dir))
    said, _, folder = line.partition(": wandb sync ")
    assert said == "results in Weights & Biases, on this machine only"
    kept = {path.name.split("_")[0] for path in Path(folder, "files").rglob("*") if path.is_file()}
    assert {"figure", "report", "metrics.json"} <= kept
    (line,) = log_bundle([build_wandb_logger], logs, run_dir.parent / "bundle")
    assert line.startswith("the bundle in Weights & Biases, on this machine only: wandb sync ")
    assert len(list((logs / "wandb").glob("offline-run-*"))) == 4
    assert capfd.readouterr() == ("", "")  # it writes nothing between our lines
    assert "WANDB_MODE" not in os.environ


def test_the_runs_of_a_study_are_noted_without_their_passwords(tracked, run_dir):
    noted = json.loads((run_dir / "logs" / "trackers.json").read_text())
    ((key, run_id),) = noted.items()
    assert key.startswith("mlflow ")
    assert "sqlite" not in key
    assert run_id == tracked[1][f"{run_dir.parent.name}/study"].info.run_id


def test_service_that_can_not_be_reached_costs_nothing(run_dir, tmp_path):
    def build_distant_logger(log_dir, name):
        raise ConnectionError("no route to host")

    builders = [build_distant_logger, build_csv_logger]
    (line,) = log_study(builders, tmp_path, FIGURES, SETTINGS, files_of(run_dir))
    assert line == "results were not logged by build_distant_logger: no route to host"
    assert (tmp_path / "csv" / "study" / "metrics.csv").exists()
