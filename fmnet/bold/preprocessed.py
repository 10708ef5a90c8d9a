"""One BOLD run as fMRIPrep leaves it."""

from dataclasses import dataclass
from pathlib import Path

from fmnet.bold.bold_run import BoldRun


@dataclass(frozen=True)
class PreprocessedRun:
    """A preprocessed run with the files that belong to it.

    Parameters
    ----------
    bold : BoldRun
        The image, its brain mask, its space, and ``t_r`` as the JSON sidecar states it (None
        without one); ``run_id`` is made of the BIDS entities that tell runs apart, for instance
        ``sub-01_ses-1_task-rest_run-1``.
    task : str
        Without ``task-``.
    session, run : str
        Without ``ses-`` and ``run-``; empty where the file name has none.
    confounds : Path or None
        fMRIPrep's ``desc-confounds_timeseries.tsv``.
    events : Path or None
        BIDS ``events.tsv``, beside the run or in the raw data set.
    start_time : float
        Seconds from the start of the events' clock to the first volume, as the sidecar states it:
        after slice timing correction, about half a repetition time.
    """

    bold: BoldRun
    task: str
    session: str = ""
    run: str = ""
    confounds: Path | None = None
    events: Path | None = None
    start_time: float = 0.0
