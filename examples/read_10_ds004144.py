"""
ds004144, from download to report (not run here)
================================================

OpenNeuro `ds004144 <https://doi.org/10.18112/openneuro.ds004144.v1.0.2>`_ (CC0)
is the open fibromyalgia data set: 33 women with fibromyalgia and 33 controls,
at rest and in a task. From the download to a report it takes days of computing,
nearly all of it fMRIPrep's.

.. warning::

   **This page was not run.** The images were not available where it was
   written. Only the check of its tree as DataLad installs it was: :doc:`what
   was tried, and what was not </ds004144>`, where every step stands at length.
   No result on this data set is stated or implied.
"""

# %%
# Fetch, and see what is missing
# ------------------------------
#
# .. code-block:: console
#
#    $ datalad install https://github.com/OpenNeuroDatasets/ds004144.git
#    $ fmnet check ds004144 --out faults.tsv
#    $ cd ds004144
#    $ datalad get -J 8 sub-*/anat sub-*/func/*_task-rest_*
#    $ cd ..
#
# The check tells all at once: images that are still links, people without a
# run, sidecars that contradict each other, and that there is no
# ``participants.tsv``. Who is a patient stands in tables on Zenodo,
# `doi:10.5281/zenodo.6554870 <https://doi.org/10.5281/zenodo.6554870>`_; make
# one of them.
#
# Preprocess
# ----------
#
# Hours for each person, best on a cluster, one job for each:
#
# .. code-block:: console
#
#    $ docker run --rm -v $PWD/ds004144:/data:ro -v $PWD/derivatives:/out \
#          -v $PWD/work:/scratch \
#          -v $PWD/license.txt:/opt/freesurfer/license.txt:ro \
#          nipreps/fmriprep:24.1.1 \
#          /data /out/fmriprep participant -w /scratch --task-id rest \
#          --output-spaces MNI152NLin2009cAsym:res-2 --fs-no-reconall \
#          --ignore fieldmaps
#
# Check again, now with fMRIPrep's output: whom it left out, runs and confounds
# of different length, repetition times that contradict each other.

from fmnet.bold.dataset import check_dataset
from fmnet.bold.findings import describe

report = check_dataset("ds004144", "derivatives/fmriprep", task="rest")
print("\n".join(describe(report)))

# %%
# Decide before you look
# ----------------------
#
# Write down, before any score is seen: which runs are left out for motion,
# which network is the study's, how many permutations. Sixty-six people are few.
# What is tried and dropped afterwards is paid for by a p value that isn't one
# any more.
#
# The study
# ---------
#
# Five folds, five times; everything repeated on shuffled labels; a rerun with
# pairs of people who moved alike. On an 8-core machine let it run overnight; a
# run that was stopped goes on when the same call is made again.

import fmnet

study = fmnet.study(
    "derivatives/fmriprep",
    participants="ds004144/participants.tsv",
    network="learned_seeds",
    baselines="bold",
    n_repeats=5,
    n_permutations=200,
    out="ds004144-rest",
    settings={
        "cohort": "bold",
        "cohort.raw": "ds004144",
        "cohort.task": "rest",
        "cohort.cleaning.fd_threshold": 0.5,
        "sensitivity.match": ["mean_framewise_displacement"],
        "compute.n_jobs": -1,
    },
)

# %%
# Read it in this order
# ---------------------
#
# 1. Who was left out, and is it more of one group?
# 2. Head motion: the first sentence about confounds. Patients often move more.
# 3. Medication and questionnaires, if ``participants.tsv`` has them: patients
#    take what controls don't.
# 4. The AUC that is corrected for the choice of the model, with its interval,
#    and p.
# 5. Does the network add anything to connectivity and to linear models?

for sentence in study.verdict:
    print(f"- {sentence}")

# %%
# Only where p is small and nothing above explains it, a signature is worth
# exporting. It reads runs that were preprocessed in the same way.

study.export("ds004144-signature")

# sphinx_gallery_thumbnail_path = 'brain.png'
