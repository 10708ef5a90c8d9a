"""What a run's confounds file says: regressors, volumes to leave out, head motion."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.bold.regressors import COMPONENT, COSINE, MODELS, load_regressors
from fmnet.bold.settings import CleaningSettings
from fmnet.data.image_files import check_is_no_pointer, read_file
from fmnet.data.tables import read_table_file
from fmnet.errors import CohortError, Fault, VolumeError

#: Columns of fMRIPrep's that tell which volumes to leave out.
DISPLACEMENT, NON_STEADY = "framewise_displacement", "non_steady_state_outlier"
CONFOUNDS = "fMRIPrep's confounds of this run (desc-confounds_timeseries.tsv)"
OTHER_STRATEGY = "give the file that fMRIPrep (1.4 or later) wrote, or choose another strategy"
#: How many columns a message names before it counts the rest.
N_NAMED = 8


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
    """Read a run's confounds through nilearn's ``load_confounds``.

    Parameters
    ----------
    run : PreprocessedRun
        Its confounds file may be missing only where the strategy is ``none``.
    n_volumes : int
        T, as the image has it.
    settings : CleaningSettings
        Strategy and scrubbing.

    Raises
    ------
    VolumeError
        If the file is missing, damaged, of another length, or lacks what the strategy needs; if
        fewer volumes are left than ``settings.min_volumes``.
    """
    model = MODELS[settings.strategy]
    parts = _open_parts(run, n_volumes, settings)
    where = str(run.confounds or run.bold.path)
    names = _used_columns(parts.table, model.columns, model.needs_json)
    faults = [
        *_check_length(parts.table, where, n_volumes),
        *_check_columns(parts.table, where, model.columns, names),
        *_check_displacement(parts.table, where, settings.scrub_mm),
    ]
    if faults:
        raise VolumeError(faults)
    regressors, names = _load(parts, where, settings) if names else (np.empty((n_volumes, 0)), ())
    nuisance = _leave_out(parts, regressors, names, settings.scrub_mm)
    if faults := list(_check_left(nuisance, where, settings.min_volumes)):
        raise VolumeError(faults)
    return nuisance


@dataclass(frozen=True, eq=False)
class _Parts:
    """A confounds file as text, its bytes, and those of the JSON file beside it if needed."""

    table: pd.DataFrame
    raw: bytes
    facts: bytes | None


def _open_parts(run: PreprocessedRun, n_volumes: int, settings: CleaningSettings) -> _Parts:
    """Read the files of a run; without any, where none are needed, an empty table."""
    model = MODELS[settings.strategy]
    if run.confounds is not None:
        return _read_parts(run.confounds, model.needs_json)
    if not model.columns and settings.scrub_mm is None:
        return _Parts(pd.DataFrame(index=range(n_volumes)), b"", None)
    needed = settings.strategy if model.columns else "scrubbing"
    action = "give it, or set strategy to none and scrub_mm to null"
    found = f"no confounds file, which {needed} needs"
    raise VolumeError(Fault(str(run.bold.path), found, CONFOUNDS, action))


def _read_parts(path: Path, needs_json: bool) -> _Parts:
    """Read the files; what is wrong with either is raised together."""
    faults: list[Fault] = []
    raw, facts, table = b"", None, pd.DataFrame()
    try:
        table = read_table_file(path, ())
        raw = read_file(path)
        check_is_no_pointer(path, raw)
    except (CohortError, VolumeError) as error:
        faults += [replace(fault, accepted=CONFOUNDS) for fault in error.faults]
    if needs_json:
        try:
            facts = json_beside(path).read_bytes()
        except OSError as error:
            found = f"no readable file ({error.strerror or error})"
            accepted = "the JSON file beside the confounds, which names fMRIPrep's components"
            faults.append(Fault(str(json_beside(path)), found, accepted, OTHER_STRATEGY))
    if faults:
        raise VolumeError(faults)
    return _Parts(table, raw, facts)


def json_beside(confounds: Path) -> Path:
    """Name the JSON file that describes the columns of a confounds file."""
    return confounds.with_suffix(".json")


def _used_columns(
    table: pd.DataFrame, columns: Sequence[str], has_components: bool
) -> tuple[str, ...]:
    more = (COSINE, COMPONENT) if has_components else ()
    found = [name for name in table.columns if any(part in name for part in more)]
    return tuple(dict.fromkeys([*(name for name in columns if name in table), *found]))


def _check_length(table: pd.DataFrame, where: str, n_volumes: int) -> Iterator[Fault]:
    if len(table) != n_volumes:
        action = "give the confounds that belong to the run"
        found = f"{len(table)} rows where the run has {n_volumes} volumes"
        yield Fault(where, found, "one row for each volume", action)


def _check_columns(
    table: pd.DataFrame, where: str, wanted: Sequence[str], used: Sequence[str]
) -> Iterator[Fault]:
    if missing := [name for name in wanted if name not in table]:
        yield Fault(where, f"no column {_say(missing)}", CONFOUNDS, OTHER_STRATEGY)
    if bad := [name for name in used if not _holds_numbers(table[name])]:
        found = f"values that are missing or no numbers in {_say(bad)}"
        accepted = "one finite number for each volume; none for the first in derivatives"
        yield Fault(where, found, accepted, OTHER_STRATEGY)


def _holds_numbers(text: "pd.Series[str]") -> bool:
    is_number = np.isfinite(pd.to_numeric(text, errors="coerce").to_numpy(dtype=float))
    # derivatives have no value for the first volume
    return bool(is_number[1:].all() and (is_number[:1] | (text[:1] == "")).all())


def _check_displacement(table: pd.DataFrame, where: str, scrub_mm: float | None) -> Iterator[Fault]:
    if scrub_mm is not None and not np.isfinite(_displacement(table)).any():
        found = f"no values of {DISPLACEMENT}, which scrubbing needs"
        yield Fault(where, found, CONFOUNDS, "set scrub_mm to null, or run fMRIPrep again")


def _check_left(nuisance: Nuisance, where: str, min_volumes: int) -> Iterator[Fault]:
    n_left, n_names = len(nuisance.kept), len(nuisance.names)
    found = (
        f"{n_left} of {len(nuisance.regressors)} volumes left without {nuisance.n_non_steady} "
        f"non-steady and {nuisance.n_scrubbed} scrubbed ones"
    )
    if n_left < min_volumes:
        action = "leave the run out, or scrub less (raise scrub_mm)"
        yield Fault(where, found, f"at least {min_volumes} (min_volumes)", action)
    elif n_left <= n_names + 2:
        action = "leave the run out, or choose a strategy with fewer regressors"
        found = f"{n_names} regressors, mean and drift, and {found}"
        yield Fault(where, found, "more volumes than regressors", action)


def _load(
    parts: _Parts, where: str, settings: CleaningSettings
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    try:
        values, names = load_regressors(parts.raw, parts.facts, settings.strategy)
    except (ValueError, KeyError, TypeError) as error:  # whatever nilearn says of such files
        found = f"confounds that nilearn can't use ({' '.join(str(error).split())})"
        raise VolumeError(Fault(where, found, CONFOUNDS, OTHER_STRATEGY)) from error
    if faults := list(_check_length(pd.DataFrame(values), where, len(parts.table))):
        raise VolumeError(faults)
    return values, names


def _leave_out(
    parts: _Parts,
    regressors: NDArray[np.float64],
    names: tuple[str, ...],
    scrub_mm: float | None,
) -> Nuisance:
    """Leave out what is marked as non-steady, and what moved more than `scrub_mm`."""
    columns = [name for name in parts.table.columns if name.startswith(NON_STEADY)]
    marks = parts.table[columns].apply(pd.to_numeric, errors="coerce")
    is_non_steady = (marks > 0).any(axis=1).to_numpy(dtype=bool)
    displacement = _displacement(parts.table)
    limit = np.inf if scrub_mm is None else scrub_mm
    is_scrubbed = (displacement > limit) & ~is_non_steady
    return Nuisance(
        regressors,
        names,
        np.flatnonzero(~is_non_steady & ~is_scrubbed),
        int(is_non_steady.sum()),
        int(is_scrubbed.sum()),
        displacement,
        hashlib.sha256(parts.raw).hexdigest() if parts.raw else "",
    )


def _displacement(table: pd.DataFrame) -> NDArray[np.float64]:
    if DISPLACEMENT not in table:
        return np.full(len(table), np.nan)
    found = pd.to_numeric(table[DISPLACEMENT], errors="coerce")
    return found.to_numpy(dtype=np.float64, copy=True)


def _say(names: Sequence[str]) -> str:
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return ", ".join(map(repr, names[:N_NAMED])) + more
