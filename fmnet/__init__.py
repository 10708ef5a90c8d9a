"""fmnet: fibromyalgia signatures from fMRI, beside their baselines. Research use only."""

import os

__version__ = "0.1.0"

# ONNX Runtime reads it when it is first imported, which nothing in fmnet does before this; without
# it, it keeps an id of the machine below the home folder and sends what it does to its makers
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
