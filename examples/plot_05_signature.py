"""
A signature beside a published map
==================================

Which regions carry the score, is that map to be believed, and does it resemble
a map that others published? The cohort is made up; the published map is real:
the response to pressing a button with the left hand rather than the right
(NeuroVault image 10426), which nilearn brings along.
"""

# %%
# A study that looks for its regions
# ----------------------------------
#
# ``signature.maps`` names published maps: weights or statistics, any grid, in
# MNI space. Beside the real one stands the map of what was planted, which only
# made-up data have.
import tempfile
from pathlib import Path

from nilearn.datasets import load_sample_motor_activation_image

import fmnet
from fmnet.synthetic.maps import write_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
cohort = write_cohort(
    folder / "cohort", n_subjects=36, effect_size=2.5, voxel_size_mm=8, seed=1
)
truth = next((cohort / "truth").glob("*.nii.gz"))
study = fmnet.study(
    cohort,
    baselines="linear",
    n_splits=3,
    out=folder / "study",
    settings={
        "preparation.voxel_size_mm": 8,
        "folds.inner_splits": 2,
        "signature.maps": {
            "left hand": load_sample_motor_activation_image(),
            "planted": str(truth),
        },
        # small numbers, to be quick
        "signature.n_permutations": 99,
        "signature.n_halves": 2,
        "signature.n_permutations_of_halves": 39,
        "signature.n_random_maps": 500,
    },
)

# %%
# Is the map to be believed?
# --------------------------
#
# A map of 36 people is easily believed too soon. It is drawn only where the
# model is above chance and two halves of the cohort agree on it, and where no
# other check fails.
import pandas as pd

checks = study.metrics["signature"]["checks"].values()
pd.DataFrame(
    [{name: one[name] for name in ("name", "outcome", "p")} for one in checks]
).round(3)

# %%
# What survives a permutation test
# --------------------------------
#
# Weights of the model against weights under shuffled labels: z of each voxel,
# thresholded so that with nothing to find one map in twenty would show a voxel.
# Red raises the score, blue lowers it.
import matplotlib.pyplot as plt
from nilearn.plotting import plot_glass_brain

maps = {
    path.name.split("desc-")[1].split("_")[0]: path
    for path in study.folder.rglob("*desc-*.nii.gz")
}
plot_glass_brain(
    maps["thresholded"],
    plot_abs=False,
    colorbar=True,
    symmetric_cbar=True,
    threshold=1,
    title="z, corrected",
)
plt.show()

# %%
# Below, what was planted. Places that are missing above are not places without
# an effect: with so few people most of it stays below the threshold.
plot_glass_brain(
    truth, plot_abs=False, colorbar=True, threshold=0.3, title="planted"
)
plt.show()

# %%
# All weights, without a threshold: score per unit of the map.
plot_glass_brain(
    maps["weights"],
    plot_abs=False,
    colorbar=True,
    threshold=0.02,
    title="weights",
)
plt.show()

# %%
# Which regions are these?
# ------------------------
#
# ``regions.tsv`` tells it for parts of the brain. Without an atlas they are
# boxes named by their place; ``signature.atlas`` takes one of yours.
regions = pd.read_csv(next(study.folder.rglob("regions.tsv")), sep="\t")
regions[["region", "n_voxels", "mean", "direction", "share"]].head(8).round(3)

# %%
# Beside published maps
# ---------------------
#
# The correlation is over voxels that both have. Smooth maps resemble each other
# by chance, and far more often than a p value that counts voxels as independent
# admits: so p is against random maps as smooth as the signature. The button
# press has nothing to do with it; what was planted has.
published = pd.read_csv(next(study.folder.rglob("published.tsv")), sep="\t")
published[
    ["map", "n_voxels", "correlation", "null_low", "null_high", "p"]
].round(3)

# %%
# The same as a picture: the range of random maps, and where the maps lie.
_, axes = plt.subplots(figsize=(6, 2), layout="constrained")
axes.hlines(
    published["map"],
    published["null_low"],
    published["null_high"],
    color="lightgrey",
    lw=9,
)
axes.plot(published["correlation"], published["map"], "o", color="black")
axes.set(
    xlabel="correlation with the signature; grey: 95 % of random maps",
    xlim=(-1, 1),
)
axes.margins(y=0.4)
plt.show()

# %%
# Files
# -----
#
# Every map has a sidecar that says what it is, of which model, from how many
# people. They open in FSLeyes, SPM and nilearn.
print("\n".join(sorted(maps)))
