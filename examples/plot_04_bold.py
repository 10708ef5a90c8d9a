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
import os
import tempfile
from pathlib import Path

from fmnet.synthetic.bold import write_bold_cohort

os.chdir(tempfile.mkdtemp())  # what this page writes goes there
cohort = write_bold_cohort("fmriprep", n_subjects=24, n_volumes=120, coupling=0.7, voxel_size_mm=12)
print("\n".join(sorted(str(path) for path in Path("fmriprep/sub-synthetic001").rglob("*.*"))))

# %%
# Is all there that a study needs? The same check is ``fmnet check fmriprep --task rest``.
from fmnet.bold.dataset import check_dataset
from fmnet.bold.findings import describe

print("\n".join(describe(check_dataset("fmriprep"))))

# %%
# What cleaning takes away
# ------------------------
#
# A run before and after the regression of head motion, white matter and CSF and the band from 0.01
# to 0.1 Hz. fmnet does this to every run, by ``cohort.cleaning``; here is the same with nilearn, to
# look at.
import matplotlib.pyplot as plt
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.plotting import plot_carpet

run = str(next(Path("fmriprep/sub-synthetic001/func").glob("*_desc-preproc_bold.nii.gz")))
mask = run.replace("preproc_bold", "brain_mask")
plot_carpet(run, mask_img=mask, t_r=2.0, title="as fMRIPrep left it")
plt.show()

# %%
# The study
# ---------
#
# ``network="learned_seeds"`` reads time series: networks of the training scans become seeds, and the
# maps of correlation with them go to the classifier. Beside it stand head motion, what cleaning left
# of the runs, how noisy they are, and connectivity between networks.
import fmnet

study = fmnet.study(
    "fmriprep",
    network="learned_seeds",
    baselines="bold_quick",
    n_splits=3,
    out="study",
    settings={
        "cohort": "bold",
        "preparation.voxel_size_mm": 12,
        "network.bands_mm": [[0.0, 36.0], [18.0, 60.0]],
        "folds.inner_splits": 2,
        "signature": None,
    },
)
study
