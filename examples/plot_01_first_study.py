"""
A first study in five minutes
=============================

Do two groups of people differ in their brain maps? Here is a whole study of
that question, from a folder of maps to a page for your colleagues. The maps are
made up, 36 people at 8 mm, so that it takes seconds and the truth is known;
nobody was scanned.
"""

# %%
# People and their maps
# ---------------------
#
# fmnet reads a folder laid out as BIDS derivatives: one map of a contrast for
# each person, and a table ``participants.tsv`` with a column ``group``.
import tempfile
from pathlib import Path

import pandas as pd

from fmnet.synthetic.maps import write_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
cohort = write_cohort(
    folder / "cohort", n_subjects=36, effect_size=2.0, voxel_size_mm=8, seed=1
)
pd.read_csv(cohort / "participants.tsv", sep="\t").head()

# %%
# A map of one person, in standard deviations of what differs from person to
# person. Whether this is somebody of the group FM can't be seen by eye.
import matplotlib.pyplot as plt
from nilearn.plotting import plot_stat_map

a_map = sorted(cohort.glob("sub-*/func/*_statmap.nii.gz"))[0]
plot_stat_map(
    a_map, title=a_map.name.split("_")[0], cut_coords=(-40, 6, 2), vmax=4
)
plt.show()

# %%
# The study
# ---------
#
# One call trains the network and, in the same folds, the models that it has to
# beat: linear models, and models that see nothing but age and sex, head motion
# or how the files were written. Everything that is learned is learned from the
# training people of a fold, and its score is of the others.
#
# ``settings`` takes any key of the configuration. Here they make the study
# small: few folds and large voxels, and no search for the regions, which is
# :ref:`another tutorial <sphx_glr_tutorials_plot_05_signature.py>`. Leave them
# out for data of your own.
import fmnet

small = {
    "preparation.voxel_size_mm": 8,
    "folds.inner_splits": 2,
    "signature": None,
}
study = fmnet.study(cohort, n_splits=3, out=folder / "study", settings=small)

# %%
# What it found, in words. The second figure is lower than the first because the
# best of several models was picked, and the best looks better than it is.
# Whether it is above chance wasn't asked: ``n_permutations=100`` would, and
# take longer.
study

# %%
# Beside what stands the network?
# -------------------------------
#
# All figures are in ``study.metrics``. The area under the ROC curve (AUC) is
# the probability that somebody of the group FM scores higher than a control;
# 0.5 is chance. A model that sees no brain activity and still reaches far would
# be a reason not to believe the others. The questionnaires do, as they should:
# the group FM was asked because it has pain.
models = study.metrics["models"]
rows = pd.DataFrame(
    [
        (study.metrics["titles"][name], one["auc"], *one["auc_ci"])
        for name, one in models.items()
    ],
    columns=["model", "auc", "low", "high"],
)[::-1]
_, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.errorbar(
    rows["auc"],
    rows["model"],
    xerr=[rows["auc"] - rows["low"], rows["high"] - rows["auc"]],
    fmt="o",
    color="black",
    ecolor="grey",
)
axes.axvline(0.5, color="grey", linestyle=":")
axes.set(xlabel="AUC out of fold, with 95 % interval", xlim=(0, 1.02))
plt.show()

# %%
# Scores of everybody, each by a model that had not seen them.
scores = study.predictions.query("model == 'network'")
scores = scores.assign(group=scores["label"].map({0: "HC", 1: "FM"}))
_, axes = plt.subplots(figsize=(4.5, 3.5), layout="constrained")
for place, group in enumerate(["HC", "FM"]):
    own = scores.loc[scores["group"] == group, "score"]
    axes.plot([place] * len(own), own, "o", color="black", alpha=0.4)
axes.set(
    xticks=[0, 1], xticklabels=["HC", "FM"], ylabel="score", xlim=(-0.6, 1.6)
)
plt.show()

# %%
# The page
# --------
#
# ``study.report`` is one file to open in a browser or to mail: verdict,
# figures, confounds, methods, and everybody who was left out with the reason.
# From the shell, the same study is
#
# .. code-block:: console
#
#    $ fmnet train cohort=bids cohort.root=COHORT folds.n_splits=3 \
#          preparation.voxel_size_mm=8
#
# A score says how much a scan resembles those of one group of research
# participants. It is not a diagnosis.
print(study.report)
