"""
From BOLD
=========

From time series as fMRIPrep leaves them to an answer: check the folder, clean the runs, find
networks within each training fold, and compare the groups. The runs are made up; two networks, the
default mode and salience, are coupled more strongly in the group FM.
"""

# %%
# Runs at rest
# ------------
#
# Preprocessed runs, brain masks and confounds, in fMRIPrep's names: 24 people, 120 volumes, voxels
# of 12 mm to be quick.
import tempfile
from pathlib import Path

from fmnet.synthetic.bold import write_bold_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
cohort = write_bold_cohort(
    folder / "fmriprep", n_subjects=24, n_volumes=120, coupling=0.7, voxel_size_mm=12
)
print(
    "\n".join(
        sorted(str(path.relative_to(folder)) for path in (cohort / "sub-synthetic001").rglob("*.*"))
    )
)

# %%
# Is all there that a study needs? The same check is ``fmnet check fmriprep --task rest``.
from fmnet.bold.dataset import check_dataset
from fmnet.bold.findings import describe

print("\n".join(describe(check_dataset(cohort))))

# %%
# What cleaning takes away
# ------------------------
#
# A run before and after the regression of head motion, white matter and CSF, within the band from
# 0.01 to 0.1 Hz. fmnet does so with every run, as ``cohort.cleaning`` says; here is the same with
# nilearn, to look at. Each line is a voxel; stripes are what the whole brain does at once.
import matplotlib.pyplot as plt
from nilearn.image import clean_img
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.plotting import plot_carpet

run = str(next((cohort / "sub-synthetic001").rglob("*_desc-preproc_bold.nii.gz")))
mask = run.replace("preproc_bold", "brain_mask")
confounds, _ = load_confounds(run, strategy=["motion", "wm_csf"], motion="full")
cleaned = clean_img(run, confounds=confounds, t_r=2.0, low_pass=0.1, high_pass=0.01, mask_img=mask)
figure, axes = plt.subplots(2, 1, figsize=(8, 6), layout="constrained")
for axis, image, title in zip(axes, (run, cleaned), ("as preprocessed", "cleaned"), strict=True):
    plot_carpet(image, mask_img=mask, t_r=2.0, axes=axis, title=title)
plt.show()

# %%
# The study
# ---------
#
# ``network="learned_seeds"`` reads time series: networks of the training scans become seeds, and
# the maps of correlation with them go to the classifier. Beside it stand head motion, what cleaning
# left of the runs, how noisy they are, and connectivity between networks.
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
# How many volumes and degrees of freedom cleaning left, by group: groups that differ in it differ
# in how noisy their maps are.
import pandas as pd

pd.DataFrame(study.metrics["bold"]["groups"])

# %%
# Beside the network
# ------------------
models = study.metrics["models"]
for name, figures in models.items():
    low, high = figures["auc_ci"]
    print(f"{study.metrics['titles'][name]:28} AUC {figures['auc']:.2f} [{low:.2f}, {high:.2f}]")

# %%
# Did it find what was planted? The true coupling of the two networks in each person, against the
# score by a model that had not seen the person.
truth = pd.read_csv(cohort / "truth" / "people.tsv", sep="\t")
scores = study.predictions.query("model == 'network'").merge(truth, on="participant_id")
_, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for label, marker, name in ((0, "o", "HC"), (1, "^", "FM")):
    own = scores[scores["label"] == label]
    axes.plot(own["coupling"], own["score"], marker, label=name, alpha=0.7)
axes.set(xlabel="coupling of default mode and salience (true correlation)", ylabel="score")
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
