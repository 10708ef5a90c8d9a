"""
Who responds?
=============

A drug helps some people and not others. Does a scan before the trial say whom? This is another
question than who gets better: somebody may get better on placebo as well. Here is a made-up trial
in which one pattern in the brain makes the drug do more.
"""
import os
import tempfile
from pathlib import Path

# %%
# A trial
# -------
#
# For each person: a map before treatment, pain before and after it, and the arm, drawn at random.
import pandas as pd

from fmnet.synthetic.targets import write_target_cohort

os.chdir(tempfile.mkdtemp())  # what this page writes goes there
trial = write_target_cohort(
    "trial",
    kind="response",
    planted="moderator",
    n_subjects=100,
    target_effect=0.9,
    n_sites=1,
    voxel_size_mm=12,
    seed=0,
)
people = pd.read_csv(trial / "participants.tsv", sep="\t")
people.head()

# %%
# Pain went down on the drug, and on placebo as well.
people.assign(change=people["outcome"] - people["baseline"]).groupby("arm")["change"].describe()
