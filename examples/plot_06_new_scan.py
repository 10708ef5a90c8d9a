"""
A new scan
==========

A lab exported a signature; you have scans of people whom it never saw. Scoring
them takes the base install alone, no torch and no GPU. What comes back is a
score, a probability for the base rate that you state, a set of groups that
can't be ruled out, or the reason why there is no answer.
"""

# %%
# A signature
# -----------
#
# Usually somebody else made it. Here it is made on the spot, of 50 made-up
# people.
import tempfile
import textwrap
from pathlib import Path

import fmnet
from fmnet.synthetic.maps import write_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
study = fmnet.study(
    write_cohort(
        folder / "cohort",
        n_subjects=50,
        effect_size=1.3,
        voxel_size_mm=8,
        seed=1,
    ),
    baselines="none",
    out=folder / "study",
    settings={"preparation.voxel_size_mm": 8, "signature": None},
)
study.export(folder / "bundle")

# %%
# From here on nothing of the study is needed: a bundle is a folder to hand on.
# Loading it checks the hash of each file and executes nothing in it.
signature = fmnet.load(folder / "bundle")
signature

# %%
# Twenty new people
# -----------------
#
# Made up in the same way, by another seed.
import pandas as pd

new = write_cohort(
    folder / "new-people",
    n_subjects=20,
    effect_size=1.3,
    voxel_size_mm=8,
    seed=7,
)
scans = sorted(new.glob("sub-*/func/*_statmap.nii.gz"))
table = signature.predict(scans)
table["scan"] = [Path(one).name.split("_")[0] for one in table["scan"]]
table[
    [
        "scan",
        "score",
        "probability",
        "probability_low",
        "probability_high",
        "set",
        "status",
    ]
].round(2)

# %%
# ``both`` is the honest "cannot say": such scores are usual in both groups. The
# promise is that a set holds the right group for 80 % of the people of each
# group, which takes wide limits where the study was small. ``cannot_say`` among
# the statuses is a scan that isn't like the training scans, and now and then
# that is a perfectly good one.
#
# Who was it in truth?
truth = pd.read_csv(new / "participants.tsv", sep="\t").set_index(
    "participant_id"
)["group"]
table["truth"] = table["scan"].map(truth)
pd.crosstab(table["truth"], table["set"].fillna("no score"))

# %%
# How common is it among those who are scanned?
# ---------------------------------------------
#
# Probabilities above hold where both groups are equally common. Where one in
# ten has the condition, most scores that look like it come from people who
# haven't.
import matplotlib.pyplot as plt

_, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for prevalence in (0.5, 0.1, 0.02):
    answers = signature.predict(scans, prevalence=prevalence).sort_values(
        "score"
    )
    axes.plot(
        answers["score"],
        answers["probability"],
        "o-",
        label=f"{prevalence:.0%} have it",
    )
axes.set(xlabel="score", ylabel="probability of the group FM", ylim=(0, 1))
axes.legend(frameon=False)
plt.show()

# %%
# Scans that get no score
# -----------------------
#
# A signature knows what its training scans looked like. Here are one scan of
# somebody turned upside down without its header knowing, one of other units,
# one of another statistic, and one cut off.
import nibabel
import numpy as np

image = nibabel.load(scans[0])
values = image.get_fdata(dtype=np.float32)
cut = values.copy()
cut[:, :, : values.shape[2] // 2] = 0
odd = {
    "upside-down": values[:, :, ::-1],
    "other-units": 400 * values,
    "cut-off": cut,
}
for name, changed in odd.items():
    nibabel.Nifti1Image(changed, image.affine).to_filename(
        folder / f"{name}_stat-z_statmap.nii.gz"
    )
image.to_filename(folder / "other-statistic_stat-p_statmap.nii.gz")
answers = signature.predict(sorted(folder.glob("*_statmap.nii.gz")))
for row in answers.itertuples():
    print(Path(row.scan).name, row.status, row.gates_failed)
    first = row.reason.split(" | ")[0].replace(f"{folder}/", "")
    print(
        textwrap.fill(
            first, 90, initial_indent="    ", subsequent_indent="    "
        ),
        "\n",
    )

# %%
# No score is no failure: a number for such a scan would look like any other.
# ``force=True`` gives one all the same, and marks it.
#
# What it rests on
# ----------------
#
# Whoever quotes a probability should say what is known of the signature.
# ``signature.about`` holds it; so does each record of ``fmnet predict bundle
# SCANS --out results.json``.
for name in ("intended_use", "warnings", "probability", "sets"):
    print(textwrap.fill(f"{name}: {signature.about[name]}", 90), "\n")

# %%
# From the shell, with a page for each person:
#
# .. code-block:: console
#
#    $ fmnet predict bundle new-people --prevalence 0.1 --out results.tsv \
#          --cards cards
#
# A score says how much a scan resembles those of one group of research
# participants. It is not a diagnosis.
