"""
From BOLD
=========

From time series as fMRIPrep leaves them to an answer: check the folder, clean
the runs, find networks within each training fold, and compare the groups. The
runs are made up; two networks, the default mode and salience, are coupled more
strongly in the group FM.
"""

# %%
# Runs at rest
# ------------
#
# Preprocessed runs, brain masks and confounds, in fMRIPrep's names: 24 people,
# 120 volumes, voxels of 12 mm to be quick.
import tempfile
from pathlib import Path

from fmnet.synthetic.bold import write_bold_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
cohort = write_bold_cohort(
    folder / "fmriprep",
    n_subjects=24,
    n_volumes=120,
    coupling=0.7,
    voxel_size_mm=12,
)
for path in sorted((cohort / "sub-synthetic001").rglob("*.*")):
    print(path.relative_to(cohort))

# %%
# Is all there that a study needs? The same check is ``fmnet check fmriprep
# --task rest``.
from fmnet.bold.dataset import check_dataset
from fmnet.bold.findings import describe

print("\n".join(describe(check_dataset(cohort))))

# %%
# How much did they move?
# -----------------------
#
# Head motion of the person who moved least and of the one who moved most,
# volume by volume, from fMRIPrep's confounds.
import matplotlib.pyplot as plt
import pandas as pd

motion = {
    path.name.split("_")[0]: pd.read_csv(path, sep="\t")[
        "framewise_displacement"
    ]
    for path in cohort.rglob("*_desc-confounds_timeseries.tsv")
}
by_mean = sorted(motion, key=lambda one: motion[one].mean())
_, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for person in (by_mean[-1], by_mean[0]):
    axes.plot(
        motion[person], label=f"{person}, mean {motion[person].mean():.2f} mm"
    )
axes.set(xlabel="volume", ylabel="framewise displacement (mm)")
axes.legend(frameon=False)
plt.show()

# %%
# Each run is cleaned before anything is learned: motion, its derivatives and
# squares, white matter and CSF are regressed out, within the band from 0.01 to
# 0.1 Hz. ``cohort.cleaning.strategy``, ``low_hz`` and ``high_hz`` change it;
# ``fd_threshold`` leaves out volumes as well.

# %%
# The study
# ---------
#
# ``network="learned_seeds"`` reads time series: networks of the training scans
# become seeds, and the maps of correlation with them go to the classifier.
# Beside it stand head motion, what cleaning left of the runs, how noisy they
# are, and connectivity between networks.
import fmnet

study = fmnet.study(
    cohort,
    network="learned_seeds",
    baselines="bold_quick",
    n_splits=3,
    out=folder / "study",
    settings={
        "cohort": "bold",
        "preparation.voxel_size_mm": 12,
        "network.bands_mm": [[0.0, 36.0], [18.0, 60.0]],
        "folds.inner_splits": 2,
        "signature": None,
    },
)
study

# %%
# What was left of the runs
# -------------------------
#
# Volumes that cleaning kept (median), head motion and temporal SNR (means), by
# group. Groups that differ in them differ in how noisy their maps are.
left = pd.DataFrame(study.metrics["bold"]["groups"]).set_index("label")
left[["volumes", "mean_fd_mm", "tsnr"]].map(lambda values: values[0]).round(2)

# %%
# Beside the network
# ------------------
models = study.metrics["models"]
for name, figures in models.items():
    low, high = figures["auc_ci"]
    print(
        f"{study.metrics['titles'][name]:28}",
        f"AUC {figures['auc']:.2f} [{low:.2f}, {high:.2f}]",
    )

# %%
# Did it find what was planted? The true coupling of the two networks in each
# person, against the score by a model that had not seen the person.
truth = pd.read_csv(cohort / "truth" / "people.tsv", sep="\t")
scores = study.predictions.query("model == 'network'").merge(
    truth, on="participant_id"
)
_, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for label, marker, name in ((0, "o", "HC"), (1, "^", "FM")):
    own = scores[scores["label"] == label]
    axes.plot(own["coupling"], own["score"], marker, label=name, alpha=0.7)
axes.set(
    xlabel="coupling of default mode and salience (true correlation)",
    ylabel="score",
)
axes.legend(frameon=False)
plt.show()

# %%
# With runs of your own
# ---------------------
#
# .. code-block:: console
#
#    $ fmnet check RAW --derivatives FMRIPREP --task rest
#    $ fmnet train cohort=bold cohort.root=FMRIPREP cohort.task=rest \
#          network=learned_seeds baselines=bold
#
# At 4 mm leave out ``network.bands_mm``. Task runs become contrast maps first:
# :doc:`all about BOLD </bold>`.
