"""
Is it motion?
=============

A model may tell two groups apart because one of them moves more in the scanner.
Here is a cohort in which nothing but that is true: no region differs, the group
FM moves more, and motion leaves a rim at the edge of the brain. See what the
study makes of it; the maps are made up.
"""

# %%
# A cohort without an effect
# --------------------------
#
# ``effect_size=0`` plants no difference. ``motion_effect`` lets the group FM
# move more, and lets everybody's motion show in the map.
import tempfile
from pathlib import Path

import pandas as pd

from fmnet.synthetic.maps import write_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
cohort = write_cohort(
    folder / "cohort",
    n_subjects=40,
    effect_size=0.0,
    motion_effect=1.5,
    voxel_size_mm=8,
    seed=2,
)
people = pd.read_csv(cohort / "participants.tsv", sep="\t")
people.groupby("group")["mean_framewise_displacement"].describe().round(2)

# %%
# The study
# ---------
#
# ``sensitivity.match`` asks for a rerun with pairs of people who moved alike.
import fmnet

study = fmnet.study(
    cohort,
    n_splits=3,
    out=folder / "study",
    settings={
        "preparation.voxel_size_mm": 8,
        "folds.inner_splits": 2,
        "signature": None,
        "sensitivity.match": ["mean_framewise_displacement"],
    },
)
study

# %%
# A model well above 0.5, and a sentence that takes it back: head motion
# explains the result. Without that sentence this would be a result to be proud
# of.
#
# What the sentence goes by
# -------------------------
#
# Does motion alone reach as far? ``motion only`` sees no map, just the column
# ``mean_framewise_displacement``.
models = study.metrics["models"]
for name in ("network", "shrinkage_lda", "motion", "covariates"):
    auc, (low, high) = models[name]["auc"], models[name]["auc_ci"]
    print(
        f"{study.metrics['titles'][name]:24}",
        f"AUC {auc:.2f} [{low:.2f}, {high:.2f}]",
    )

# %%
# Do scores follow motion within a group? Each point is a person, scored by a
# network that had not seen them.
import matplotlib.pyplot as plt

scores = study.predictions.query("model == 'network'").merge(
    people, on="participant_id"
)
_, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for group, marker in (("HC", "o"), ("FM", "^")):
    own = scores[scores["group"] == group]
    axes.plot(
        own["mean_framewise_displacement"],
        own["score"],
        marker,
        label=group,
        alpha=0.7,
    )
axes.set(xlabel="mean framewise displacement (mm)", ylabel="score")
axes.legend(frameon=False)
plt.show()

# %%
# Where it comes from
# -------------------
#
# The difference of the group means lies along the edge of the brain, as motion
# does.
from nilearn.image import math_img, mean_img
from nilearn.plotting import plot_stat_map

maps = {
    path.name.split("_")[0]: path
    for path in cohort.glob("sub-*/func/*_statmap.nii.gz")
}
means = {
    group: mean_img([maps[one] for one in ids])
    for group, ids in people.groupby("group")["participant_id"]
}
difference = math_img("fm - hc", fm=means["FM"], hc=means["HC"])
plot_stat_map(
    difference,
    title="FM minus HC",
    display_mode="z",
    cut_coords=(-20, 0, 20, 40),
)
plt.show()

# %%
# Among people who moved alike
# ----------------------------
#
# The rerun pairs people of both groups who moved alike, and leaves out the
# others. Few are left, so that its interval says next to nothing: matching
# afterwards can't rescue a cohort whose groups move differently.
matched = study.metrics["sensitivity"]["matched_mean_framewise_displacement"]
auc, (low, high) = (
    matched["models"]["network"]["auc"],
    matched["models"]["network"]["auc_ci"],
)
print(
    f"{matched['n_subjects']} of 40 people:",
    f"AUC {auc:.2f} [{low:.2f}, {high:.2f}]",
)

# %%
# What to do about it
# -------------------
#
# More regressors in the first-level model, motion-matched recruitment, or
# groups that are compared within a range of motion that both share. Leaving out
# the people who moved most is a decision to be made before the scores are seen.
# :doc:`The study in full </study>` says how the sentence on motion is decided
# and how often it is wrong.
