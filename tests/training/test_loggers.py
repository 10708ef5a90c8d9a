import builtins
import sys

import pytest

from fmnet.errors import ConfigError
from fmnet.training.loggers import build_mlflow_logger, build_wandb_logger


@pytest.mark.parametrize(
    ("build", "package"), [(build_mlflow_logger, "mlflow"), (build_wandb_logger, "wandb")]
)
def test_logger_that_is_not_installed_says_what_to_do(build, package, tmp_path):
    if package in sys.modules or _is_installed(package):
        pytest.skip(f"{package} is installed here")
    with pytest.raises(ConfigError, match=f"run 'pip install {package}'"):
        build(tmp_path, "a")


def _is_installed(package: str) -> bool:
    try:
        builtins.__import__(package)
    except ModuleNotFoundError:
        return False
    return True
