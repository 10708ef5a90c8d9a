"""How runs are cleaned, and what their confounds say: regressors, volumes to leave out, motion."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.settings import CleaningSettings, Strategy
from fmnet.data.covariates import Numbers, plain_texts, read_together, say_cells, sentinels
from fmnet.data.files import ACCEPTED_JSON, MAX_JSON_BYTES, read_json
from fmnet.data.image_files import check_is_no_pointer, read_file
from fmnet.data.tables import read_table_file
from fmnet.errors import CohortError, Fault, VolumeError

MOTION6 = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
MOTION24 = tuple(
    f"{name}{suffix}"
    for suffix in ("", "_derivative1", "_power2", "_derivative1_power2")
    for name in MOTION6
)
TISSUES = ("csf", "white_matter")
#: What is in the names of columns that come in any number.
COSINE, COMPONENT = "cosine", "a_comp_cor"
#: Columns of fMRIPrep's that tell which volumes to leave out.
DISPLACEMENT, NON_STEADY = "framewise_displacement", "non_steady_state_outlier"
CONFOUNDS = "fMRIPrep's confounds of this run (desc-confounds_timeseries.tsv)"
OTHER_STRATEGY = "give the file that fMRIPrep (1.4 or later) wrote, or choose another strategy"
#: What nilearn raises where it can't use a file.
UNUSABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
#: Runs of fewer seconds get no cosines: fMRIPrep takes out what is slower than 128 s.
SHORTEST_DRIFT = 64
#: No head moves farther than this from one volume to the next.
FARTHEST_MM = 100.0
#: How many columns a message names before it counts the rest.
N_NAMED = 8


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
        Whether its JSON file is read as well.
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


@dataclass(frozen=True, eq=False)
class Nuisance:
    """What is not brain activity in a run.

    Parameters
    ----------
    regressors : ndarray of float64, shape (T, n)
        T volumes as acquired; no NaN; n may be 0.
    names : tuple of str
        Of the n regressors, as in the confounds file.
    kept : ndarray of int, shape (T_kept,)
        Numbers of the volumes that are left without non-steady and scrubbed ones, ascending.
    n_non_steady, n_scrubbed : int
        Volumes left out for either reason.
    framewise_displacement_mm : ndarray of float64, shape (T,)
        NaN where not stated, as for the first volume.
    sha256 : str
        Hash of the confounds file; empty without one.
    """

    regressors: NDArray[np.float64]
    names: tuple[str, ...]
    kept: NDArray[np.intp]
    n_non_steady: int
    n_scrubbed: int
    framewise_displacement_mm: NDArray[np.float64]
    sha256: str

    @property
    def mean_fd_mm(self) -> float:
        """Mean framewise displacement in mm over the volumes where it is stated; NaN if none."""
        known = self.framewise_displacement_mm[np.isfinite(self.framewise_displacement_mm)]
        return float(known.mean()) if known.size else float("nan")


def read_nuisance(run: PreprocessedRun, n_volumes: int, settings: CleaningSettings) -> Nuisance:
    """Read the confounds of a run of `n_volumes` through nilearn's ``load_confounds``.

    The file may be missing only where the strategy is ``none``.

    Raises
    ------
    VolumeError
        If the file is missing, damaged, of another length, or lacks what the strategy needs; if
        fewer volumes are left than ``settings.min_volumes``.
    """
    model, where = MODELS[settings.strategy], str(run.confounds or run.bold.path)
    table, raw, facts = _read_files(run, n_volumes, settings)
    columns = list(map(str, table.columns))
    used = [name for name in model.columns if name in columns]
    if model.needs_json:  # these come in any number
        used += [name for name in columns if COSINE in name or COMPONENT in name]
    used = list(dict.fromkeys(used))
    marks = [name for name in columns if name.startswith(NON_STEADY) or name == DISPLACEMENT]
    numbers = read_together(table, list(dict.fromkeys([*used, *marks])))
    is_short = n_volumes * (run.bold.t_r or np.inf) < SHORTEST_DRIFT
    faults = [
        *_check_length(len(table), where, n_volumes),
        *_check_names(table, where, model.columns, is_short),
        *_check_numbers(table, where, numbers, used),
        *_check_displacement(table, where, numbers, settings.fd_threshold),
    ]
    if faults:
        raise VolumeError(faults)
    regressors = np.empty((n_volumes, 0))
    names: tuple[str, ...] = ()
    if used:
        regressors, names = _load(table, facts, numbers, where, settings.strategy)
    # leave out what is marked as non-steady, and what moved more than the threshold
    is_non_steady = np.zeros(n_volumes, dtype=bool)
    for name, found in numbers.items():
        if name.startswith(NON_STEADY):
            is_non_steady |= found.values > 0
    displacement = np.full(n_volumes, np.nan)
    if DISPLACEMENT in numbers:
        displacement = numbers[DISPLACEMENT].values
    limit = np.inf if settings.fd_threshold is None else settings.fd_threshold
    is_scrubbed = (displacement > limit) & ~is_non_steady
    kept = np.flatnonzero(~is_non_steady & ~is_scrubbed)
    n_non_steady, n_scrubbed = int(is_non_steady.sum()), int(is_scrubbed.sum())
    left = (
        f"{len(kept)} of {n_volumes} volumes left without {n_non_steady} "
        f"non-steady and {n_scrubbed} scrubbed ones"
    )
    if len(kept) < settings.min_volumes:
        accepted = f"at least {settings.min_volumes} (min_volumes)"
        action = "leave the run out, or scrub less (raise fd_threshold)"
        raise VolumeError(Fault(where, left, accepted, action))
    if len(kept) <= len(names) + 2:
        left = f"{len(names)} regressors, mean and drift, and {left}"
        action = "leave the run out, or choose a strategy with fewer regressors"
        raise VolumeError(Fault(where, left, "more volumes than regressors", action))
    sha256 = hashlib.sha256(raw).hexdigest() if raw else ""
    return Nuisance(regressors, names, kept, n_non_steady, n_scrubbed, displacement, sha256)


def _read_files(
    run: PreprocessedRun, n_volumes: int, settings: CleaningSettings
) -> tuple[pd.DataFrame, bytes, bytes | None]:
    """Read the confounds as text and bytes, and the bytes of their JSON file if needed.

    Without any, where none are needed, the table is empty.
    """
    model, path = MODELS[settings.strategy], run.confounds
    if path is None:
        if not model.columns and settings.fd_threshold is None:
            return pd.DataFrame(index=range(n_volumes)), b"", None
        needed = settings.strategy if model.columns else "scrubbing"
        action = "give it, or set strategy to none and fd_threshold to null"
        found = f"no confounds file, which {needed} needs"
        raise VolumeError(Fault(str(run.bold.path), found, CONFOUNDS, action))
    faults: list[Fault] = []
    raw, facts, table = b"", None, pd.DataFrame()
    try:
        table = read_table_file(path, ())
        raw = read_file(path)
        check_is_no_pointer(path, raw)
    except (CohortError, VolumeError) as error:
        faults += [replace(fault, accepted=CONFOUNDS) for fault in error.faults]
    if model.needs_json:
        try:
            read_json(path.with_suffix(".json"))
            facts = read_file(path.with_suffix(".json"), MAX_JSON_BYTES, ACCEPTED_JSON)
        except VolumeError as error:
            accepted = "the JSON file beside the confounds, which names fMRIPrep's components"
            faults += [
                replace(fault, accepted=accepted, action=OTHER_STRATEGY) for fault in error.faults
            ]
    if faults:
        raise VolumeError(faults)
    return table, raw, facts


def _check_length(n_rows: int, where: str, n_volumes: int) -> Iterator[Fault]:
    if n_rows != n_volumes:
        action = "give the confounds that belong to the run"
        found = f"{n_rows} rows where the run has {n_volumes} volumes"
        yield Fault(where, found, "one row for each volume", action)


def _check_names(
    table: pd.DataFrame, where: str, wanted: Sequence[str], is_short: bool
) -> Iterator[Fault]:
    """Tell which columns are missing; short runs have no drift, and so no cosines."""
    has_cosines = is_short or any(COSINE in name for name in table.columns)
    missing = [
        name
        for name in wanted
        if name not in table and not (has_cosines and name.startswith(COSINE))
    ]
    if missing:
        accepted = CONFOUNDS
        if any(name.startswith(COSINE) for name in missing):
            accepted += ", with the cosines that its components go with"
        named = _list([*map(repr, missing)])
        yield Fault(where, f"no column {named}", accepted, OTHER_STRATEGY)


def _check_numbers(
    table: pd.DataFrame, where: str, numbers: Mapping[str, Numbers], used: Sequence[str]
) -> Iterator[Fault]:
    bad, coded = [], []
    for name, found in numbers.items():
        is_bad = found.is_wrong.copy()
        if name in used:
            # derivatives have no value for the first volume
            is_bad[1:] |= ~found.is_number[1:]
        if is_bad.any():
            bad.append(_say_cells(table, name, is_bad))
        if codes := sentinels(found.values, name == DISPLACEMENT):
            coded.append(_say_cells(table, name, np.isin(found.values, codes)))
    accepted = "one finite number for each volume; none for the first in derivatives"
    if bad:
        told = f"values that are missing or no numbers in {_list(bad, ' columns')}"
        yield Fault(where, told, accepted, OTHER_STRATEGY)
    if coded:
        told = f"what looks like missing values in {_list(coded, ' columns')}"
        yield Fault(where, told, accepted, OTHER_STRATEGY)


def _say_cells(table: pd.DataFrame, name: str, is_meant: NDArray[np.bool_]) -> str:
    """Name a column and the cells meant; many empty ones are counted."""
    if (table[name] == "").all():
        return f"'{name}' (nothing in any line)"
    return say_cells(table, name, is_meant).removeprefix("column ").replace(": ", " (", 1) + ")"


def _check_displacement(
    table: pd.DataFrame, where: str, numbers: Mapping[str, Numbers], fd_threshold: float | None
) -> Iterator[Fault]:
    """Find volumes of which nobody knows how far they moved, and those that can't have moved so."""
    found = numbers.get(DISPLACEMENT)
    if found is None or not found.is_number.any():
        if fd_threshold is not None and (found is None or not found.is_wrong.any()):
            told = f"no values of {DISPLACEMENT}, which scrubbing needs"
            yield Fault(where, told, CONFOUNDS, "set fd_threshold to null, or run fMRIPrep again")
        return
    is_missing = ~found.is_number & ~found.is_wrong
    is_missing[0] = False  # nothing comes before it
    if fd_threshold is not None and is_missing.any():
        told = f"no values in {say_cells(table, DISPLACEMENT, is_missing)}, which scrubbing needs"
        yield Fault(where, told, CONFOUNDS, "fill them in, or set fd_threshold to null")
    coded = np.isin(found.values, sentinels(found.values, True))
    is_far = ((found.values > FARTHEST_MM) | (found.values < 0)) & ~coded
    if is_far.any():
        accepted = f"0 to {FARTHEST_MM:g} mm from one volume to the next"
        told = f"movements that no head makes in {say_cells(table, DISPLACEMENT, is_far)}"
        yield Fault(where, told, accepted, OTHER_STRATEGY)


def _load(
    table: pd.DataFrame,
    facts: bytes | None,
    numbers: Mapping[str, Numbers],
    where: str,
    strategy: Strategy,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Let nilearn's ``load_confounds`` choose among the columns that are used.

    It looks for the file by the name of an image in the same folder, and takes any that might
    belong to that. So that it reads this one and no other, whatever its name, it is given a copy.

    Gives the values, (T, n), and names of the columns; the first volume, which derivatives have no
    value for, gets that of the second.
    """
    # here, for importing nilearn takes long and what has no confounds need not wait for it
    from nilearn.interfaces.fmriprep import load_confounds

    used = [name for name in numbers if name != DISPLACEMENT]
    plain = pd.DataFrame({name: plain_texts(table[name], numbers[name]) for name in used})
    # a name without "tsv", which nilearn would replace in it
    folder = Path(tempfile.gettempdir()) / f"fmnet-{uuid4().hex}"
    folder.mkdir(mode=0o700)
    try:
        confounds = folder / "sub-1_desc-confounds_timeseries.tsv"
        plain.to_csv(confounds, sep="\t", index=False)
        if facts is not None:
            confounds.with_suffix(".json").write_bytes(facts)
        image = str(folder / "sub-1_desc-preproc_bold.nii.gz")
        # means are taken out by cleaning, over the volumes that are kept
        found, _ = load_confounds(image, demean=False, **MODELS[strategy].options)
    except UNUSABLE as error:  # whatever nilearn says of such files
        told = f"confounds that nilearn can't use ({' '.join(str(error).split())})"
        raise VolumeError(Fault(where, told, CONFOUNDS, OTHER_STRATEGY)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if faults := list(_check_length(len(found), where, len(table))):
        raise VolumeError(faults)
    return found.to_numpy(dtype=np.float64), tuple(map(str, found.columns))


def _list(told: Sequence[str], noun: str = "") -> str:
    more = f" and {len(told) - N_NAMED} more{noun}" if len(told) > N_NAMED else ""
    return ", ".join(told[:N_NAMED]) + more
