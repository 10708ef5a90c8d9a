from importlib.util import find_spec

import pytest

from fmnet.errors import ConfigError
from fmnet.training.loggers import build_mlflow_logger, build_wandb_logger

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
