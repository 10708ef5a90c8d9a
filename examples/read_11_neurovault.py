"""
Maps from NeuroVault (not run here)
===================================

`NeuroVault <https://neurovault.org>`_ holds statistic maps that others
published. Two uses of it: a cohort of single people's maps to study, and a
group's map to lay your own signature beside.

.. warning::

   **This page was not run**: it downloads. Names of columns are those that
   other software reads from this collection; look at the table first. No result
   is stated or implied.
"""

# %%
# A cohort: heat, more and less of it
# -----------------------------------
#
# `Collection 504 <https://neurovault.org/collections/504/>`_ has maps of 28
# people, each under low, medium and high heat (Chang and others, 2015,
# `doi:10.1371/journal.pbio.1002180
# <https://doi.org/10.1371/journal.pbio.1002180>`_). nilearn fetches it.

import pandas as pd
from nilearn.datasets import fetch_neurovault_ids

pain = fetch_neurovault_ids(collection_ids=[504])
table = pd.DataFrame(pain["images_meta"])
print(table[["absolute_path", "SubjectID", "PainLevel"]].head())

# %%
# High against low. Each person has a map of either; both always lie in the same
# fold, for fmnet splits by ``participant_id``, and permutations exchange the
# labels within people.

import fmnet

levels = table["PainLevel"].astype(int).map({1: "low", 3: "high"})
maps = pd.DataFrame(
    {
        "participant_id": "sub-" + table["SubjectID"].astype(str),
        "path": table["absolute_path"],
        "group": levels,
    }
).dropna()
study = fmnet.study(
    maps,
    label="group",
    positive="high",
    n_repeats=5,
    n_permutations=200,
    out="heat",
    settings={"cohort.space": "MNI152"},
)
for sentence in study.verdict:
    print(f"- {sentence}")

# %%
# What such a study can't say: that a score is about pain. Heat differs between
# the conditions, and with it attention, arousal and reports. Maps of other
# people under other unpleasant conditions are the control, as the paper above
# has them.
#
# .. note::
#
#    Before maps of several collections go into one study, ask what gives the
#    collection away: grid, smoothness, units. fmnet scores these by
#    themselves, as ``file grid only``, ``roughness only`` and ``image scale
#    only``, and :doc:`says how far each reaches </grids>`.
#
# A published map to compare with
# -------------------------------
#
# Any map in MNI space stands beside a signature by ``signature.maps``; see
# :ref:`the tutorial that was run <sphx_glr_tutorials_plot_05_signature.py>`. By
# its number in NeuroVault:

published = fetch_neurovault_ids(image_ids=[10426])
study = fmnet.study(
    maps,
    positive="high",
    out="heat-and-maps",
    settings={"signature.maps": {"left hand": published["images"][0]}},
)

# %%
# Published signatures have licences of their own: read them before you hand on
# a bundle that was compared with one. The comparison itself stays in the run
# folder.

# sphinx_gallery_thumbnail_path = 'brain.png'
