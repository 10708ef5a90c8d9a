"""Runs as acquired, with their confounds: what maps are computed from."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.cleaned import CleanedBold
from fmnet.bold.cleaning import check_preprocessed, clean_values
from fmnet.bold.confounds import Nuisance
from fmnet.bold.decoded import StoredRun
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.store import Job
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class AcquiredRun:
    """A run as acquired, with its confounds; what is computed from it is computed once.

    Parameters
    ----------
    source : PreprocessedRun
        Names and files.
    stored : StoredRun
        The values as acquired, in a mask.
    nuisance : Nuisance
        Its confounds.
    cleaning : CleaningSettings
        How it is cleaned.
    """

    source: PreprocessedRun
    stored: StoredRun
    nuisance: Nuisance
    cleaning: CleaningSettings
    _computed: dict[str, Any] = field(init=False, repr=False, default_factory=dict)

    def cleaned(self) -> FloatArray:
        """Clean the run within its band: (T_kept, V), percent of the mean."""
        return self.once("cleaned", lambda: clean_values(self.stored, self.nuisance, self.cleaning))

    def unfiltered(self) -> FloatArray:
        """Clean the run without limiting its band: (T_kept, V), percent of the mean."""
        settings = replace(self.cleaning, low_hz=None, high_hz=None)
        return self.once("unfiltered", lambda: clean_values(self.stored, self.nuisance, settings))

    def once(self, name: str, work: Callable[[], Result]) -> Result:
        """Do `work` the first time that this name is asked for, and remember what it returns."""
        if name not in self._computed:
            self._computed[name] = work()
        result: Result = self._computed[name]
        return result

    def refusal(
        self, found: str, accepted: str, action: str, file: Path | None = None
    ) -> VolumeError:
        """Describe why the run can't be used, by its name and, if given, one of its files."""
        bold = self.source.bold
        where = bold.run_id if file is None else f"{bold.run_id} ({file})"
        return VolumeError(Fault(where, found, accepted, action, bold.participant_id))


@dataclass(frozen=True, eq=False)
class AcquiredBold:
    """Recipe: decode a run and check its confounds, without storing cleaned values.

    Parameters
    ----------
    of : CleanedBold
        Grid, coverage and how it is to be cleaned.
    """

    of: CleanedBold

    @property
    def grid(self) -> Grid:
        """Where runs are put."""
        return self.of.grid

    def store(self, run: PreprocessedRun, job: Job) -> AcquiredRun:
        """Fetch a run as acquired, with its confounds."""
        nuisance = check_preprocessed(run, self.of.cleaning)
        return AcquiredRun(run, self.of.decoded.store(run.bold, job), nuisance, self.of.cleaning)
