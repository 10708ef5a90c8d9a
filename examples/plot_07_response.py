"""
Who responds?
=============

A drug helps some people and not others. Does a scan before the trial say whom?
This is another question than who gets better: somebody may get better on
placebo as well. Here is a made-up trial in which one pattern in the brain makes
the drug do more.
"""

# %%
# A trial
# -------
#
# For each person: a map before treatment, pain before and after it, and the
# arm, drawn at random.
import tempfile
from pathlib import Path

import pandas as pd

from fmnet.synthetic.targets import write_target_cohort

folder = Path(tempfile.mkdtemp())  # what this page writes goes there
trial = write_target_cohort(
    folder / "trial",
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
people.assign(change=people["outcome"] - people["baseline"]).groupby("arm")[
    "change"
].describe()

# %%
# The study
# ---------
#
# ``target`` says what is predicted. For ``response`` the figure is the
# interaction of arm and score: by how much more the drug does, for somebody
# whose score is one standard deviation higher. It is tested by exchanging arms,
# everything learned anew.
import fmnet

study = fmnet.study(
    trial,
    n_splits=3,
    n_permutations=39,
    out=folder / "study",
    settings={
        "target": "response",
        "baselines": "none",
        "preparation.voxel_size_mm": 12,
        "folds.inner_splits": 2,
        "signature": None,
    },
)
study

# %%
# What that looks like
# --------------------
#
# Improvement against the score, by arm; scores are of people whom the model had
# not seen. A marker of getting better by itself would make both lines rise
# alike. Here the line of the drug rises, and that of placebo doesn't: the drug
# does more where the score is high.
import matplotlib.pyplot as plt
import numpy as np

scores = study.predictions.query("model == 'network'").merge(
    people, on="participant_id"
)
_, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for arm, colour in (("placebo", "C7"), ("drug", "C0")):
    own = scores[scores["arm"] == arm]
    better = own["baseline"] - own["outcome"]
    axes.plot(own["score"], better, "o", color=colour, alpha=0.5, label=arm)
    ends = np.array([scores["score"].min(), scores["score"].max()])
    axes.plot(
        ends,
        np.polyval(np.polyfit(own["score"], better, 1), ends),
        color=colour,
    )
axes.set(xlabel="score", ylabel="improvement of pain (points)")
axes.legend(frameon=False)
plt.show()

# %%
# For each person
# ---------------
#
# The effect of the drug that is expected for them, in points of pain, with its
# 95 % interval. The intervals are wide: a trial of 100 people says little of
# any one of them.
columns = ["participant_id", "score", "effect", "effect_low", "effect_high"]
scores.sort_values("effect")[columns].iloc[::20].round(1)

# %%
# How many people it takes
# ------------------------
#
# Interactions need far more people than group differences. The report says how
# large one had to be to be found in a trial of this size, and the verdict
# repeats it. The effect planted here is larger than any that should be hoped
# for.
#
# Other questions are asked in the same way, with another ``target``: how
# severe, which of several pains, when somebody falls ill. :doc:`Each target,
# its columns and its figures </targets>`.
