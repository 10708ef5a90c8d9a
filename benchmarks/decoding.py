"""The linear study as one writes it with nilearn."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from nilearn.decoding import Decoder
from numpy.typing import NDArray

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.data.nifti import to_image


def decode_linearly(
    cohort: Cohort,
    n_jobs: int,
    folds: Sequence[Fold],
    fwhm_mm: float = 8.0,
    images: Sequence[Any] | None = None,
) -> NDArray[np.float64]:
    """Fit a linear SVM with its C chosen inside on each fold; score test scans in one row.

    Parameters
    ----------
    cohort : Cohort
        Whose files are read, one for each scan, unless `images` are given.
    n_jobs : int
        Processes, as joblib takes them.
    folds : sequence of Fold
        Inner folds as many as each has.
    fwhm_mm : float
        Smoothing.
    images : sequence, optional
        One for each scan, as nilearn takes them.
    """
    given = images or [str(scan.files[0]) for scan in cohort.scans]
    mask = to_image(cohort.grid.mask.astype(np.int8), cohort.grid.affine)
    scores = []
    for fold in folds:
        decoder = Decoder(
            "svc", mask=mask, cv=len(fold.validation), smoothing_fwhm=fwhm_mm or None, n_jobs=n_jobs
        )
        train, test = (
            rows_of(people, cohort.participant_ids) for people in (fold.train, fold.test)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoder.fit([given[row] for row in train], cohort.labels[train])
            scores.append(np.ravel(decoder.decision_function([given[row] for row in test])))
    return np.concatenate(scores)
