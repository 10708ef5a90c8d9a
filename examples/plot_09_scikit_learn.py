"""
With scikit-learn and nilearn
=============================

``SignatureClassifier`` is an estimator as scikit-learn knows them: ``fit``,
``predict``, ``cross_val_score``, ``clone``, a place in a grid search. It takes
images rather than arrays, as nilearn's estimators do. Use it to try things out;
what goes into a paper comes from :ref:`the whole study
<sphx_glr_tutorials_plot_01_first_study.py>`.
"""

# %%
# Images and labels
# -----------------
#
# Any list of paths or nibabel images. Here are 40 people's maps, made up.
import tempfile
from pathlib import Path

import nibabel
import pandas as pd

from fmnet.synthetic.maps import write_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
cohort = write_cohort(
    folder / "cohort", n_subjects=40, effect_size=1.0, voxel_size_mm=8, seed=4
)
people = pd.read_csv(cohort / "participants.tsv", sep="\t")
images = [
    nibabel.load(next(cohort.glob(f"{person}/func/*_statmap.nii.gz")))
    for person in people["participant_id"]
]
labels = (people["group"] == "FM").astype(int)

# %%
# How well does it do on people it hasn't seen?
# ---------------------------------------------
#
# Each fit standardises voxels, chooses the length of training and calibrates
# probabilities on the people it is given, and on no others. Where people belong
# together, as sisters or repeated scans, say so by ``groups`` and take a
# splitter that keeps them together.
from sklearn.model_selection import StratifiedKFold, cross_val_score

from fmnet import SignatureClassifier

model = SignatureClassifier(voxel_size_mm=8, inner_splits=2)
folds = StratifiedKFold(4, shuffle=True, random_state=0)
scores = cross_val_score(model, images, labels, cv=folds, scoring="roc_auc")
scores

# %%
# The mean over so few people varies a lot from one way of splitting to the
# next.
#
# Fitted on everybody
# -------------------
model.fit(images, labels)

# %%
# Weights of the voxels: score per unit of the map, as a nibabel image. Larger
# scores speak for ``classes_[1]``, here 1, the group FM.
import matplotlib.pyplot as plt
from nilearn.plotting import plot_glass_brain

print(model.weights_kind_)
plot_glass_brain(
    model.weights_img_,
    plot_abs=False,
    colorbar=True,
    threshold=0.02,
    title="weights",
)
plt.show()

# %%
# .. warning::
#
#    Whether such a map is stable hasn't been asked here. A model that tells
#    nothing has weights, too: :ref:`what has to hold
#    <sphx_glr_tutorials_plot_05_signature.py>`.
#
# New people
# ----------
new = write_cohort(
    folder / "new", n_subjects=8, effect_size=1.0, voxel_size_mm=8, seed=9
)
maps = sorted(new.glob("sub-*/func/*_statmap.nii.gz"))
pd.DataFrame(model.predict_proba(maps), columns=model.classes_).round(2).assign(
    called=model.predict(maps)
)

# %%
# Unlike an exported signature, the estimator checks no scan for being like
# those it learned from, and knows no interval. ``model.export(folder)`` makes
# one of it: it runs the whole study on the same images first, for a bundle says
# how its signature does on people whom it hasn't seen.
