from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imsave
from pytorch_lightning.loggers import MLFlowLogger, WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fmnet.errors import ConfigError
from fmnet.training.loggers import (
    build_csv_logger,
    build_mlflow_logger,
    build_tensorboard_logger,
    build_wandb_logger,
    check_loggers,
    log_study,
)

BUILDERS = [(build_mlflow_logger, "mlflow"), (build_wandb_logger, "wandb")]


@pytest.mark.parametrize(("build", "package"), BUILDERS)
def test_logger_that_is_not_installed_says_what_to_do(build, package, tmp_path):
    if find_spec(package):
        pytest.skip(f"{package} is installed here")
    with pytest.raises(ConfigError, match=f"run 'pip install {package}'"):
        build(tmp_path, "a")


def test_wandb_takes_each_training_for_a_run_of_its_own(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    for name in ("fold-0", "fold-1"):
        logger = build_wandb_logger(tmp_path, name, offline=True)
        logger.log_metrics({"train_loss": 0.5}, step=0)
        logger.finalize("success")
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_mlflow_writes_into_the_log_folder(tmp_path):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    logger = build_mlflow_logger(tmp_path / "logs", "fold-0")
    logger.log_metrics({"train_loss": 0.5}, step=0)
    assert (tmp_path / "logs" / "mlflow.db").exists()


FIGURES = {"auc/network": 0.75, "auc_low/network": 0.5}
SETTINGS = {"seed": 3, "cohort": {"effect_size": 0.8, "contrasts": ["pain"]}}


@pytest.fixture
def drawn(tmp_path):
    picture, page = tmp_path / "figure.png", tmp_path / "report.html"
    imsave(picture, np.full((7, 8, 4), 0.5))
    page.write_text("<p>report</p>")
    return [picture, page]


def test_study_goes_to_csv_and_tensorboard(tmp_path, drawn):
    logs = tmp_path / "logs"
    builders = [build_csv_logger, build_tensorboard_logger]
    assert log_study(builders, logs, FIGURES, SETTINGS, drawn) == []
    table = pd.read_csv(logs / "csv" / "study" / "metrics.csv")
    assert table.loc[0, "auc/network"] == 0.75
    assert "effect_size: 0.8" in (logs / "csv" / "study" / "hparams.yaml").read_text()
    events = EventAccumulator(str(logs / "tensorboard" / "study")).Reload()
    assert events.Scalars("auc/network")[0].value == 0.75
    assert (events.Images("figure")[0].height, events.Images("figure")[0].width) == (7, 8)


class FakeClient:
    """Takes what MLflow's client and a run of W&B are given."""

    def __init__(self):
        self.taken = []

    def log_artifact(self, run_id, path):
        self.taken.append((run_id, Path(path).name))

    def save(self, path, base_path, policy):
        self.taken.append((Path(path).name, Path(base_path) == Path(path).parent, policy))


def fake(base, client):
    """A logger of a tracker that isn't installed, which keeps what it is given."""

    class Fake(base):
        run_id = "run-1"
        experiment = client
        save_dir = name = version = None

        def __init__(self, *_):
            super(base, self).__init__()

        def log_metrics(self, metrics, step=None):
            client.taken.append((metrics, step))

        def log_hyperparams(self, params):
            client.taken.append(params)

        def log_image(self, key, images):
            client.taken.append((key, [Path(image).name for image in images]))

        def finalize(self, status):
            client.taken.append(status)

    return Fake


@pytest.mark.parametrize(
    ("base", "files"),
    [
        (MLFlowLogger, [("run-1", "figure.png"), ("run-1", "report.html")]),
        (WandbLogger, [("figure", ["figure.png"]), ("report.html", True, "now")]),
    ],
)
def test_study_goes_to_services_with_its_files(tmp_path, drawn, base, files):
    client = FakeClient()
    assert log_study([fake(base, client)], tmp_path, FIGURES, SETTINGS, drawn) == []
    assert client.taken == [SETTINGS, (FIGURES, 0), *files, "success"]


def test_service_that_can_not_be_reached_costs_nothing(tmp_path, drawn):
    def build_distant_logger(log_dir, name):
        raise ConnectionError("no route to host")

    builders = [build_distant_logger, build_csv_logger]
    (line,) = log_study(builders, tmp_path, FIGURES, SETTINGS, drawn)
    assert line == "results were not logged by build_distant_logger: no route to host"
    assert (tmp_path / "csv" / "study" / "metrics.csv").exists()


def test_loggers_that_are_not_installed_are_refused_at_once(monkeypatch):
    monkeypatch.setattr("fmnet.training.loggers.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="2 faults") as caught:
        check_loggers([partial(build_mlflow_logger, experiment="a"), build_wandb_logger])
    assert "run 'pip install mlflow'" in str(caught.value)
    check_loggers([build_csv_logger, lambda log_dir, name: None])
