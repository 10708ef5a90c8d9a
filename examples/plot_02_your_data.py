"""
Your SPM, FSL or fMRIPrep data
==============================

Three ways in which labs keep their first-level maps, and how to hand each to
fmnet. The folders are made here, with made-up maps in them; yours look the
same. Preprocessed time series have :ref:`a tutorial of their own
<sphx_glr_tutorials_plot_04_bold.py>`.
"""

# %%
# Twenty-four people, to begin with: their table, and a map of each.
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from fmnet.synthetic.maps import write_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
cohort = write_cohort(folder / "cohort", n_subjects=24, voxel_size_mm=8, seed=3)
people = pd.read_csv(cohort / "participants.tsv", sep="\t")
maps = {
    path.name.split("_")[0]: path
    for path in cohort.glob("sub-*/func/*_statmap.nii.gz")
}

# %%
# SPM
# ---
#
# SPM writes ``con_0001.nii`` and ``spmT_0001.nii`` into a folder for each
# person, the first axis running from right to left, and NaN outside of the
# brain. Here are such folders.
for participant_id, path in maps.items():
    image = nibabel.load(path)
    values = image.get_fdata(dtype=np.float32)
    values = np.where(values == 0, np.nan, values)[::-1]
    to_mm = image.affine @ np.diag([-1, 1, 1, 1])
    to_mm[:3, 3] = (image.affine @ [values.shape[0] - 1, 0, 0, 1])[:3]
    of_person = folder / "spm" / participant_id
    of_person.mkdir(parents=True)
    nibabel.Nifti1Image(values, to_mm).to_filename(of_person / "con_0001.nii")

# %%
# A DataFrame says whose each file is. Nothing has to be flipped, resampled or
# masked beforehand: maps are turned, put on one grid of the template and masked
# when they are read.
spm = pd.DataFrame(
    [
        {
            "participant_id": path.parent.name,
            "path": path,
            "contrast": "pressure",
        }
        for path in sorted((folder / "spm").glob("sub-*/con_0001.nii"))
    ]
)
spm.assign(path=[path.relative_to(folder) for path in spm["path"]]).head()

# %%
# The groups, and what else is known of the people, come from a second table
# with one row for each person. Age, sex, site, head motion and questionnaires
# are looked for by their names and audited.
people.head()

# %%
import fmnet

small = {
    "preparation.voxel_size_mm": 8,
    "folds.inner_splits": 2,
    "signature": None,
}
study = fmnet.study(
    spm,
    participants=people,
    label="group",
    positive="FM",
    baselines="linear",
    n_splits=3,
    out=folder / "from-spm",
    settings=small,
)
study

# %%
# Who was used, and who wasn't, is in the run folder.
used = pd.read_csv(study.folder / "cohort.tsv", sep="\t", keep_default_na=False)
used[["participant_id", "label", "used", "reason"]].head()

# %%
# FSL
# ---
#
# FEAT writes ``cope1.nii.gz`` and ``zstat1.nii.gz`` into a folder for each
# person; those in ``reg_standard/`` are in MNI space, and only they are of use
# here.
for participant_id, path in maps.items():
    stats = folder / "fsl" / f"{participant_id}.feat" / "reg_standard" / "stats"
    stats.mkdir(parents=True)
    nibabel.load(path).to_filename(stats / "zstat1.nii.gz")

fsl = pd.DataFrame(
    [
        {
            "participant_id": path.parents[2].stem,
            "path": path,
            "contrast": "pressure",
        }
        for path in sorted(
            (folder / "fsl").glob("*.feat/reg_standard/stats/zstat1.nii.gz")
        )
    ]
)
fsl.assign(path=[path.relative_to(folder) for path in fsl["path"]]).head(3)

# %%
# The same call takes it: ``fmnet.study(fsl, participants=people, ...)``. To
# know beforehand how maps lie in the brain, look at the mean of each group, and
# at the coverage: a slab that is missing in one group would tell the groups
# apart without any brain activity.
import matplotlib.pyplot as plt
from nilearn.image import mean_img
from nilearn.plotting import plot_stat_map

figure, axes = plt.subplots(2, 1, figsize=(7, 5))
for axis, (group, ids) in zip(
    axes, people.groupby("group")["participant_id"], strict=True
):
    own = list(fsl.loc[fsl["participant_id"].isin(ids), "path"])
    mean = mean_img(own)
    plot_stat_map(
        mean,
        axes=axis,
        figure=figure,
        title=group,
        cut_coords=(-40, 6, 2),
        vmax=3,
    )
plt.show()

# %%
# fMRIPrep, fitlins, nilearn
# --------------------------
#
# What follows BIDS derivatives needs no table of files: names say person,
# contrast, statistic and space. This is such a tree.
names = sorted(str(path.relative_to(cohort)) for path in maps.values())
print("\n".join(["participants.tsv", *names[:3], "..."]))

# %%
# .. code-block:: python
#
#    fmnet.study(cohort, contrasts=["pressure"])
#
# Where a tree holds several forms of a map, say which, as in
# ``settings={"cohort.entities": {"node": "subjectLevel"}}``. For time series as
# fMRIPrep leaves them, ``fmnet check FOLDER`` says what is there and what is
# missing.
#
# When something is wrong
# -----------------------
#
# All that is wrong is told at once, with file or person, what was found, what
# is accepted and what to do, before anything is trained. Here one file is gone
# and one person has no group.
from fmnet.errors import FmnetError

spoilt = spm.copy()
spoilt.loc[2, "path"] = folder / "spm" / "sub-synthetic003" / "con_0002.nii"
unlabelled = people.copy()
unlabelled.loc[6, "group"] = "n/a"
try:
    fmnet.study(
        spoilt, participants=unlabelled, out=folder / "never", settings=small
    )
except FmnetError as error:
    print(str(error).replace(str(folder), "."))

# %%
# With ``settings={"cohort.on_fault": "exclude"}`` the study goes on without
# those two and lists them, with the reason, in ``cohort.tsv`` and in the
# report.
