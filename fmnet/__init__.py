"""fmnet: fibromyalgia signatures from fMRI, beside their baselines. Research use only."""

import importlib
import os
from typing import Any

__version__ = "0.2.0"
__all__ = ["Signature", "SignatureClassifier", "Study", "load", "study"]

# ONNX Runtime reads it when it is first imported, which nothing in fmnet does before this; without
# it, it keeps an id of the machine below the home folder and sends what it does to its makers
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# MLflow, which MONAI imports wherever it is installed, and W&B tell their makers what is done
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

#: Modules of what the package offers, imported when it is first asked for: `fmnet.load` needs no
#: torch, and its import shouldn't wait for it.
_HOMES = {
    "Signature": "fmnet.api.loaded",
    "SignatureClassifier": "fmnet.api.classifier",
    "Study": "fmnet.api.whole_study",
    "load": "fmnet.api.loaded",
    "study": "fmnet.api.whole_study",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fmnet' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        lacking = (error.name or "fmnet").partition(".")[0]
        if lacking == "fmnet":
            raise
        said = f"fmnet.{name} needs {lacking}, which is not installed"
        raise ImportError(f"{said}: pip install 'fmnet[train]'", name=lacking) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
