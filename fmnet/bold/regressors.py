"""Which columns of fMRIPrep's confounds each strategy takes, and how nilearn reads them."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.settings import Strategy

MOTION6 = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
MOTION24 = tuple(
    f"{name}{suffix}"
    for suffix in ("", "_derivative1", "_power2", "_derivative1_power2")
    for name in MOTION6
)
TISSUES = ("csf", "white_matter")
#: Parts of the names of columns that come in any number.
COSINE, COMPONENT = "cosine", "a_comp_cor"


@dataclass(frozen=True)
class Model:
    """What a strategy asks of a confounds file.

    Parameters
    ----------
    options : mapping
        Of nilearn's ``load_confounds``.
    columns : tuple of str
        That the file must have at least.
    needs_json : bool
        Whether the JSON file beside it is read as well.
    """

    options: Mapping[str, Any]
    columns: tuple[str, ...]
    needs_json: bool = False


_FULL: dict[str, Any] = {"motion": "full", "wm_csf": "basic", "global_signal": "basic"}
#: As nilearn's own strategies of these kinds have it: all components that fMRIPrep keeps, and the
#: cosines that it took out of the data before it looked for them.
_COMPCOR: dict[str, Any] = {"motion": "full", "compcor": "anat_combined", "n_compcor": "all"}
MODELS: dict[Strategy, Model] = {
    "none": Model({}, ()),
    "motion6": Model({"strategy": ("motion",), "motion": "basic"}, MOTION6),
    "motion24": Model({"strategy": ("motion",)} | _FULL, MOTION24),
    "motion24_wm_csf": Model({"strategy": ("motion", "wm_csf")} | _FULL, MOTION24 + TISSUES),
    "motion24_wm_csf_global": Model(
        {"strategy": ("motion", "wm_csf", "global_signal")} | _FULL,
        (*MOTION24, *TISSUES, "global_signal"),
    ),
    "compcor": Model(
        {"strategy": ("motion", "high_pass", "compcor")} | _COMPCOR,
        (*MOTION24, f"{COSINE}00", f"{COMPONENT}_00"),
        needs_json=True,
    ),
}


def load_regressors(
    table: bytes, facts: bytes | None, strategy: Strategy
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Let nilearn's ``load_confounds`` choose columns.

    It looks for the file by the name of an image beside it, and takes any that might belong to
    that. So that it reads this one and no other, whatever its name, it is given a copy.

    Parameters
    ----------
    table : bytes
        Content of the confounds file.
    facts : bytes or None
        Of the JSON file that belongs to it.
    strategy : str
        See `fmnet.bold.settings.CleaningSettings`; not ``none``.

    Returns
    -------
    values : ndarray of float64, shape (T, n)
        The first volume, which derivatives have no value for, gets that of the second.
    names : tuple of str
        Of the n columns.

    Raises
    ------
    ValueError, KeyError, TypeError
        If nilearn can't use the file.
    """
    # here, for importing nilearn takes long and what has no confounds need not wait for it
    from nilearn.interfaces.fmriprep import load_confounds

    with _own_folder() as folder:
        (folder / "sub-1_desc-confounds_timeseries.tsv").write_bytes(table)
        if facts is not None:
            (folder / "sub-1_desc-confounds_timeseries.json").write_bytes(facts)
        image = str(folder / "sub-1_desc-preproc_bold.nii.gz")
        # means are taken out by cleaning, over the volumes that are kept
        found, _ = load_confounds(image, demean=False, **MODELS[strategy].options)
    return found.to_numpy(dtype=np.float64), tuple(map(str, found.columns))


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Make a folder for a while, by a name without "tsv", which nilearn would replace in it."""
    folder = Path(tempfile.gettempdir()) / f"fmnet-{uuid4().hex}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
