"""
A MONAI network and a loss of your own
======================================

You have an idea for a network, or for what it should minimise. Two small files
bring it into the study, where it is trained in the same folds as everything
else, has its length of training chosen on inner folds, and is held against
linear models.
"""

# %%
# Any network of MONAI, by its name
# ---------------------------------
#
# needs no file at all:
#
# .. code-block:: python
#
#    settings = {"network.name": "SEResNet50"}
#    fmnet.study(cohort, network="monai", settings=settings)
#
# What follows is for a network that MONAI doesn't have.
#
# A file with the parts
# ---------------------
#
# A builder gets the shape of a scan, (contrasts, X, Y, Z), and returns a
# network that gives one number for each. A loss is called with these numbers
# and with labels of 0 and 1, both (B, 1). Save it where Python finds it, here
# in a temporary folder.
import sys
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
sys.path.insert(0, str(folder))
(folder / "my_parts.py").write_text('''
import torch
from monai.networks.blocks import Convolution, ResidualUnit
from torch import nn

from fmnet.networks.backbones import ScoreNetwork


def build_network(input_shape, n_channels: int = 8, head=None):
    """Build a CNN of two steps: a wide filter, then a residual unit."""
    wide = Convolution(3, input_shape[0], n_channels, strides=2, kernel_size=5)
    unit = ResidualUnit(3, n_channels, 2 * n_channels, strides=2, subunits=1)
    body = nn.Sequential(wide, unit, nn.Flatten())
    n_features = body(torch.zeros(1, *input_shape)).shape[1]
    return ScoreNetwork(nn.Sequential(body, nn.Linear(n_features, 1)), head)


class Hinge(nn.Module):
    """Cost what lies on the wrong side of a margin, as support vectors do."""

    def __init__(self, margin: float = 1.0):
        super().__init__()
        self.margin = margin

    def forward(self, logits, labels):
        return torch.relu(self.margin - (2.0 * labels - 1.0) * logits)
''')
import my_parts

# %%
# It can be tried by hand, on a grid of any size.
network = my_parts.build_network((1, 24, 28, 24))
print(f"{sum(weights.numel() for weights in network.parameters()):,} weights")

# %%
# A file with the settings
# ------------------------
#
# It makes ``mine`` an option beside fmnet's own, with its arguments as keys of
# the configuration.
(folder / "configs" / "network").mkdir(parents=True)
(folder / "configs" / "network" / "mine.yaml").write_text("""
_target_: my_parts.build_network
_partial_: true
n_channels: 8
""")

# %%
# The study
# ---------
import fmnet
from fmnet.synthetic.maps import write_cohort

cohort = write_cohort(
    folder / "cohort", n_subjects=40, effect_size=2.5, voxel_size_mm=8, seed=3
)
study = fmnet.study(
    cohort,
    network="mine",
    baselines="linear",
    n_splits=3,
    out=folder / "study",
    settings={
        "hydra.searchpath": [f"file://{folder / 'configs'}"],
        "network.n_channels": 4,
        "+loss._target_": "my_parts.Hinge",
        "trainer.max_epochs": 8,
        "optimizer.lr": 3e-3,
        "preparation.voxel_size_mm": 8,
        "preparation.fwhm_mm": 8,
        "folds.inner_splits": 2,
        "signature": None,
    },
)
study

# %%
# From the shell it is ``fmnet train --config-dir configs network=mine
# +loss._target_=my_parts.Hinge``.
#
# How it learned
# --------------
#
# The length of training is the one with the smallest loss on inner folds, among
# 0 to 8 epochs here.
print("epochs chosen in each fold:", study.metrics["n_epochs"])

# %%
# Training is Lightning's, and logs as Lightning does: one folder for each
# training.
import matplotlib.pyplot as plt
import pandas as pd

logs = sorted((study.folder / "logs").rglob("metrics.csv"))
_, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for log in logs:
    table = pd.read_csv(log)
    if "val/loss" in table:
        losses = table.dropna(subset="val/loss")
        axes.plot(losses["epoch"], losses["val/loss"], color="grey", alpha=0.6)
axes.set(
    xlabel="epoch",
    ylabel="loss of validation people",
    title="each line an inner fold",
)
plt.show()

# %%
# Against the rest
# ----------------
#
# Less than thirty people to learn from are few for a network that starts from
# random weights. If it doesn't beat the linear models, the verdict says so.
models = study.metrics["models"]
for name, figures in models.items():
    low, high = figures["auc_ci"]
    print(
        f"{study.metrics['titles'][name]:28}",
        f"AUC {figures['auc']:.2f} [{low:.2f}, {high:.2f}]",
    )

# %%
# A network with a typing error, a loss that rewards wrong answers, or an
# argument that doesn't exist is refused before any scan is read.
from fmnet.errors import FmnetError

settings = {
    "hydra.searchpath": [f"file://{folder / 'configs'}"],
    "network.n_chanels": 4,
    "folds.n_split": 3,
}
try:
    fmnet.study(cohort, network="mine", out=folder / "never", settings=settings)
except FmnetError as error:
    print(error)

# %%
# Optimisers, schedulers and callbacks are named in the same way: :doc:`training
# as with Lightning </training>`. Once exported, the network scores new scans
# without this file: a bundle holds its weights and its graph, not its code.
